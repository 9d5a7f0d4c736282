"""CLIP-ViL-Direct with BST: MCAN on the grid of CLIP's ResNet, VQA-v2 form.

  python -m bst_jax.profile --config configs/bst_mcan_clip_vqa.py

The cells of the grid take the place of regions: the features of a picture are
`ClipResNet` of layers/clip_resnet.py on its pixels, [h, w, 2560] reshaped to
[h * w, 2560], stored as regions are. Nothing else of MCAN changes. Accuracy:
not measured here. `:tiny` is that of configs/bst_mcan_vqa.py.
"""
from configs import bst_mcan_vqa


def get_config(arg=''):
  config = bst_mcan_vqa.get_config()
  config.data.sizes.num_regions = 240  # 12 x 20 cells of 384 x 640 pixels.
  config.model.feature_size = 2560
  return bst_mcan_vqa.tiny(config) if arg == 'tiny' else config
