"""Checks of an experiment before any data set is made or any step compiled.

What needs the data themselves, as the names of their answers, `jobs.prepare`
checks once they are read.
"""
from collections.abc import Iterator, Mapping
import contextlib
from typing import Any

from bst_jax import elastic
from bst_jax.data import forms, region_store
from bst_jax.learn import sharding
from bst_jax.learn.state import Method
from bst_jax.run import experiment, matching, program, room, settings, teachers
from bst_jax.run import start as starts
from bst_jax.store import steps
import ml_collections

# Sizes that only the data know; how large they are makes nothing possible.
_UNKNOWN = dict(vocab_size=100, num_answers=100, num_attributes=100,
                num_regions=10, feature_size=64)
_EPOCH, _STEPS = 100.0, 1000
# Options of tasks that name the loss of a match, by their form.
_LOSS_OF = {'retrieval': 'loss', 'pretraining': 'match_loss'}


def check(config: ml_collections.ConfigDict, name: str = 'config') -> None:
  """Checks a config and those of its teachers: all of it, but for the data.

  Args:
    config: of model, task, method, space, optimiser, data, mesh and start.
    name: of the config, for errors.

  Raises:
    ValueError: something in it cannot be, and what would work.
  """
  from bst_jax.data import source  # Not everything that has a model has data.

  with _said_of(name):
    settings.check_counts(config)
    choice, config = experiment.choice_of(config), experiment.chosen(config)
    experiment.total_steps(config, None)
    mesh = sharding.make_mesh(config.mesh)
    opened = source.check(config.data)
    start, teacher = starts.of(config, choice), teachers.of(config)
    exp = experiment.build(config, _sizes(config, opened))
    _check_rows(exp.task, opened)
    _check_negatives(exp, opened.options)
    exp.task.measure.check()
    made = program.make(
        exp, mesh, _EPOCH, _STEPS, teacher,
        teacher_index=teachers.paired(config, teacher, exp, start))
    room.check(made)
    check_streams(made.method, config)
    _check_best(config)
    if config.get('teacher'):
      _check_no_start(start)
    else:
      check_pretrained(made.method, config, start)
    if start is not None:
      matching.check_globs(start, elastic.flatten(exp.shapes))
      steps.check_any(start.workdir)
  if config.get('teacher'):
    check(config.teacher, f'{name}.teacher')


def check_streams(method: Method, config: Mapping[str, Any]) -> None:
  """Raises where config.data names no split for a stream of the method."""
  for stream, served in method.streams.items():
    if served < 1:
      raise ValueError(f'a batch of stream {stream!r} of method '
                       f'{config["method"]["name"]} serves {served} steps; it '
                       'serves at least one.')
    if not config['data'].get(stream, 'train' if stream == 'train' else ''):
      raise ValueError(
          f'method {config["method"]["name"]} has the stream {stream!r}, but '
          f'config.data.{stream} names no split of '
          f'{config["data"].get("name")}; give it one that is neither trained '
          'on nor evaluated.')


def check_pretrained(method: Method, config: Mapping[str, Any],
                     start: starts.Start | None) -> None:
  """Raises where a method's teacher is what it starts from, which is nothing."""
  if method.pretrained and start is None:
    raise ValueError(
        f'method {config["method"]["name"]} learns from a frozen teacher, but '
        'there is none: set config.start to the workdir of a trained full '
        'model, config.teacher_from to that of any other, or '
        'config.method.teacher to inplace.')


def _check_rows(task, opened):
  """Raises where a task reads other rows than the data set's form has.

  A form of a user's own may serve any task, if the pictures of a row agree.
  """
  own = opened.name in forms.known() and opened.name != task.form
  if own or task.pictures != opened.form.pictures:
    raise ValueError(
        f'the task reads rows of the form {task.form!r}, with {task.pictures} '
        f'pictures each, but those of config.data are {opened.name!r}, with '
        f'{opened.form.pictures}. Set config.data.form to {task.form!r}, or '
        'config.task to a task of such rows.')


def _check_negatives(exp, options):
  """Raises where nothing can tell the wrong pairs of texts and pictures."""
  negatives = getattr(options, 'negatives', '')
  if negatives and negatives != 'tags' and (
      getattr(exp.model, 'mask', '') == 'caption'):
    raise ValueError(
        f'config.data.negatives is {negatives!r}, but with '
        "config.model.mask='caption' the first word, of which a match is told, "
        'never sees the text: no training could tell a wrong one. Use '
        "negatives='tags' of the form pretraining, with max_tags, which it sees, "
        "or the mask 'both'.")
  if negatives not in ('', 'texts') and exp.task.rivals:
    raise ValueError(
        f'config.data.negatives is {negatives!r}, which gives a picture one '
        "text, but the loss 'one_of_many' of a match compares several of a "
        f"picture. Set config.task.{_LOSS_OF[exp.task.form]}='yes_or_no', or "
        "negatives='texts'.")


def _check_best(config):
  """Raises where the best checkpoint is wanted and nothing tells which it is."""
  if not config.get('keep_best'):
    return
  if not config.get('eval_every'):
    raise ValueError(
        'config.keep_best keeps the checkpoint that scores best, but '
        'config.eval_every is 0, so that none is scored; give the steps between '
        'two evaluations.')
  if not config.data.get('watch'):
    raise ValueError(
        'config.keep_best keeps the checkpoint that scores best on the split '
        'config.data.watch, but that is not set. Give a split that is neither '
        f'trained on nor reported (config.data.eval is {config.data.eval!r}): '
        'the best on what is reported would be chosen by what it is to show.')


def _check_no_start(start):
  """Raises where a config has a teacher to start from and something else."""
  if start is not None:
    raise ValueError(
        f'config.start (or config.init_from, its old name) is {start.workdir}, '
        'but config.teacher is trained first '
        'and is what training starts from. Set config.teacher.start for where '
        'the teacher starts, or config.teacher to None.')


@contextlib.contextmanager
def _said_of(name: str) -> Iterator[None]:
  """Says of which config an error is, unless it is the main one."""
  try:
    yield
  except ValueError as error:
    if name == 'config':
      raise
    raise ValueError(f'{name}: {error}') from error


def sizes_of(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Sizes of a config's data as far as they are known before these are there."""
  from bst_jax.data import source

  return _sizes(config, source.check(config.data))


def _sizes(config, opened) -> dict[str, Any]:
  """Sizes of the data as far as they are known before these are there."""
  from bst_jax.data import splits

  if config.data.get('sizes'):
    return dict(config.data.sizes)
  options, features = opened.options, opened.builder.info.features
  reader, known = splits.Splits(opened), {}
  if 'regions' in features and features['regions'].shape[-1]:
    known['feature_size'] = features['regions'].shape[-1]
  if 'regions' in opened.kinds and options.features:
    about = region_store.about(options.features)
    known |= dict(feature_size=about.feature_size,
                  num_regions=about.num_regions)
  if 'label' in features and features['label'].num_classes:
    known['num_answers'] = features['label'].num_classes
  for size in ('num_regions', 'max_tokens', 'max_masked', 'max_tags'):
    if getattr(options, size, 0):
      known[size] = getattr(options, size)
  sizes = {name: (_UNKNOWN | known)[name] for name in ('num_answers',
                                                       'num_attributes')}
  if 'max_tokens' in known:  # It has texts.
    sizes |= dict(vocab_size=_UNKNOWN['vocab_size'],
                  max_tokens=known['max_tokens'])
  sizes |= {name: known[name] for name in ('max_masked', 'max_tags')
            if name in known}
  if 'regions' in opened.kinds:
    sizes |= {name: (_UNKNOWN | known)[name]
              for name in ('num_regions', 'feature_size')}
  if 'image' in opened.kinds:
    height, width = reader.size()
    sizes['image_size'] = height if height == width else (height, width)
  if 'extent' in opened.kinds:
    sizes['extents'] = 2
  if 'clip' in opened.kinds:
    strip = (opened.builder.info.metadata or {}).get('strip', 0)
    sizes['clip_size'] = (options.frames, *reader.size(strip))
  return sizes
