"""Pieces that configs share."""
from collections.abc import Sequence
import pathlib

import ml_collections


def unset() -> ml_collections.FieldReference:
  """The value of an option, a text, that is as if it were left out.

  Of options that configs of older workdirs lack.
  """
  return ml_collections.config_dict.placeholder(str)


def base() -> ml_collections.ConfigDict:
  """What every config has; a config fills in the rest."""
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.steps = 0  # Exactly one of steps and epochs is given.
  config.epochs = 0
  config.micro_batches = 1  # Parts of a batch, worked on one after the other.
  # Where training starts: a workdir, or dict(workdir=…, take={…}, fresh=(…)).
  config.start = None
  config.init_from = ml_collections.config_dict.placeholder(str)  # Its old name.
  # Workdir of any model that teaches, frozen; its data are like these.
  config.teacher_from = ml_collections.config_dict.placeholder(str)
  # Decay of running means of the parameters, as 0.999, which are evaluated.
  config.ema = ml_collections.config_dict.placeholder(float)
  # A choice.json: what is left of the model that training starts from.
  config.choice = ml_collections.config_dict.placeholder(str)
  config.space = dict(widths=('1',), depths=('1',), filter='triangle',
                      strategy='middle', seed=0)
  # Activations in bfloat16, less memory, shorter compilation: the same model.
  # Products of bfloat16 with float32 sums: faster on devices that have them.
  config.compute = dict(dtype='float32', remat=False, scan=False,
                        products='float32')
  config.mesh = dict(data=-1, fsdp=1)
  config.rules = 'replicated'
  config.log_every, config.save_every, config.eval_every = 100, 1000, 1000
  config.keep = 2  # The newest checkpoints that stay.
  # Whether the one that scores best on config.data.watch stays, too.
  config.keep_best = ml_collections.config_dict.placeholder(bool)
  config.evaluate_at_end = True
  return config


def vqa_v2(**changes) -> dict:
  """The data of VQA-v2, with every key that a run may override.

  A teacher and those that it teaches read the same splits, so that their words
  and answers are the same.
  """
  return dict(
      name='vqa_v2', train='train+nominival+vg', eval='minival', batch=64,
      questions_per_picture=1, inputs=('regions',), word_pieces='',
      max_tokens=14, words_from='', answers_from='train+val', min_answers=9,
      scoring='official', allow_overlap=False, data_dir='', manual_dir='',
      max_bad=0, num_regions=0, image_size=(0,), image_fit='stretch') | changes


def fashion_mnist(config: ml_collections.ConfigDict, batch: int) -> dict:
  """The data of Fashion-MNIST, with every key that a run may override."""
  return dict(
      name='fashion_mnist', train='train', eval='test', watch='val',
      batch=batch, eval_batch=250, image_size=(0,), image_fit='crop',
      augment=dict(flip=0.5), seed=config.get_ref('seed'), limit=0,
      data_dir='', manual_dir='')


def gqa(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """An experiment on VQA-v2 turned to GQA: one answer of many is right."""
  config.data.update(
      name=config.data.name.replace('vqa_v2', 'gqa'), train='train+val',
      eval='testdev', answers_from='', min_answers=1)
  config.data.sizes.num_answers = 1843
  config.task.name = 'gqa'
  return config


def sandwich(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """BST of the model that `config` trains alone, which is the teacher."""
  config.space.widths = ('1/4', '1/2', '3/4', '1')
  config.space.depths = ('1/6', '1/3', '2/3', '1')
  config.method = dict(name='bst', teacher='frozen', sampled=3, gt_weight=0.0)
  return config


def digit_scenes(name: str = 'easy') -> dict:
  """The embedded data: pictures of digits, 16 of them x 4 questions a batch."""
  return dict(
      name=f'digit_scenes/{name}', train='train', eval='test', watch='val',
      batch=64, questions_per_picture=4, inputs=('regions',), max_tokens=14,
      seed=0, limit=0, data_dir='')


def check_variant(arg: str, known: Sequence[str], path: str) -> None:
  """Raises where a config has no variant of this name; '' always is one.

  Args:
    arg: what follows the colon of --config.
    known: the variants that there are.
    path: of the config's file.
  """
  if arg and arg not in known:
    raise ValueError(
        f'there is no variant {arg!r} of configs/{pathlib.Path(path).name}; '
        f'there {"is" if len(known) == 1 else "are"} {", ".join(known)}.')


def tiny(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """The same experiment shrunk to a minute on a CPU, on embedded data."""
  if config.data.get('form'):  # The embedded data have it too.
    config.data.update(name='digit_scenes/tiny', batch=16)
    if 'sizes' in config.data:
      config.data.sizes = None
  else:
    config.data = digit_scenes('tiny') | dict(
        batch=16, inputs=config.data.get('inputs', ('regions',)))
    config.data.seed = config.get_ref('seed')
  config.steps, config.epochs, config.micro_batches = 20, 0, 1
  config.log_every, config.save_every, config.eval_every = 5, 10, 10
  model = config.model
  model.update(width=16, heads=2, mlp=32, fused=32, num_layers=2, word=16)
  if 'recurrent' in model:
    model.recurrent = 16
  if 'visual_blocks' in model:
    model.update(visual_blocks=(1, 1, 1, 1), visual_width=8)
  if 'feature_size' in model and 'stem' not in model:
    del model.feature_size  # The data decide.
  if len(config.space.widths) > 1:
    # Three submodels: compiling is most of such a short run.
    config.space.widths = config.space.depths = ('1/2', '1')
  if 'sampled' in config.method:
    config.method.sampled = 1
  if config.get('teacher'):
    config.teacher = tiny(config.teacher)
  elif config.method.get('teacher') == 'frozen':
    # It needs a trained model, and a minute has none.
    config.method.teacher = 'inplace'
  return config
