"""CLIP-ViL-Direct with BST: MCAN on the grid of CLIP's ResNet, VQA-v2 form.

  python -m bst_jax.train --config configs/mcan_clip_vqa.py \
      --workdir runs/grid --config.data.name=folder/regions \
      --config.data.manual_dir=my_data --config.data.train=train --config.data.eval=val \
      --config.data.answers_from=train --config.data.min_answers=1
  python -m bst_jax.train --config configs/bst_mcan_clip_vqa.py \
      --workdir runs/bst_grid --config.data.name=folder/regions \
      --config.data.manual_dir=my_data --config.data.train=train --config.data.eval=val \
      --config.data.answers_from=train --config.data.min_answers=1 \
      --config.start=runs/grid
  python -m bst_jax.profile --config configs/bst_mcan_clip_vqa.py

The first trains the teacher; configs/mcan_clip_vqa.py says what the features
are. Accuracy: not measured here. `:tiny` is that of configs/bst_mcan_vqa.py.
"""
from configs import bst_mcan_vqa, common, mcan_clip_vqa


def get_config(arg=''):
  config = mcan_clip_vqa.on_grid(bst_mcan_vqa.get_config())
  return common.tiny(config) if arg == 'tiny' else config
