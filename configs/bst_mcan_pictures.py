"""MCAN with BST on raw pictures: a convolutional stem instead of a detector.

  python -m bst_jax.train --config configs/bst_mcan_pictures.py --workdir runs/p

The quickstart's experiment from pixels: the stem turns 64 x 64 pixels into 4 x
4 cells, whose places enter as boxes. Accuracy: not yet measured at full length.
`:tiny` runs in two minutes on a CPU.
"""
from configs import common, quickstart


def get_config(arg=''):
  config = quickstart.get_config()
  for part in (config, config.teacher):
    part.data.inputs = ('image',)
    part.model.update(stem=(32, 64, 96), feature_size=128, box_size=16)
  config.teacher.steps, config.steps = 12000, 6000
  return common.tiny(config) if arg == 'tiny' else config
