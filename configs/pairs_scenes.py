"""Statements about two pictures of digit scenes: true or false, as in NLVR2.

  python -m bst_jax.train --config configs/pairs_scenes.py --workdir runs/pairs
  python -m bst_jax.train --config configs/pairs_scenes.py:mcan --workdir runs/b

UNITER reads the statement with each picture and compares both; `:mcan` does
the same with MCAN. Half of the statements are true. Synthetic scenes of real
digits; accuracy: docs/results.md. `:tiny` takes a minute.
"""
from configs import common

MODELS = {
    '': dict(name='uniter', width=64, heads=4, mlp=128, fused=128, num_layers=6,
             dropout=0.0, init_std=0.1, identity_init=True),
    'mcan': dict(name='mcan', width=64, heads=4, mlp=128, fused=128,
                 num_layers=4, word=64, recurrent=64, dropout=0.0,
                 identity_init=True),
}


def get_config(arg=''):
  common.check_variant(arg, ('mcan', 'tiny'), __file__)
  config = common.base()
  config.data = dict(
      name='digit_scenes/easy', form='pairs', train='train', eval='test',
      watch='val', batch=64, inputs=('regions',), max_tokens=20,
      blank_regions=True, seed=config.get_ref('seed'), limit=0, data_dir='')
  config.task = dict(name='pair')
  config.model = MODELS['mcan' if arg == 'mcan' else '']
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=1e-4, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.08)
  config.steps = 4000
  config.log_every, config.save_every, config.eval_every = 100, 1000, 500
  return common.tiny(config) if arg == 'tiny' else config
