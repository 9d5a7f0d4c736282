"""Writes a submodel as files that run without this package."""
import functools
import pathlib
import shutil
from typing import Any

from absl import flags
from bst_jax import scores
from bst_jax.data import kinds
from bst_jax.host import alive, cli, config_flag
from bst_jax.host import files as file_lib
from bst_jax.report import cards, int8, latency, programs
from bst_jax.run import arguments, experiment, other_data, statistics
from bst_jax.store import checkpoint
import jax
import numpy as np

FORMATS = programs.FORMATS

_CONFIG = config_flag.define(known=arguments.of)
_WORKDIR = cli.define_workdir()
_SUBMODEL = flags.DEFINE_string(
    'submodel', '1x1', 'The submodel, as 1/2x1/3.', allow_override=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Folder to write; new or empty.', allow_override=True)
_FORMAT = flags.DEFINE_list(
    'format', ['stablehlo', 'onnx'],
    f'Comma-separated, of {", ".join(FORMATS)}.', allow_override=True)
_DATA = other_data.define()
_BATCH = flags.DEFINE_integer(
    'batch', None, 'Rows that files take at a time; any number if left out. '
    'StableHLO of a fixed number is read by older jax too.', lower_bound=1,
    allow_override=True)
_SPLIT = flags.DEFINE_string(
    'split', None, 'Split to score the files on; config.data.eval if left out, '
    'none to leave it be.', allow_override=True)

FIRST = ('workdir', 'submodel', 'format', 'output', 'data')
DESCRIPTION = """Writes one submodel as StableHLO (jax.export, any batch, CPU,
CUDA and TPU), ONNX and int8 ONNX, with a model card, the vocabularies and a
JSON of all numbers. Every file is run and compared with the JAX model, and
scored on the evaluation split, before the command says done. A captioner is two
files, an encoder of pictures and a step that says a word more, beside caption.py,
which writes captions by them without JAX. Takes a workdir, or a config for sizes
and latency with random parameters. ONNX needs the extra: pip install
bst_jax[export]."""
EXAMPLES = """python -m bst_jax.export --workdir runs/quickstart --submodel 1/4x1/2 --output runs/phone
python -m bst_jax.export --workdir runs/quickstart --submodel 1/2x1 --format onnx,int8 --output runs/int8
python -m bst_jax.export --config configs/bst_mcan_vqa.py --submodel 1/4x1/6 --format onnx,int8 --output runs/size"""


def export(exp: experiment.Experiment, params: Any, submodel: str,
           formats: list[str], output: pathlib.Path, data: Any = None,
           split: str = '', rows: int | None = None, words: Any = None
           ) -> dict[str, Any]:
  """Writes the files of one submodel and checks them.

  Args:
    exp: the experiment.
    params: parameters of the full model.
    submodel: as 1/2x1/3.
    formats: of `FORMATS`.
    output: folder to write, new or empty.
    data: scores the files on a split, if given.
    split: of the data.
    rows: that the files take at a time; None for any number.
    words: vocabulary of the texts that a model writes, if it writes any.

  Returns:
    What `card.json` holds: sizes, costs, inputs, and for every file its bytes,
    its greatest difference from the JAX model, milliseconds of one question on
    one thread, and accuracy. Where a model is several files, `together` holds
    the last three for each format.

  Raises:
    ValueError: a format is unknown, or the output is not empty.
    ArithmeticError: a file's logits are not the model's.
  """
  programs.check_formats(formats)
  sub = exp.parse_one(submodel, 'is exported')
  statistics.warn_of_parts(exp, [sub])
  file_lib.check_new(output)
  files = programs.of(exp, params, sub, words)
  card = _card(exp, sub, files, rows)
  inputs = next(iter(files.programs.values())).inputs
  if data is not None:
    card['split'] = split
    card['accuracy'] = _accuracy(files, programs.in_jax(files), exp, data, split)

  asked = _questions(exp, files, inputs, data, split)
  wanted, written = files.wanted(asked), dict(files.beside)
  for form, blobs, calls in programs.made(files, formats, rows):
    calls = {name: programs.in_parts(call, files.programs[name].inputs, rows)
             for name, call in calls.items()}
    whole = programs.check(files, form, calls, asked, wanted)
    if form != 'stablehlo':
      whole['latency_ms'] = programs.timed(
          functools.partial(files.outputs, calls), inputs, asked, rows)
    if form == 'int8':
      whole['weights'] = int8.ABOUT
    if data is not None and form != 'stablehlo':
      whole['accuracy'] = _accuracy(files, calls, exp, data, split)
    _tell(card, files, form, blobs, calls, whole, asked, rows)
    written |= {programs.file_name(name, form): blob
                for name, blob in blobs.items()}
  for name, content in written.items():  # None is left by one that fails.
    with file_lib.beside(output / name) as place:
      place.write_bytes(content if isinstance(content, bytes)
                        else content.encode())
  return card


def _tell(card, files, form, blobs, calls, whole, asked, rows):
  """Puts what is known of the files of a format into the card."""
  names = [programs.file_name(name, form) for name in blobs]
  for name, (program, blob) in zip(names, blobs.items()):
    about = card['files'][name] = {'bytes': len(blob)}
    if len(names) == 1:
      about |= whole
    elif form != 'stablehlo':
      about['latency_ms'] = programs.timed(
          calls[program], files.programs[program].inputs, asked, rows)
  if len(names) > 1:
    card['together'][form] = {
        'files': names, 'bytes': sum(map(len, blobs.values()))} | whole


def _card(exp, sub, files, rows):
  """What is known of a submodel's files before they are made."""
  data = exp.config.data
  about = programs.about(exp, sub, files, rows)
  return about | {
      'data': data.name,
      'word_pieces': kinds.pieces_of(data.get('word_pieces')),
      'blank_regions': bool(data.get('blank_regions')),
      'image_fit': kinds.image_fit(data),
      'task': exp.config.task.name, 'output': exp.task.card,
      'measure': exp.task.measure.title,
      'model': exp.config.model.name, 'sizes': dict(exp.sizes),
      'row': 'video' if 'clip' in about['inputs'] else exp.task.row,
      'told': exp.task.told,
      'batch': rows or 'any', 'jax': jax.__version__, 'files': {}} | (
          {'together': {}} if 'programs' in about else {})


def _questions(exp, files, rows, data, split):
  """Eight rows of the split, or random ones, a picture each."""
  if data is None:
    rng = np.random.default_rng(0)
    like = exp.example(8)
    draw = lambda x: (rng.integers(0, 3, x.shape) if x.dtype == np.int32 else
                      255 * rng.random(x.shape) if x.dtype == np.uint8 else
                      rng.random(x.shape)).astype(x.dtype)
    return {name: draw(np.asarray(like[name])) for name in rows}
  batch = _flat(next(iter(data.evaluation(split))), rows, files.of)
  return {name: x[:8 * len(rows[name])] for name, x in batch.items()}


def _flat(batch, names, of='row'):
  """The named inputs with a picture a question, as the files want them.

  Of a video all views stay, one below the other. Of files that read a picture,
  and no texts about it, each picture stays once.
  """
  count = len(batch['mask']) if of == 'row' else min(
      len(batch[name]) for name in names)
  times = lambda x: max(1, count // len(x))
  each = lambda x: 1 if of == 'row' else len(x) // count
  return {name: np.repeat(batch[name][::each(batch[name])],
                          times(batch[name]), axis=0) for name in names}


def _accuracy(files, calls, exp, data, split):
  """The measure's main number of what programs give on a split."""
  names = next(iter(files.programs.values())).inputs
  gather = scores.Gather(exp.task.measure)
  for batch in data.evaluation(split):
    outputs = files.outputs(calls, _flat(batch, names, files.of))
    gather.add(exp.task.measure.read(outputs, batch), batch['mask'])
  return next(iter(gather.finish(data).values()))


def _words(workdir):
  """The vocabulary of a workdir's texts, if it has one."""
  from bst_jax.data import vocabularies  # Not everything has texts.

  found = vocabularies.read(workdir / experiment.VOCAB, ('words',))
  return None if found is None else found.words


def main() -> None:
  """The command."""
  cli.start()
  if (_WORKDIR.value is None) == (_CONFIG.value is None):
    raise cli.UsageError('give either --workdir or --config.')
  output, data, split = pathlib.Path(cli.required(_OUTPUT)), None, ''
  if _WORKDIR.value:
    workdir = pathlib.Path(_WORKDIR.value)
    exp = experiment.load(workdir)
    params = checkpoint.load_params(workdir, exp.shapes)
    if _SPLIT.value != 'none':
      other_data.put(exp.config, _DATA.value, _SPLIT.value)
      data = (experiment.load_data(exp.config, workdir)
              if _DATA.value or _SPLIT.value
              else other_data.load_if_there(exp, workdir))
      split = _SPLIT.value or exp.config.data.eval
  else:
    exp = experiment.build(_CONFIG.value, experiment.sizes_of(_CONFIG.value))
    params = latency.random_params(exp)
  with alive.told(f'making {", ".join(_FORMAT.value)}; each is compared with '
                  'the JAX model', False):
    card = export(exp, params, _SUBMODEL.value, _FORMAT.value, output, data,
                  split, _BATCH.value, _words(workdir) if _WORKDIR.value else None)
  if _WORKDIR.value:
    shutil.copytree(workdir / experiment.VOCAB, output / experiment.VOCAB)
  cards.write(card, output, trained=bool(_WORKDIR.value))
  saved = ', '.join([*card['files'], *card.get('beside', ())])
  print(f'Saved {saved}, card.md and card.json in {output}')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
