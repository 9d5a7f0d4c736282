"""Where training starts: parameters of another workdir, and new ones."""
from collections.abc import Mapping
import pathlib
import shutil
from typing import Any

from absl import logging
from bst_jax import elastic
from bst_jax.elastic import Choice
from bst_jax.learn import paths
from bst_jax.run import experiment, matching, room
from bst_jax.run.experiment import Experiment
from bst_jax.run.matching import Start
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
import jax
import numpy as np

# Which axis of the parameters has an entry for each name of a vocabulary.
_AXIS_OF = {'words': 'vocab', 'answers': 'answers'}


def of(config: Mapping[str, Any], choice: Choice | None = None
       ) -> Start | None:
  """The start that `config.start` describes; None for random parameters.

  `choice` is what `config.choice` named.

  Raises:
    ValueError: it is neither a workdir nor a dict of the fields of `Start`.
  """
  options = config.get('start')
  if config.get('init_from'):
    if options:
      raise ValueError(
          f'config.start is {options} and config.init_from is '
          f'{config["init_from"]}, but they are two names of one setting; '
          'leave config.init_from out.')
    logging.info('config.init_from is called config.start now; both are read.')
    options = config['init_from']
  if not options:
    return None
  # A ConfigDict is no Mapping.
  options = dict(options if hasattr(options, 'keys') else {'workdir': options})
  for option in options:
    elastic.check_name(option, ('workdir', 'take', 'fresh', 'leave'),
                       'option of config.start')
  if not options.get('workdir'):
    raise ValueError(f'config.start is {options}, which names no workdir; give '
                     "it as dict(workdir='runs/a', fresh=('head',)).")
  several = lambda globs: (globs,) if isinstance(globs, str) else tuple(
      globs or ())
  return Start(pathlib.Path(options['workdir']),
               dict(options.get('take') or {}), several(options.get('fresh')),
               several(options.get('leave')),
               choice if choice and choice.cuts else None)


def check(start: Start, exp: Experiment, data: Any, teaches: bool) -> None:
  """Raises where training must not start so; reads no parameter.

  Args:
    start: whose parameters are taken.
    exp: what is trained.
    data: what it is trained on.
    teaches: whether the parameters also teach, and so must be whole and known
      to mean the same words and answers.

  Raises:
    ValueError: parameters do not fit, or belong to words or answers that are
      others than the data's; or a teacher was converted in part, begins at
      random in part, or comes without its words and answers.
  """
  if teaches:
    _check_teacher(start, data)
  _check_names(start, exp, sources(start, exp), other_names(
      start.workdir, data))


def check_trained(start: Start, exp: Experiment, data: Any, before: Experiment,
                  data_before: Any) -> None:
  """As `check`, of a start that is still to be trained, in the same run.

  Args:
    start: whose parameters will be taken.
    exp, data: what is trained from it.
    before, data_before: what is trained first.
  """
  taken = matching.match(
      start, elastic.flatten(exp.shapes), elastic.flatten(before.shapes),
      _with_axis(exp, 'answers'))
  _check_names(start, exp, taken, _others(
      data_before.vocabularies, data, start.workdir / experiment.VOCAB))


def sources(start: Start, exp: Experiment) -> dict[str, str]:
  """{path here: path there} of what is taken; the rest is new.

  Raises:
    ValueError: a glob names nothing, or a parameter of either side is neither
      taken nor new.
  """
  theirs = checkpoint.shapes(start.workdir)
  if start.choice is not None:
    before = experiment.load(start.workdir)
    theirs = jax.eval_shape(lambda p: before.cut(p, start.choice), theirs)
  return matching.match(
      start, elastic.flatten(exp.shapes), elastic.flatten(theirs),
      _with_axis(exp, 'answers'))


def params(start: Start | None, exp: Experiment, seed: int,
           where: Any = None) -> Any:
  """The parameters before the first step.

  Args:
    start: whose parameters are taken; None for random ones.
    exp: what is trained.
    seed: of what is random.
    where: shardings of the parameters; None for those of jax.

  Returns:
    Nested dict of arrays; those that were taken lie on the host.
  """
  if start is None:
    return _random(exp, seed, elastic.flatten(exp.shapes).keys(), where)
  taken = sources(start, exp)
  saved = checkpoint.load_params(start.workdir)
  if start.choice is not None:
    saved = experiment.load(start.workdir).cut(saved, start.choice)
  saved = elastic.flatten(saved)
  ours = elastic.flatten(exp.shapes)
  new = ours.keys() - taken.keys()
  if new:
    logging.info(
        'Of %s %d parameter arrays are taken; %d are new and begin at random: '
        '%s', start.workdir, len(taken), len(new),
        ', '.join(matching.modules(new, ours)))
    drawn = elastic.flatten(_random(exp, seed, new, where))
  pick = lambda path, shape: drawn[path] if path in new else np.asarray(
      saved[taken[path]]).astype(shape.dtype)
  return jax.tree.unflatten(jax.tree.structure(exp.shapes), [
      pick(path, shape) for path, shape in ours.items()])


def keep_vocabularies(config: Mapping[str, Any],
                      workdir: pathlib.Path) -> None:
  """Gives a new workdir the words and answers of the one that it starts from.

  Its own stay where it has any; where another data set is trained on, or parts
  begin at random, the data make theirs.
  """
  start, folder = of(config), workdir / experiment.VOCAB
  before = workdirs.read_config(start.workdir).data
  same = all((before.get(key) or '') == (config['data'].get(key) or '')
             for key in ('name', 'manual_dir'))
  if same and not start.fresh and not folder.exists():
    shutil.copytree(start.workdir / experiment.VOCAB, folder)


def other_names(workdir: pathlib.Path, data: Any) -> dict[str, pathlib.Path]:
  """{vocabulary: its folder} of those of a workdir that are not the data's."""
  from bst_jax.data import vocabularies  # Not everything here has data.

  folder = workdir / experiment.VOCAB
  if not any((folder / f'{what}.json').exists() for what in data.vocabularies):
    return {}
  return _others(vocabularies.names(folder), data, folder)


def _others(before, data, folder):
  """{vocabulary: folder} of those that the data have otherwise."""
  return {what: folder for what, names in before.items()
          if names != data.vocabularies.get(what)}


def _check_names(start, exp, taken, others):
  """Raises where a parameter is taken that has an entry for other names."""
  for what, folder in others.items():
    apart = _with_axis(exp, _AXIS_OF.get(what, what)) & taken.keys()
    if apart:
      new = matching.new(start, matching.modules(
          apart, elastic.flatten(exp.shapes)))
      raise ValueError(
          f'Training was to start from {start.workdir}, but its {what} '
          f'({folder}) are others than those of the data, or stand in another '
          'order: each would get the parameters of another. To learn the '
          f"data's, let what depends on them begin anew: {new}. To keep those "
          'there, copy that folder into the new workdir, whose data then take '
          'them.')


def _check_teacher(start, data):
  """Raises where the parameters are no teacher that is whole and known."""
  if start.fresh:
    raise ValueError(
        f'{start.workdir} was to teach, but config.start.fresh lets '
        f'{", ".join(start.fresh)} begin at random. Train that with method '
        'plain first, and start from what it gives.')
  check_known(start.workdir, data)


def check_known(workdir: pathlib.Path, data: Any) -> None:
  """Raises where a teacher was converted in part, or its answers are unknown."""
  if (workdir / experiment.PART).exists():
    missing = ', '.join(experiment.read_part(workdir)['missing'])
    raise ValueError(
        f'{workdir} was to teach, but it was converted from a part of a model, '
        f'and all else of it is random: {missing}. Train it first, as '
        '--config.start of a config with method plain.')
  folder = workdir / experiment.VOCAB
  first = next(iter(data.vocabularies))
  if not (folder / f'{first}.json').exists():
    raise ValueError(
        f'{workdir} was to teach, but nothing says what its '
        f'{" and ".join(data.vocabularies)} are: {folder} has no '
        f'{first}.json. Convert it with --vocab.')


def _with_axis(exp, name):
  """Paths of the parameters that have an axis of this name."""
  return {path for path, names in elastic.flatten(exp.axes).items()
          if name in map(elastic.base, names)}


def _random(exp, seed, wanted, where=None):
  """Parameters of the wanted paths as the model draws them."""
  def init(rng):
    drawn = elastic.unbox(exp.model.init(
        rng, exp.example())['params'])
    return paths.split(drawn, wanted)[1]

  if where is None:
    room.check_params(exp)
  # Compiled, so that nothing of the forward pass is computed.
  where = None if where is None else paths.split(where, wanted)[1]
  return jax.jit(init, out_shardings=where)(jax.random.key(seed))
