"""Pieces that configs share."""
import ml_collections


def base() -> ml_collections.ConfigDict:
  """What every config has; a config fills in the rest."""
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.steps = 0  # Exactly one of steps and epochs is given.
  config.epochs = 0
  config.micro_batches = 1  # Parts of a batch, worked on one after the other.
  config.init_from = ml_collections.config_dict.placeholder(str)
  config.space = dict(widths=('1',), depths=('1',), filter='triangle',
                      strategy='middle', seed=0)
  config.mesh = dict(data=-1, fsdp=1)
  config.rules = 'replicated'
  config.log_every, config.save_every, config.eval_every = 100, 1000, 1000
  config.keep = 2
  config.evaluate_at_end = True
  return config


def digit_scenes(name: str = 'easy') -> dict:
  """The embedded data: pictures of digits, 16 of them x 4 questions a batch."""
  return dict(
      name=f'digit_scenes/{name}', train='train', eval='test', watch='val',
      batch=64, questions_per_picture=4, inputs=('regions',), max_tokens=14,
      seed=0, limit=0, data_dir='')


def tiny(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """The same experiment shrunk to a minute on a CPU, on embedded data."""
  config.data = digit_scenes('tiny') | dict(
      batch=16, inputs=config.data.get('inputs', ('regions',)))
  config.data.seed = config.get_ref('seed')
  config.steps, config.epochs = 20, 0
  config.log_every, config.save_every, config.eval_every = 5, 10, 10
  config.model.update(width=16, heads=2, mlp=32, fused=32, num_layers=2,
                      word=16, recurrent=16)
  if 'feature_size' in config.model and 'stem' not in config.model:
    del config.model.feature_size  # The data decide.
  # Three submodels: compiling is most of such a short run.
  config.space.widths = config.space.depths = ('1/2', '1')
  if 'sampled' in config.method:
    config.method.sampled = 1
  if config.get('teacher'):
    config.teacher = tiny(config.teacher)
  return config
