"""Which caption belongs to which picture of digit scenes, both ways.

  python -m bst_jax.train --config configs/retrieval_scenes.py --workdir runs/r
  python -m bst_jax.train --config configs/retrieval_scenes.py:mcan \
      --workdir runs/b

UNITER scores a text and a picture together; `:mcan` does the same with MCAN.
Texts are the captions that name every plate, so that none fits two pictures.
Evaluation ranks every text for every picture, so that `config.data.limit` tells
what it costs: 300 pictures have some 180 texts. Synthetic scenes of real
digits; recall beside its ceiling: docs/results.md. `:tiny` takes a minute.
"""
from configs import common
from configs.pairs_scenes import MODELS


def get_config(arg=''):
  common.check_variant(arg, ('mcan', 'tiny'), __file__)
  config = common.base()
  config.data = dict(
      name='digit_scenes/easy', form='retrieval', texts='list', train='train',
      eval='test', watch='', batch=128, texts_per_picture=8,
      eval_texts_per_picture=16, inputs=('regions',), max_tokens=30,
      blank_regions=True, seed=config.get_ref('seed'), limit=0, data_dir='')
  config.task = dict(name='match')
  config.model = MODELS['mcan' if arg == 'mcan' else '']
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=1e-4, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.08)
  config.steps = 3000
  config.log_every, config.save_every, config.eval_every = 100, 1000, 0
  return common.tiny(config) if arg == 'tiny' else config
