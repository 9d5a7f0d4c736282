"""UNITER with BST on digit scenes: the quickstart with another model.

  python -m bst_jax.train --config configs/bst_uniter_scenes.py --workdir runs/u

Text and regions share one stack of six layers.
Accuracy of three seeds: docs/results.md. `:tiny` runs in two minutes.
"""
from configs import common, quickstart

MODEL = dict(name='uniter', width=64, heads=4, mlp=128, fused=128,
             num_layers=6, dropout=0.0, init_std=0.1, identity_init=True)


def get_config(arg=''):
  config = quickstart.get_config()
  for part in (config, config.teacher):
    part.model = MODEL
    # One layer lets the first token look at the picture before it has heard the
    # question: the shallowest submodels have two.
    part.space.depths = ('1/3', '1/2', '2/3', '1')
  return common.tiny(config) if arg == 'tiny' else config
