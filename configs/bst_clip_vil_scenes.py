"""CLIP-ViL with BST on digit scenes, from pixels, with a small trunk.

  python tests/bench/digit_trunk.py --output runs/trunk.safetensors
  python -m bst_jax.convert --config configs/bst_clip_vil_scenes.py \
      --table clip_visual --checkpoint runs/trunk.safetensors \
      --workdir runs/trunk
  python -m bst_jax.train --config configs/bst_clip_vil_scenes.py \
      --config.teacher.start=runs/trunk --workdir runs/c

The quickstart's questions about raw pictures of 64 x 64 pixels, which CLIP's
trunk in small turns into 2 x 2 cells. As in the original, the trunk has learnt
to see before: the first command teaches it, the second puts it into a model.
Here it stays as it is. Accuracy of three seeds: docs/results.md. `:tiny` runs in two
minutes, from a trunk at random.
"""
from configs import bst_uniter_scenes, common

MODEL = bst_uniter_scenes.MODEL | dict(
    name='clip_vil', visual_blocks=(1, 1, 1, 1), visual_width=16,
    train_visual=False, batch_stats=common.unset())


def get_config(arg=''):
  config = bst_uniter_scenes.get_config()
  for part in (config, config.teacher):
    part.model = MODEL
    part.data.inputs = ('image',)
    part.data.blank_regions = False
  return common.tiny(config) if arg == 'tiny' else config
