"""MiniVLM with BST on digit scenes: ten submodels that read regions.

  python -m bst_jax.train --config configs/minivlm_scenes.py --workdir runs/m

The fusion transformer of MiniVLM at a sixth of its width answers questions, by
the recipe of the quickstart: a teacher learns from labels, then all submodels
learn from it. Synthetic scenes of real digits; accuracy: docs/results.md.
`:tiny` runs in two minutes.
"""
from configs import common, quickstart

MODEL = dict(name='minivlm', width=64, heads=4, mlp=128, fused=128,
             num_layers=6, dropout=0.0, init_std=0.1, identity_init=True)


def get_config(arg=''):
  common.check_variant(arg, ('tiny',), __file__)
  config = quickstart.get_config()
  for part in (config, config.teacher):
    part.model = MODEL
    # One layer lets the first token look at the picture before it has heard the
    # question: the shallowest submodels have two.
    part.space.depths = ('1/3', '1/2', '2/3', '1')
  if arg == 'tiny':
    config = common.tiny(config)
    for part in (config, config.teacher):
      del part.model.word  # Its embeddings are as wide as the rest.
  return config
