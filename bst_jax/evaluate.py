"""Scores every submodel of a workdir: one table, one JSON, one picture."""
import dataclasses
import pathlib

from absl import flags, logging
from bst_jax import scores, tasks
from bst_jax.host import cli
from bst_jax.learn import sharding
from bst_jax.report import (
  boxes,
    budget,
    latency,
    predictions,
    recalibrated,
    scoring,
)
from bst_jax.run import experiment, other_data, statistics
from bst_jax.sampling import pictures as token_pictures
from bst_jax.sampling import ways as token_ways
from bst_jax.scores import tokens as token_counts
from bst_jax.store import best, checkpoint
import jax
import jax.numpy as jnp
import numpy as np

_WORKDIR = cli.define_workdir()
_SPLIT = flags.DEFINE_string(
    'split', None, 'Split of the data; config.data.eval if left out.',
    allow_override=True)
_SUBMODEL = flags.DEFINE_string(
    'submodel', 'all', 'Submodels as 1/2x1/3, comma-separated, or all of the '
    "space. Pairs outside of the space are allowed: they weren't trained.",
    allow_override=True)
_STEP = flags.DEFINE_string('step', None, best.STEP_HELP, allow_override=True)
_DATA = other_data.define()
_MEASURE = flags.DEFINE_string(
    'measure', None, 'Measure in place of the task\'s own, as boxes, the average '
    'precision of a detector.', allow_override=True)
_BUDGET = flags.DEFINE_multi_string(
    'budget', [], 'KEY<=NUMBER with KEY one of params, macs, latency_ms: names '
    'the most accurate submodel that fits; several budgets all hold.',
    allow_override=True)
_RESULTS = flags.DEFINE_boolean(
    'results', False, "Also writes each submodel's answers, boxes or captions to "
    'a file, as evaluation servers take them; for VQA-v2, GQA, COCO and folders.',
    allow_override=True)
_OVERLAP = flags.DEFINE_boolean(
    'allow_overlap', False, 'Evaluates on pictures that the run trained on.',
    allow_override=True)
_SHOW = flags.DEFINE_integer(
    'show', 0, 'Also draws so many images: of a detector with the boxes that it '
    'finds, else with the tokens that live behind each sampling layer, and '
    'histograms of their numbers; of the first submodel.',
    lower_bound=0, allow_override=True)
_WAYS = flags.DEFINE_integer(
    'ways', 0, 'Also runs so many images in each way that sampled tokens can be '
    'run, and tells images/s and accuracy: dense, mask, capacity, sorted into '
    'buckets, ragged; of the first submodel.', lower_bound=0,
    allow_override=True)

_RECALIBRATE = flags.DEFINE_integer(
    'recalibrate', 0, 'Training batches from which every submodel of a model '
    'of batch statistics takes its own before it is scored, as extract does '
    f'({statistics.BATCHES}); 0 scores all with those of the full model.',
    lower_bound=0, allow_override=True)

FIRST = ('workdir', 'split', 'submodel', 'data')
DESCRIPTION = """Evaluates every submodel of a workdir.

Prints one table (parameters, multiply-accumulates, accuracy overall and per
question type, beside the question-only prior) and saves it in the workdir as
evaluation_SPLIT.json and evaluation_SPLIT.png. With --results the answers of
each submodel go to a file of the workdir in the form of the evaluation servers,
as results_test_w1-2_d1-3_hidden256_layers2.json: split, ratios of width and
depth, channels, layers of each stack. It works for splits that only a server
can score too."""
EXAMPLES = """python -m bst_jax.evaluate --workdir runs/quickstart
python -m bst_jax.evaluate --workdir runs/quickstart --split val
python -m bst_jax.evaluate --workdir runs/quickstart --submodel 1/2x1/2,1x1
python -m bst_jax.evaluate --workdir runs/quickstart --budget 'macs<=1M' --budget 'params<=100K'
python -m bst_jax.evaluate --workdir runs/converted --data=class_folders --data.manual_dir=pictures --split val
python -m bst_jax.evaluate --workdir runs/vit_ats --show 16 --ways 1000
python -m bst_jax.evaluate --workdir runs/mcan_vqa --split test --results
python -m bst_jax.evaluate --workdir runs/tee --measure boxes --show 16"""


def main() -> None:
  """The command."""
  cli.start()
  workdir = pathlib.Path(cli.required(_WORKDIR))
  exp = experiment.load(workdir)
  if _MEASURE.value:
    exp = dataclasses.replace(exp, task=tasks.create(
        dict(exp.config.task) | {'measure': _MEASURE.value}))
  exp.task.measure.check()
  subs = exp.parse(_SUBMODEL.value)
  budgets = [budget.Budget.parse(text) for text in _BUDGET.value]
  outside = [str(s) for s in subs if s not in exp.space.submodels]
  if outside:
    logging.warning('%s: not among the submodels that were trained (%s).',
                    ', '.join(outside), ', '.join(map(str, exp.space)))
  step = best.step_of(workdir, _STEP.value)
  params = checkpoint.load_params(workdir, exp.shapes, step)
  other_data.put(exp.config, _DATA.value, _SPLIT.value)
  split = _SPLIT.value or exp.config.data.eval
  if _OVERLAP.value:
    exp.config.data.allow_overlap = True
  data = experiment.load_data(exp.config, workdir)
  mesh, result = sharding.make_mesh({'data': -1}), None
  if _SHOW.value:
    _check_shown(exp, subs[0])
  if _WAYS.value:
    token_ways.check(exp, subs[0])
  if _RECALIBRATE.value:
    recalibrated.check(exp)
    if _RESULTS.value or _SHOW.value or _WAYS.value:
      raise cli.UsageError('--recalibrate scores alone; leave out --results, '
                           '--show and --ways, or extract the submodel first.')
  ids, picks = None, None
  if _RESULTS.value:
    ids, picks = predictions.ids(data, split), []
  if _RECALIBRATE.value:  # Sets the mesh where it scores, and no sooner.
    result = recalibrated.evaluate(exp, data, params, subs, split, mesh,
                                   _RECALIBRATE.value)
  else:
    with jax.set_mesh(mesh):
      if not _RESULTS.value or data.has_answers(split):
        result = scoring.evaluate(exp, data, params, subs, split, mesh, picks)
      else:
        picks = predictions.pick(exp, data, params, subs, split, mesh)
  if result and any(b.key == 'latency_ms' for b in budgets):
    times = latency.measure(exp, params, subs, batch=1, runs=30)
    for row, time in zip(result['rows'], times, strict=True):
      row['latency_ms'] = time['latency_ms']
  if jax.process_index():
    return
  if result:
    if step is not None:
      result['step'] = step
    scoring.report(workdir, result, exp.config.data.name if _DATA.value else '')
  if _RESULTS.value:
    for path in predictions.write(exp, data, ids, picks, subs, split, workdir):
      print(f'Saved {path}', flush=True)
  if result and _SHOW.value and exp.task.form == 'objects':
    sheet = workdir / f'boxes_{split}_{subs[0].path}.png'
    boxes.show(exp, params, subs[0], data, split, _SHOW.value, sheet)
    print(f'Saved {sheet}', flush=True)
  elif result and _SHOW.value:
    _show(exp, data, params, subs[0], split, _SHOW.value, workdir,
          result['rows'][0])
  if result and _WAYS.value:
    token_ways.report(workdir, subs[0], token_ways.compare(
        exp, data, params, subs[0], split, _WAYS.value, result['rows'][0]))
  if result and budgets:
    print(_choice(workdir, budgets, budget.best(result['rows'], budgets)))


def _check_shown(exp, sub):
  """Raises where there are neither boxes nor sampled patches to draw."""
  if exp.task.form == 'objects':
    return
  token_counts.check(exp, sub, '--show draws the tokens that sampling keeps')
  if not hasattr(exp.model, 'token_grid'):
    raise ValueError(f'--show draws patches of a grid, but the tokens of model '
                     f'{exp.config.model.name} lie on none.')


def _show(exp, data, params, sub, split, count, workdir, row):
  """Draws the first images of the split, and the counts of all."""
  small, images, labels = exp.model.at(sub), [], []
  kind = 'clip' if hasattr(small, 'clip_size') else 'image'
  for batch in data.evaluation(split):
    rows = len(batch[kind]) // len(batch['mask'])  # Views of a clip: the first.
    images.append(batch[kind][::rows][batch['mask']])
    labels.append(batch['label'][batch['mask']])
    if sum(map(len, images)) >= count:
      break
  images, labels = np.concatenate(images)[:count], np.concatenate(labels)
  alive = token_pictures.surviving(
      small, exp.extract(params, sub), {kind: jnp.asarray(images)})
  if kind == 'clip':  # The middle frame stands for all.
    middle = images.shape[1] // 2
    images = images[:, middle]
    alive = {layer: lives if lives.ndim == 2 else lives[:, middle]
             for layer, lives in alive.items()}
  sheet, counts = (workdir / f'{name}_{split}_{sub.path}.png'
                   for name in ('tokens', 'token_counts'))
  token_pictures.sheet(images, alive, small.token_grid,
                       [data.answers[label] for label in labels[:count]], sheet)
  token_pictures.histograms(
      row['tokens'], f'{exp.config.data.name}, split {split}, submodel {sub}',
      counts)
  print(f'Saved {sheet} and {counts}', flush=True)


def _choice(workdir, budgets, row):
  cost = ', '.join(f'{b.key} {row[b.key]:,.4g}' for b in budgets)
  return (f'\nBest for {" and ".join(map(str, budgets))}: {row["submodel"]}, '
          f'{scores.main(row):.1f} % ({cost}). To cut it out:\n'
          f'  python -m bst_jax.extract --workdir {workdir} --submodel '
          f'{row["submodel"]} --output DIR')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
