"""Data that a user names in place of those that a workdir was made with."""
from collections.abc import Sequence
import pathlib

from absl import flags, logging
from bst_jax.host import cli, overrides
from bst_jax.run import arguments, experiment
import ml_collections

HELP = (
    'A data set to take in place of the one that the workdir was made with: '
    '--data=NAME, with --data.OPTION=VALUE for every option of config.data, as '
    '--data.manual_dir=pictures. Classes are found by their names.')


def define() -> flags.FlagHolder:
  """Defines --data; two commands in one process share it."""
  if cli.DATA not in flags.FLAGS:
    flags.DEFINE_multi_string(cli.DATA, [], HELP)
  return flags.FlagHolder(flags.FLAGS, flags.FLAGS[cli.DATA])


def put(config: ml_collections.ConfigDict, given: Sequence[str],
        split: str | None = None) -> None:
  """Writes what --data says into a workdir's config.

  Where this is another data set it is none that the network was trained on:
  there is no training split to keep apart, and the one that is looked at gives
  the floor, its most frequent class or answer.

  Args:
    config: of the workdir, is changed.
    given: names and OPTION=VALUE, as `cli` reads them.
    split: that is asked for, if any.

  Raises:
    UsageError: no such option, or a value that it cannot have.
  """
  if not given:
    return
  pairs = dict(text.split('=', 1) if '=' in text else ('name', text)
               for text in given)
  before = {key: config.data.get(key) or '' for key in ('name', 'manual_dir')}
  config.unlock()
  if pairs.get('name', before['name']) != before['name']:
    config.data.manual_dir = ''
  try:
    for key, text in pairs.items():
      override = overrides.Override(f'data.{key}', text)
      if overrides.complete(config, [override], arguments.of):
        known = ', '.join(sorted(arguments.of(config, 'data')))
        raise cli.UsageError(f'--data.{key}: config.data has no option {key!r}.'
                             f' There are: {known}.')
  except (TypeError, ValueError) as error:
    if isinstance(error, cli.UsageError):
      raise
    raise cli.UsageError(
        f'--data.{key}={text}: {str(error).split("(reference). ")[-1]}'
    ) from error
  if 'eval' not in pairs and split:
    config.data.eval = split
  if any((config.data.get(key) or '') != value
         for key, value in before.items()):
    config.data.watch = ''
    if 'train' not in pairs:
      config.data.train = config.data.eval
    config.data.allow_overlap = True


def load_if_there(exp: experiment.Experiment, workdir: pathlib.Path):
  """The data of a workdir, or None where it needs none and there are none.

  A config that says the sizes of its data, as that of a converted network does,
  is used without them.
  """
  try:
    return experiment.load_data(exp.config, workdir)
  except ValueError as error:
    if not exp.config.data.get('sizes'):
      raise
    logging.warning(
        'Nothing is scored, as there are no data: %s Give --data=NAME and '
        '--data.manual_dir=FOLDER to score on yours.',
        ' '.join(str(error).split())[:200].rstrip('.') + '.')
    return None
