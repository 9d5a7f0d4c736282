"""A small MiniVLM writes captions of digit scenes.

  python -m bst_jax.train --config configs/minivlm_caption_scenes.py \
      --workdir runs/captions
  python -m bst_jax.train --config configs/minivlm_caption_scenes.py:scst \
      --workdir runs/rewarded
  python -m bst_jax.train --config configs/minivlm_caption_scenes.py:bst \
      --workdir runs/sandwich
  python -m bst_jax.evaluate --workdir runs/rewarded
  python -m bst_jax.predict --workdir runs/rewarded --image docs/scene.png

Words of captions are masked, as MiniVLM learns them; `:scst` goes on from there
with CIDEr-D as a reward. `:bst` trains ten submodels of six layers: a teacher
first, then all of them from its words at the masked places; accuracy: not yet
measured. Synthetic scenes of real digits, whose captions are of five sorts;
nothing in a picture tells which one is wanted. Scores of a quarter of these
steps, three seeds: docs/results.md.
`:tiny`, `:scst,tiny` and `:bst,tiny` take a minute.
"""
from configs import common

START = 'runs/captions'


def get_config(arg=''):
  common.check_variant(
      arg, ('scst', 'bst', 'tiny', 'scst,tiny', 'bst,tiny'), __file__)
  config = common.base()
  config.data = dict(
      name='digit_scenes/easy', form='captioning', train='train', eval='test',
      watch='val', batch=64, texts_per_picture=1, eval_texts_per_picture=5,
      inputs=('regions',), max_tokens=32, masked=0.15, max_masked=3, max_tags=0,
      word_pieces='', seed=config.get_ref('seed'), limit=0, data_dir='',
      manual_dir='', features='')
  config.model = dict(
      name='minivlm', mask='caption', width=128, heads=4, mlp=512, num_layers=4,
      tag_start=40, max_positions=72, dropout=0.1)
  config.task = dict(name='captioning', smoothing=0.1, beams=1)
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='linear', warmup=0.05)
  config.steps = 6000
  config.log_every, config.save_every, config.eval_every = 100, 1000, 2000
  if 'scst' in arg:
    config.start = START
    # Captions are learnt as they were drawn.
    config.model.dropout = 0.0
    config.method = dict(name='scst', samples=5)
    config.data.update(batch=80, texts_per_picture=5)
    config.optimizer.lr = 2e-4
    config.steps, config.eval_every = 1000, 500
  if 'tiny' in arg:
    config.data.update(name='digit_scenes/tiny', batch=16)
    config.model.update(width=16, heads=2, mlp=32, num_layers=2)
    config.steps, config.log_every, config.save_every = 20, 5, 10
    config.eval_every = 0
  if arg == 'scst,tiny':
    config.method.samples, config.data.batch, config.steps = 2, 20, 10
  return sandwich(config, arg == 'bst,tiny') if 'bst' in arg else config


def sandwich(config, tiny):
  """Ten submodels of a captioner, which is trained first and teaches them."""
  config.space.widths = ('1/4', '1/2', '3/4', '1')
  # One layer lets a mask look at the picture before it knows what was said.
  config.space.depths = ('1/3', '1/2', '2/3', '1')
  if tiny:
    config.space.widths = config.space.depths = ('1/2', '1')
  else:
    config.model.num_layers = 6
  teacher = config.copy_and_resolve_references()
  teacher.evaluate_at_end = False
  # One seed for all: initialisation, draws and the order of the data.
  for part in (teacher, teacher.data):
    part.seed = config.get_ref('seed')
  config.teacher = teacher
  config.model.dropout = 0.0
  config.method = dict(name='bst', teacher='frozen', gt_weight=0.0,
                       sampled=1 if tiny else 3)
  if not tiny:
    config.optimizer.lr, config.steps = 2e-3, 4000
  return config
