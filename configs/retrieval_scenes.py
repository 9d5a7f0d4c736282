"""Which caption belongs to which picture of digit scenes, both ways.

  python -m bst_jax.train --config configs/pairs_scenes.py:questions \
      --workdir runs/asked
  python -m bst_jax.train --config configs/retrieval_scenes.py --workdir runs/r
  python -m bst_jax.evaluate --workdir runs/r

UNITER, which can answer questions, learns to score a text and a picture
together; `:mcan` does the same with MCAN. Texts are the captions that name
every plate, so that none fits two pictures. Evaluation ranks every text for
every picture. Synthetic scenes of real digits; recall beside its ceiling:
docs/results.md. `:tiny` takes a minute and starts at random.
"""
from configs import common, pairs_scenes


def get_config(arg=''):
  common.check_variant(arg, ('mcan', 'tiny'), __file__)
  config = common.base()
  config.data = dict(
      name='digit_scenes/easy', form='retrieval', texts='list', train='train',
      eval='test', watch='', batch=128, texts_per_picture=8,
      eval_texts_per_picture=16, inputs=('regions',), max_tokens=30,
      blank_regions=True, words_of=pairs_scenes.WORDS_OF,
      seed=config.get_ref('seed'), limit=0, data_dir='')
  config.task = dict(name='match')
  config.model = pairs_scenes.MODELS['mcan' if arg == 'mcan' else 'uniter']
  config.model.dropout = 0.1
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=1e-4, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.08)
  config.steps = 1500
  config.log_every, config.save_every, config.eval_every = 100, 500, 0
  if arg == 'tiny':
    return common.tiny(config)
  config.start = pairs_scenes.START[arg] | dict(fresh=('match_head',))
  return config
