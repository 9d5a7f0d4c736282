"""Statements about two pictures of digit scenes: true or false, as in NLVR2.

  python -m bst_jax.train --config configs/pairs_scenes.py:questions \
      --workdir runs/asked
  python -m bst_jax.train --config configs/pairs_scenes.py --workdir runs/pairs

UNITER first learns to answer questions, then reads a statement with each of its
pictures and compares both; `:mcan_questions` and `:mcan` do the same with MCAN.
Half of the statements are true. 12,000 of them alone, `:alone`, are learnt by
heart.
Synthetic scenes of real digits; accuracy: docs/results.md. `:tiny` takes a
minute and starts at random.
"""
from configs import common

MODELS = {
    'uniter': dict(name='uniter', width=64, heads=4, mlp=128, fused=128,
                   num_layers=6, init_std=0.1, identity_init=True),
    'mcan': dict(name='mcan', width=64, heads=4, mlp=128, fused=128,
                 num_layers=4, word=64, recurrent=64, identity_init=True),
}
WORDS_OF = ('questions', 'pairs', 'captions')  # So that one may start another.
# By variant: the workdir of the other training, and its head.
START = {'': dict(workdir='runs/asked', leave=('head',)),
         'mcan': dict(workdir='runs/mcan_asked', leave=('classifier',))}


def questions(model: str):
  """The training whose network statements, or captions, start from."""
  config = common.base()
  config.data = common.digit_scenes('easy')
  config.data.update(max_tokens=10, eval_questions_per_picture=5,
                     blank_regions=True, words_of=WORDS_OF,
                     seed=config.get_ref('seed'))
  config.task = dict(name='vqa')
  config.model = MODELS[model] | dict(dropout=0.0)
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=1e-4, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.08)
  config.steps = 2000
  return config


def get_config(arg=''):
  common.check_variant(
      arg, ('questions', 'alone', 'mcan', 'mcan_questions', 'tiny'), __file__)
  model = 'mcan' if arg.startswith('mcan') else 'uniter'
  if arg.endswith('questions'):
    return questions(model)
  config = common.base()
  config.data = dict(
      name='digit_scenes/easy', form='pairs', train='train', eval='test',
      watch='val', batch=64, inputs=('regions',), max_tokens=24,
      blank_regions=True, words_of=WORDS_OF, seed=config.get_ref('seed'),
      limit=0, data_dir='')
  config.task = dict(name='pair')
  config.model = MODELS[model] | dict(dropout=0.1)
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=5e-4, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.08)
  config.steps = 1500
  config.log_every, config.save_every, config.eval_every = 100, 500, 500
  if arg == 'tiny':
    return common.tiny(config)
  if arg == 'alone':
    return config
  config.start = START[arg] | dict(fresh=('pair_head',))
  return config
