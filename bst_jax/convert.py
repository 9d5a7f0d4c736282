"""Turns foreign checkpoints into workdirs, and workdirs into foreign files."""
import pathlib
import shutil

from absl import flags, logging
from bst_jax import elastic
from bst_jax.host import cli, config_flag
from bst_jax.interop import core, files
from bst_jax.run import arguments, experiment
from bst_jax.run import start as starts
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
import jax
import numpy as np

_CONFIG = config_flag.define(known=arguments.of)
_WORKDIR = cli.define_workdir()
_TABLE = flags.DEFINE_string(
    'table', None, 'Checkpoint family: a file of bst_jax/interop, or '
    'my_package.my_table.', allow_override=True)
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', None, 'Foreign file to read: .safetensors, .pkl, .pth, ….', allow_override=True)
_VOCAB = flags.DEFINE_string(
    'vocab', None, 'Folder with the words.json, answers.json and types.json '
    'that the checkpoint was trained with; without it the workdir can neither '
    'be evaluated nor teach. With --table glove, the words that are looked up; '
    "the data's if left out.",
    allow_override=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Foreign file to write from --workdir instead.', allow_override=True)

DESCRIPTION = """Converts checkpoints, strictly: every tensor on either side is
accounted for, or the command says which is not.

With --checkpoint and --config it writes a new workdir; with --output it writes
the workdir's parameters as a file of the named family. A family that fills a
part of the model (bert, clip_visual, …) leaves the rest at random or, with
--config.start, as another workdir has it; what that is, is listed.

The table glove reads word vectors as text, also .gz and .zip, for the words of
config.data; train with --config.start=WORKDIR and the same config.data."""
EXAMPLES = """python -m bst_jax.convert --config configs/bst_mcan_vqa.py --table mcan_bst --checkpoint epoch14.pkl --workdir runs/teacher
python -m bst_jax.convert --workdir runs/teacher --table mcan_bst --output teacher.safetensors
python -m bst_jax.convert --config configs/mcan_vqa.py --table glove --checkpoint glove.840B.300d.zip --workdir runs/glove"""


def table(name: str):
  """The module of a checkpoint family: its TABLE, and maybe IGNORED, ….

  A dotted name is a module of the user's own.
  """
  return elastic.by_name(name, 'bst_jax.interop', 'checkpoint table', 'TABLE',
                         leave=('core', 'files'))


def read(config, family: str, path: str | pathlib.Path,
         workdir: str | pathlib.Path, vocab: str | None = None) -> int:
  """Writes a workdir from a foreign checkpoint; returns its parameter count."""
  workdir = pathlib.Path(workdir)
  if workdir.exists() and any(workdir.iterdir()):
    raise ValueError(f'{workdir} is not empty, and nothing is overwritten; '
                     'choose a new --workdir.')
  rows = table(family)
  partial = getattr(rows, 'PARTIAL', False)
  renames = getattr(rows, 'RENAMES', ())
  by_words = hasattr(rows, 'load')
  words, sizes, data = (_words(config, vocab) if by_words else
                        (None, _sizes(config, partial), None))
  if vocab and not by_words:
    _check_vocab(vocab, sizes)
  exp = experiment.build(config, sizes)
  tensors = (rows.load(path, words, exp.shapes) if by_words else
             files.load(path))
  if hasattr(rows, 'ADAPT'):
    tensors = rows.ADAPT(core.rename(tensors, renames), exp.shapes)
  target = (starts.params(starts.of(config), exp, config.seed) if partial
            else exp.shapes)
  params = core.read(rows.TABLE, tensors, target,
                     getattr(rows, 'IGNORED', ()), renames, partial)
  rest = core.unsourced(rows.TABLE, exp.shapes)
  if rest:
    logging.info(
        '%d parameter arrays have no source in the checkpoint and keep what '
        'they start from; they are of: %s', len(rest),
        ', '.join(sorted({path.split('/')[0] for path in rest})))
  if vocab:
    shutil.copytree(vocab, workdir / experiment.VOCAB)
  elif data is not None:
    data.save_vocab(workdir / experiment.VOCAB)
  checkpoint.save_params(workdir, params)
  if rest:
    workdirs.write_json(workdir, experiment.PART, {
        'table': family, 'missing': sorted({p.split('/')[0] for p in rest})})
  experiment.save(workdir, config, exp.sizes)
  return elastic.size(params)


def _sizes(config, partial=False):
  """What config.data.sizes gives; else, for a part, the data's own."""
  if not partial and not config.data.get('sizes'):
    raise ValueError(
        'a conversion needs the sizes of the data that the checkpoint was '
        'trained on: give config.data.sizes (vocab_size, num_answers, '
        'max_tokens, num_regions), as configs/bst_mcan_vqa.py does.')
  return experiment.sizes_of(config)


def _check_vocab(folder, sizes):
  """Raises where a folder of vocabularies is not one of a model's sizes."""
  from bst_jax.data import vocabularies

  words, answers, *_ = vocabularies.of_questions(folder)
  for what, found, key in (('words', words, 'vocab_size'),
                           ('answers', answers, 'num_answers')):
    if len(found) != sizes[key]:
      raise ValueError(
          f'{folder} has {len(found):,} {what}, but config.data.sizes.{key} is '
          f'{sizes[key]:,}; give the vocabularies that the checkpoint was '
          'trained with, and their sizes.')


def _words(config, vocab):
  """Words, sizes and, where these are not of a folder, the data they are of."""
  # Not everything that has a model has data.
  from bst_jax.data import source, vocabularies

  if not vocab:
    data = source.load(config.data)
    return data.vocab.words, data.sizes, data
  words, answers, *_ = vocabularies.of_questions(vocab)
  sizes = dict(vocab_size=len(words), num_answers=len(answers))
  return words.words, _sizes(config, True) | sizes, None


def write(workdir: str | pathlib.Path, family: str,
          output: str | pathlib.Path) -> int:
  """Writes a workdir's parameters as a foreign file; returns its tensors."""
  if hasattr(table(family), 'load'):
    raise ValueError(f'table {family!r} reads files that hold words beside '
                     'their numbers, and writes none; choose another table.')
  exp = experiment.load(workdir)
  params = checkpoint.load_params(workdir, exp.shapes)
  tensors = core.write(table(family).TABLE, jax.tree.map(np.asarray, params))
  files.save(output, tensors)
  return len(tensors)


def main() -> None:
  """The command."""
  cli.start()
  family, workdir = cli.required(_TABLE), cli.required(_WORKDIR)
  if (_CHECKPOINT.value is None) == (_OUTPUT.value is None):
    raise cli.UsageError('give either --checkpoint (to read) or --output (to '
                         'write).')
  if _OUTPUT.value:
    count = write(workdir, family, _OUTPUT.value)
    print(f'{_OUTPUT.value}: {count} tensors')
  else:
    size = read(cli.required(_CONFIG), family, _CHECKPOINT.value, workdir,
                _VOCAB.value)
    print(f'{workdir}: {size:,} parameters')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
