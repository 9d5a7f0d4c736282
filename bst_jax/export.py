"""Writes a submodel as files that run without this package."""
import functools
import pathlib
import shutil
from typing import Any

from absl import flags, logging
from bst_jax import elastic, scores
from bst_jax.data import kinds
from bst_jax.host import alive, cli, config_flag, files
from bst_jax.report import cards, int8, latency, portable, scoring
from bst_jax.run import arguments, experiment, other_data, statistics
from bst_jax.store import checkpoint
import jax
import numpy as np

FORMATS = ('stablehlo', 'onnx', 'int8')
TOLERANCE = 1e-4  # of the greatest logit, between a file and the JAX model

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

# What a row of each form of data is called, and what is told apart.
_ROWS = {'labels': ('picture', 'classes'), 'pairs': ('statement', 'classes'),
         'retrieval': ('text', 'texts'), 'objects': ('picture', 'classes')}

FIRST = ('workdir', 'submodel', 'format', 'output', 'data')
DESCRIPTION = """Writes one submodel as StableHLO (jax.export, any batch, CPU,
CUDA and TPU), ONNX and int8 ONNX, with a model card, the vocabularies and a
JSON of all numbers. Every file is run and compared with the JAX model, and
scored on the evaluation split, before the command says done. Takes a workdir,
or a config for sizes and latency with random parameters. ONNX needs the extra:
pip install bst_jax[export]."""
EXAMPLES = """python -m bst_jax.export --workdir runs/quickstart --submodel 1/4x1/2 --output runs/phone
python -m bst_jax.export --workdir runs/quickstart --submodel 1/2x1 --format onnx,int8 --output runs/int8
python -m bst_jax.export --config configs/bst_mcan_vqa.py --submodel 1/4x1/6 --format onnx,int8 --output runs/size"""


def export(exp: experiment.Experiment, params: Any, submodel: str,
           formats: list[str], output: pathlib.Path, data: Any = None,
           split: str = '', rows: int | None = None) -> dict[str, Any]:
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

  Returns:
    What `card.json` holds: sizes, costs, inputs, and for every file its bytes,
    its greatest difference from the JAX model, milliseconds of one question on
    one thread, and accuracy.

  Raises:
    ValueError: a format is unknown, or the output is not empty.
    ArithmeticError: a file's logits are not the model's.
  """
  for name in formats:
    elastic.check_name(name, FORMATS, 'format')
  sub = exp.parse_one(submodel, 'is exported')
  statistics.warn_of_parts(exp, [sub])
  files.check_new(output)
  small = exp.model.at(sub)
  weights = jax.tree.map(np.asarray, exp.extract(params, sub))

  def logits(batch):
    outputs = small.apply({'params': weights}, batch)
    several = exp.task.exported
    return ({name: outputs[name] for name in several} if several
            else outputs[exp.task.outputs[0]])

  example = portable.used(logits, exp.example())
  card = _card(exp, sub, logits, example, rows)
  if data is not None:
    card['split'] = split
    card['accuracy'] = _accuracy(jax.jit(logits), example, exp, data, split)

  asked = _questions(exp, example, data, split)
  want = jax.tree.map(np.asarray, logits(asked))
  blobs = {}
  for name, blob, call in _made(formats, logits, example, rows):
    about = _checked(name, blob, call, asked, want, example, rows)
    if data is not None and name != 'stablehlo':
      about['accuracy'] = _accuracy(_in_parts(call, example, rows), example,
                                    exp, data, split)
    blobs[cards.NAMES[name]], card['files'][cards.NAMES[name]] = blob, about
  for name, blob in blobs.items():  # None is left behind by one that fails.
    with files.beside(output / name) as place:
      place.write_bytes(blob)
  return card


def _checked(name, blob, call, asked, want, example, rows):
  """What the card says of a file, which gives the logits that are wanted.

  Raises:
    ArithmeticError: it gives others.
  """
  about = {'bytes': len(blob), 'difference': _difference(
      _in_parts(call, example, rows)(asked), want)}
  # NaN is not within it either.
  if name != 'int8' and not about['difference'] <= TOLERANCE:
    raise ArithmeticError(
        f'{cards.NAMES[name]} differs from the JAX model by '
        f'{about["difference"]:.1e} of its greatest logit, more than '
        f'{TOLERANCE:.0e}; nothing was written. Please report this.')
  if name != 'stablehlo':
    some = {k: np.resize(x, ((rows or 1) * len(example[k]), *x.shape[1:]))
            for k, x in asked.items()}
    about['latency_ms'] = 1e3 * latency.median_seconds(
        lambda: call(some), runs=30)
  if name == 'int8':
    about['weights'] = int8.ABOUT
  return about


def _in_parts(call, example, rows):
  """A file of fixed rows as one of any number: its last part is filled up."""
  if rows is None:
    return call

  def run(batch):
    count = max(len(x) // len(example[k]) for k, x in batch.items())
    parts = []
    for first in range(0, count, rows):
      index = np.minimum(np.arange(first, first + rows), count - 1)
      parts.append(call({
          k: x.reshape(count, -1, *x.shape[1:])[index].reshape(
              -1, *x.shape[1:]) for k, x in batch.items()}))
    return jax.tree.map(lambda *each: np.concatenate(each)[:count], *parts)

  return run


def _card(exp, sub, logits, example, rows):
  """What is known of a submodel's files before they are made."""
  shape = lambda x: [
      rows * len(x) if rows else 'B' if len(x) == 1 else f'{len(x)} B',
      *x.shape[1:]]
  given = jax.eval_shape(logits, example)
  several = given if isinstance(given, dict) else {'logits': given}
  data = exp.config.data
  row, told = _ROWS.get(exp.task.form, ('question', 'answers'))
  return scoring.row(exp, sub) | {
      'data': data.name,
      'word_pieces': kinds.pieces_of(data.get('word_pieces')),
      'blank_regions': bool(data.get('blank_regions')),
      'image_fit': kinds.image_fit(data),
      'task': exp.config.task.name, 'output': exp.task.card,
      'measure': exp.task.measure.title,
      'model': exp.config.model.name, 'sizes': dict(exp.sizes),
      'inputs': {name: {'shape': shape(x), 'dtype': str(x.dtype)}
                 for name, x in sorted(example.items())},
      'outputs': {name: {'shape': shape(x), 'dtype': str(x.dtype)}
                  for name, x in sorted(several.items())},
      'row': 'video' if 'clip' in example else row, 'told': told,
      'batch': rows or 'any', 'jax': jax.__version__, 'files': {}}


def _made(formats, logits, example, rows):
  """(format, bytes, batch -> logits) of each format, in a fixed order."""
  model = None
  for name in FORMATS:
    if name not in formats:
      continue
    logging.info('making %s', cards.NAMES[name])
    if name == 'stablehlo':
      blob = portable.stablehlo(logits, example, rows)
      yield name, blob, functools.partial(portable.run_stablehlo, blob)
    else:
      model = model or portable.onnx(logits, example, rows)
      blob = int8.quantise(model) if name == 'int8' else model
      yield name, blob, portable.Session(blob)


def _questions(exp, names, data, split):
  """Eight questions of the split, or random ones, a picture each."""
  if data is None:
    rng = np.random.default_rng(0)
    like = exp.example(8)
    draw = lambda x: (rng.integers(0, 3, x.shape) if x.dtype == np.int32 else
                      255 * rng.random(x.shape) if x.dtype == np.uint8 else
                      rng.random(x.shape)).astype(x.dtype)
    return {name: draw(np.asarray(like[name])) for name in names}
  batch = _flat(next(iter(data.evaluation(split))), names)
  rows = exp.example()
  return {name: x[:8 * len(rows[name])] for name, x in batch.items()}


def _flat(batch, names):
  """The named inputs with a picture a question, as the files want them.

  Of a video all views stay, one below the other.
  """
  count = len(batch['mask'])
  times = lambda x: max(1, count // len(x))
  return {name: np.repeat(batch[name], times(batch[name]), axis=0)
          for name in names}


def _accuracy(call, names, exp, data, split):
  """The measure's main number of batch -> logits on a split."""
  gather = scores.Gather(exp.task.measure)
  for batch in data.evaluation(split):
    outputs = call(_flat(batch, names))
    if not exp.task.exported:
      outputs = {exp.task.outputs[0]: outputs}
    gather.add(exp.task.measure.read(outputs, batch), batch['mask'])
  return next(iter(gather.finish(data).values()))


def _difference(got, want):
  """The greatest one of any output, as a share of that output's greatest."""
  def of_one(got, want):
    got, want = (np.asarray(x, np.float64) for x in (got, want))
    return np.abs(got - want).max() / max(np.abs(want).max(), 1e-12)
  return float(max(jax.tree.leaves(jax.tree.map(of_one, got, want))))


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
                  split, _BATCH.value)
  if _WORKDIR.value:
    shutil.copytree(workdir / experiment.VOCAB, output / experiment.VOCAB)
  cards.write(card, output, trained=bool(_WORKDIR.value))
  print(f'Saved {", ".join(card["files"])}, card.md and card.json in {output}')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
