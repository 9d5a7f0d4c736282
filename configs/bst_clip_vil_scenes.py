"""CLIP-ViL with BST on digit scenes, from pixels: a small trunk, made here.

  python -m bst_jax.train --config configs/bst_clip_vil_scenes.py --workdir runs/c

The quickstart's questions about raw pictures of 64 x 64 pixels. CLIP's trunk in
small turns them into 4 x 4 cells; it starts at random, as its weights would fit
no smaller trunk. Accuracy over three seeds: docs/results.md. `:tiny` runs in two
minutes.
"""
from configs import bst_uniter_scenes, common

MODEL = bst_uniter_scenes.MODEL | dict(
    name='clip_vil', visual_blocks=(1, 1, 1, 1), visual_width=16, train_visual=False)


def get_config(arg=''):
  config = bst_uniter_scenes.get_config()
  for part in (config, config.teacher):
    part.model = MODEL
    part.data.inputs = ('image',)
    part.data.blank_regions = False
  config.teacher.steps = 4000
  return common.tiny(config) if arg == 'tiny' else config
