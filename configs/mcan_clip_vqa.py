"""CLIP-ViL-Direct, alone: MCAN on the grid of CLIP's ResNet, VQA-v2 form.

  python -m bst_jax.train --config configs/mcan_clip_vqa.py \
      --workdir runs/grid --config.data.name=folder/regions \
      --config.data.manual_dir=my_data --config.data.train=train --config.data.eval=val \
      --config.data.answers_from=train --config.data.min_answers=1

The cells of the grid take the place of regions: the features of a picture are
`ClipResNet` of layers/clip_resnet.py on its pixels, [h, w, 2560] reshaped to
[h * w, 2560], stored as regions are. Nothing else of MCAN changes. Accuracy:
not measured here. `:tiny` is that of configs/mcan_vqa.py.
"""
from configs import common, mcan_vqa


def get_config(arg=''):
  config = on_grid(mcan_vqa.get_config())
  return common.tiny(config) if arg == 'tiny' else config


def on_grid(config):
  """An experiment of MCAN with cells of the grid for regions."""
  config.data.sizes.num_regions = 240  # 12 x 20 cells of 384 x 640 pixels.
  config.model.feature_size = 2560
  return config
