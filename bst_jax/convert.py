"""Turns foreign checkpoints into workdirs, and workdirs into foreign files."""
import pathlib

from absl import flags, logging
from bst_jax import elastic
from bst_jax.host import cli, config_flag
from bst_jax.interop import core, files, folders
from bst_jax.interop.folders import card, configs, families, writing
from bst_jax.interop.folders import rows as rows_lib
from bst_jax.interop.folders import source as source_lib
from bst_jax.layers.tokens import RESIZES
from bst_jax.run import arguments, experiment
from bst_jax.run import start as starts
from bst_jax.store import checkpoint
from bst_jax.store import origin as origins
from bst_jax.store import workdir as workdirs
import jax
import numpy as np

_CONFIG = config_flag.define(known=arguments.of)
_WORKDIR = cli.define_workdir()
_TABLE = flags.DEFINE_string(
    'table', None, 'Checkpoint family: a file of bst_jax/interop, or '
    'my_package.my_table; with --checkpoint the one that knows the names of '
    'its tensors if left out.', allow_override=True)
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', None, 'What to read: a folder of transformers or timm, '
    'hf:ORGANISATION/NAME of the Hugging Face hub, or a file: .safetensors, '
    '.pkl, .pth, ….', allow_override=True)
_KEY = flags.DEFINE_string(
    'key', None, 'The entry of a training checkpoint that has the weights, as '
    'state_dict_ema.', allow_override=True)
_RESIZE = flags.DEFINE_enum(
    'resize', None, RESIZES, 'How places of patches are brought to another '
    "size of pictures; the family's own way if left out.", allow_override=True)
_ALLOW_NONFINITE = flags.DEFINE_bool(
    'allow_nonfinite', False, 'Convert weights that hold NaN or infinity as '
    'they are.', allow_override=True)
_VOCAB = flags.DEFINE_string(
    'vocab', None, 'Folder with the words.json, answers.json and types.json '
    'that the checkpoint was trained with; without it the workdir can neither '
    'be evaluated nor teach. With --table glove, the words that are looked up; '
    "the data's if left out.",
    allow_override=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'What to write from --workdir instead: a folder for '
    'transformers, or, with --table, a file.', allow_override=True)

FIRST = ('checkpoint', 'workdir', 'config', 'table')
DESCRIPTION = """Converts checkpoints, strictly: every tensor on either side is
accounted for, or the command says which is not.

With --checkpoint it writes a new workdir. Of a standard folder of transformers
or timm nothing else need be said: its files name the model, its sizes, how
pictures are prepared and the classes, or the command says what there is no
model for. Other checkpoints need --config and --table. A family that fills a
part of the model (bert, clip_visual, …) leaves the rest at random or, with
--config.start, as another workdir has it; what that is, is listed.

With --output FOLDER it writes what AutoModel….from_pretrained of transformers
opens: weights, config.json with the names of the classes, how pictures are
prepared, and a README.md to go on with. Submodels are extracted first. With
--output NAME.safetensors and --table it writes the parameters as a file of the
named family.

The table glove reads word vectors as text, also .gz and .zip, for the words of
config.data; train with --config.start=WORKDIR and the same config.data."""
EXAMPLES = """python -m bst_jax.convert --checkpoint hf:google/vit-base-patch16-224 --workdir runs/vit
python -m bst_jax.convert --config configs/bst_mcan_vqa.py --table mcan_bst --checkpoint epoch14.pkl --workdir runs/teacher
python -m bst_jax.convert --workdir runs/teacher --table mcan_bst --output teacher.safetensors
python -m bst_jax.convert --workdir runs/vit/w1-2_d1-2 --output my-small-vit
python -m bst_jax.convert --config configs/mcan_vqa.py --table glove --checkpoint glove.840B.300d.zip --workdir runs/glove"""


def table(name: str):
  """The module of a checkpoint family: its TABLE, and maybe IGNORED, ….

  A dotted name is a module of the user's own.
  """
  return elastic.by_name(name, 'bst_jax.interop', 'checkpoint table', 'TABLE',
                         leave=families.OTHERS)


def read(config, family: str | None, path: str | pathlib.Path,
         workdir: str | pathlib.Path, vocab: str | None = None,
         key: str | None = None, resize: str | None = None,
         allow_nonfinite: bool = False) -> int:
  """Writes a workdir from a foreign checkpoint.

  Args:
    config: of the workdir; None where files beside the weights describe all.
      What they say of the model holds even so.
    family: a table; None for the one that knows the tensors' names.
    path: a file, a folder, or hf:ORGANISATION/NAME.
    workdir: is made; it must be empty or not there.
    vocab: folder of the vocabularies that the checkpoint was trained with.
    key: see `files.load`.
    resize: how places of another grid are resized, of `tokens.RESIZES`; None
      for the family's own way.
    allow_nonfinite: take NaN and infinity as they are.

  Returns:
    Its number of parameters.
  """
  workdir = pathlib.Path(workdir)
  if workdir.exists() and any(workdir.iterdir()):
    raise ValueError(f'{workdir} is not empty, and nothing is overwritten; '
                     'choose a new --workdir.')
  if family is not None and hasattr(table(family), 'load'):
    if config is None:
      raise ValueError(f'table {family!r} reads the words of data, and nothing '
                       'says which; give --config.')
    return _read_words(config, family, path, workdir, vocab)
  if config is None and family is not None:
    table(family)  # A misspelt name fails before anything is read.
  source = source_lib.find(path)
  tensors = source.load(key)
  described = folders.describe(source, tensors,
                               needed=config is None or family is None)
  config = configs.configured(config, described, source)
  family = family or families.known(tensors, source.weights)
  rows = rows_lib.of(table(family), tensors, described)
  if described and not described.part and '.' not in family:
    families.check_layers(tensors, family, described)
  sizes = _sizes(config, rows.PARTIAL and not rows.headless)
  if vocab:
    _check_vocab(vocab, sizes)
  exp = experiment.build(config, sizes)
  target = (starts.params(starts.of(config), exp, config.seed)
            if rows.PARTIAL else exp.shapes)
  tensors = core.named(rows.TABLE, tensors, exp.shapes, rows.RENAMES)
  tensors = rows_lib.adapted(rows, tensors, exp.shapes, exp.model, resize,
                             described, family)
  try:
    params = core.read(rows.TABLE, tensors, target, rows.IGNORED, rows.RENAMES,
                       rows.PARTIAL, allow_nonfinite)
  except core.Misfit as error:
    raise ValueError(
        f'{error}{families.better(tensors, family, described)}') from error
  labels = described.labels if described else ()
  _write(workdir, exp, config, params, rows.TABLE, family, vocab, labels,
         origin=source_lib.name_of(path))
  return elastic.size(params)


def _read_words(config, family, path, workdir, vocab):
  """`read` of a family that is looked up by the words of the data."""
  rows = table(family)
  words, sizes, data = _words(config, vocab)
  exp = experiment.build(config, sizes)
  tensors = rows.load(path, words, exp.shapes)
  target = starts.params(starts.of(config), exp, config.seed)
  params = core.read(rows.TABLE, tensors, target, partial=True)
  _write(workdir, exp, config, params, rows.TABLE, family, vocab, (), data)
  return elastic.size(params)


def _write(workdir, exp, config, params, rows, family, vocab, labels,
           data=None, origin=None):
  """Writes a workdir of parameters, vocabularies and what is still random."""
  from bst_jax.data import vocabularies

  rest = core.unsourced(rows, exp.shapes)
  if rest:
    logging.info(
        '%d parameter arrays have no source in the checkpoint and keep what '
        'they start from; they are of: %s', len(rest),
        ', '.join(sorted({path.split('/')[0] for path in rest})))
  if vocab:
    # Answers by number are a list from here on.
    vocabularies.of_questions(vocab).save(workdir / experiment.VOCAB)
  elif data is not None:
    data.save_vocab(workdir / experiment.VOCAB)
  elif labels and not rest:
    vocabularies.Vocabularies(answers=labels).save(workdir / experiment.VOCAB)
  checkpoint.save_params(workdir, params)
  if rest:
    workdirs.write_json(workdir, experiment.PART, {
        'table': family, 'missing': sorted({p.split('/')[0] for p in rest})})
  if origin:
    origins.write(workdir, origin)
  experiment.save(workdir, config, exp.sizes)


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


def write_folder(workdir: str | pathlib.Path,
                 output: str | pathlib.Path) -> int:
  """Writes a workdir's model as a folder that transformers opens.

  Args:
    workdir: of a classifier of pictures or clips.
    output: the folder, which must be empty or not there.

  Returns:
    Its number of tensors.

  Raises:
    ValueError: the output is there, or transformers has no class for the model;
      nothing is written.
  """
  # Not everything that has a model has data.
  from bst_jax.data import kinds, vocabularies

  workdir, output = pathlib.Path(workdir), pathlib.Path(output)
  if output.exists() and not (output.is_dir() and not any(output.iterdir())):
    raise ValueError(
        f'{output} is {"not empty" if output.is_dir() else "a file"}, and '
        'nothing is overwritten; choose a new --output.')
  exp = experiment.load(workdir)
  missing = _missing(workdir)
  params = jax.tree.map(np.asarray, checkpoint.load_params(workdir, exp.shapes))
  vocab = workdir / experiment.VOCAB
  labels = (vocabularies.names(vocab)['answers'] if vocabularies.path(
      vocab, 'answers').exists() else ())
  results = [workdirs.read_table(workdir, path.name)
             for path in sorted(workdir.glob('evaluation_*.json'))]
  return writing.write(
      output, exp.model, exp.config.model.name, params, labels=labels,
      fit=kinds.image_fit(exp.config.data), missing=missing,
      checkpoint=origins.of(workdir), measured=card.scores(
          results, str(elastic.FULL), elastic.size(params)))


def _missing(workdir):
  """What is random of a converted encoder: a head, and what is with it.

  Raises:
    ValueError: other parts are random, too.
  """
  if not (workdir / experiment.PART).exists():
    return ()
  part = experiment.read_part(workdir)
  if not {*rows_lib.head_of(table(part['table']))} >= {*part['missing']}:
    raise ValueError(
        f'{workdir} was to be written, but it was converted from a part of a '
        f'model, and all else of it is random: {", ".join(part["missing"])}. '
        'Train it first, as --config.start of a config.')
  return tuple(part['missing'])


def main() -> None:
  """The command."""
  cli.start()
  workdir = cli.required(_WORKDIR)
  if (_CHECKPOINT.value is None) == (_OUTPUT.value is None):
    raise cli.UsageError('give either --checkpoint (to read) or --output (to '
                         'write).')
  if _OUTPUT.value:
    if _TABLE.value or pathlib.Path(_OUTPUT.value).suffix in files.KINDS:
      count = write(workdir, cli.required(_TABLE), _OUTPUT.value)
    else:
      count = write_folder(workdir, _OUTPUT.value)
    print(f'{_OUTPUT.value}: {count} tensors')
  else:
    size = read(_CONFIG.value, _TABLE.value, _CHECKPOINT.value, workdir,
                _VOCAB.value, _KEY.value, _RESIZE.value, _ALLOW_NONFINITE.value)
    print(f'{workdir}: {size:,} parameters')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
