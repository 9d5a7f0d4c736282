"""Accuracy and cost of submodels: scores, table, JSON and picture."""
from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any

from bst_jax import elastic, scores, tasks
from bst_jax.elastic import Submodel
from bst_jax.host import alive, files
from bst_jax.report import costs, predictions, standing
from bst_jax.run import forward, statistics
from bst_jax.run.experiment import Experiment
from bst_jax.scores import tokens as token_counts
from bst_jax.store import workdir as workdirs
import numpy as np


def make_scorer(exp: Experiment, data: Any, mesh: Any,
                picks: list[list[Any]] | None = None) -> Callable:
  """A function (params, subs, batches) -> rows of results, one a submodel.

  A row has the numbers of the task's measure by its name, and `loss` and `rows`
  that were scored. The submodels run as `forward.make_runner` says; where
  tokens are sampled, `token_counts.Tally` says how many. If `picks` is given, a
  list for each batch is put there, of what `predictions.picked` gives of every
  submodel.
  """
  measure = exp.task.measure
  read = reader(exp)
  if picks is not None:
    read = lambda *args, score=read: score(*args) | {
        'picked': predictions.picked(exp, *args)}
  run = forward.make_runner(exp, mesh, read)

  def score(params, subs, batches):
    gathers = [scores.Gather(measure) for _ in subs]
    example = exp.example()
    tallies = [token_counts.Tally(exp.model.at(sub), example) for sub in subs]
    totals = np.zeros((len(subs), 3))  # Losses, their weights, rows.
    for found in run(params, subs, batches):
      if picks is not None:
        picks.append([one['picked'] for one in found])
      for total, gather, tally, one in zip(totals, gathers, tallies, found):
        gather.add(one['measured'], one['mask'])
        total += *one['loss'], one['mask'].sum()
        if one['tokens']:
          tally.add(one['tokens']['count'], one['tokens']['overflow'],
                    one['mask'])
    return [
        {'measure': measure.name, measure.name: gather.finish(data),
         'loss': loss / weight if weight else None, 'questions': int(count)}
        | tally.report()
        for gather, tally, (loss, weight, count) in zip(
            gathers, tallies, totals)]

  return score


def reader(exp: Experiment) -> Callable:
  """What evaluation reads of a submodel, compiled with it.

  Returns:
    (outputs, batch, tokens) -> what the measure reads, sums of the loss and its
    weights, tokens, and which rows are real.
  """
  return lambda outputs, batch, tokens: {
      'measured': exp.task.measure.read(outputs, batch),
      'loss': tasks.summed(exp.task, outputs, batch),
      'tokens': tokens, 'mask': batch['mask']}


def row(exp: Experiment, sub: Submodel) -> dict[str, Any]:
  """Text form, exact parameters and MACs of a submodel for one question."""
  shapes = exp.shapes_at(sub)
  macs = costs.of(exp.model.at(sub), shapes, exp.example()).macs
  return {'submodel': str(sub), 'params': elastic.size(shapes), 'macs': macs,
          'trained': sub in exp.space.submodels}


def evaluate(exp: Experiment, data: Any, params: Any,
             subs: Sequence[Submodel], split: str, mesh: Any,
             picks: list[list[Any]] | None = None) -> dict[str, Any]:
  """Scores the submodels on a split; the dict that evaluation_*.json holds.

  If `picks` is given, the answers are put there as of `make_scorer`.
  """
  statistics.warn_of_parts(exp, subs)
  score, prior = make_scorer(exp, data, mesh, picks), data.prior(split)
  rows = [row(exp, sub) for sub in subs]
  with alive.told(f'evaluating {len(subs)} submodels on {split}') as stretch:
    rows = [about | scores for about, scores in zip(
        rows, score(params, subs, stretch.over(data.evaluation(split))))]
  return {'data': exp.config.data.name, 'split': split, 'rule': data.rule,
          'floor': data.floor, 'unit': data.unit, 'prior': prior,
          'ceiling': data.ceiling(split),
          'types': list(data.types),
          'title': exp.task.measure.title, 'rows': rows}


def table(result: Mapping[str, Any]) -> str:
  """The result as aligned text, cheapest submodel first."""
  first = result['rows'][0]
  names = list(scores.numbers(first))
  mean = ['MACs of tokens'] if 'mean_macs' in first else []
  head = ['submodel', 'params', 'MACs', *mean, *names]
  numbers = lambda found: [
      f'{found[name]:.1f}' if name in found else '' for name in names]
  lines = [head]
  for r in result['rows']:
    name = r['submodel'] + ('' if r['trained'] else ' *')
    lines.append([name, f'{r["params"]:,}', f'{r["macs"]:,}',
                  *(f'{r["mean_macs"]:,.0f}' for _ in mean),
                  *numbers(scores.numbers(r))])
  if any(numbers(result['prior'])):
    lines.append([result['floor'], '', '', *('' for _ in mean),
                  *numbers(result['prior'])])
  if result.get('ceiling'):  # Older results have none.
    lines.append(['highest possible', '', '', *('' for _ in mean),
                  *numbers(result['ceiling'])])
  title = (f'{result["data"]}, split {result["split"]}, '
           f'{first["questions"]} {result["unit"]}, {result["title"]}')
  if result.get('rule', '').startswith('gqa'):
    title += (', answers compared in normal form'
              if result['rule'] == 'gqa_fixed' else ', official scoring')
  if not all(r['trained'] for r in result['rows']):
    title += '\n* outside of the space: this pair was never trained'
  text = f'{title}\n{aligned(lines)}'
  if mean:
    text += f'\n\n{token_counts.table(result["rows"], aligned)}'
  return text


def aligned(lines: Sequence[Sequence[str]]) -> str:
  """Rows of cells as text: the first column to the left, the rest right."""
  widths = [max(map(len, column)) for column in zip(*lines)]
  return '\n'.join('  '.join(
      cell.ljust(w) if i == 0 else cell.rjust(w)
      for i, (cell, w) in enumerate(zip(line, widths))) for line in lines)


def picture(result: Mapping[str, Any], path: pathlib.Path) -> None:
  """Draws accuracy against multiply-accumulates and against parameters."""
  from matplotlib.figure import Figure  # Slow, and only pictures need it.

  figure = Figure(figsize=(10, 4.4), layout='constrained')
  rows = result['rows']
  main = [scores.main(r) for r in rows]
  floor = result['prior'].get(next(iter(scores.numbers(rows[0]))))
  for axes, key, label in zip(
      figure.subplots(1, 2, sharey=True), ('macs', 'params'),
      (f'multiply-accumulates per {result["unit"][:-1]}', 'parameters')):
    widths = sorted({r['submodel'].split('x')[0] for r in rows},
                    key=lambda w: Submodel(w, 1).width)
    for i, width in enumerate(widths):
      of_width = [r for r in rows if r['submodel'].startswith(f'{width}x')]
      x = [r[key] for r in of_width]
      y = [scores.main(r) for r in of_width]
      axes.plot(x, y, 'o-', color=f'C{i}', label=f'width {width}')
      for r, a, b in zip(of_width, x, y):
        axes.annotate(r['submodel'].split('x')[1], (a, b), (4, -11),
                      textcoords='offset points', fontsize=7, color=f'C{i}')
    if floor is not None:
      axes.axhline(floor, color='grey', ls='--', lw=1)
      axes.annotate(result['floor'], (0.02, floor), (0, 3),
                    xycoords=('axes fraction', 'data'), fontsize=7,
                    textcoords='offset points', color='grey')
    axes.set(xscale='log', xlabel=label)
    axes.grid(alpha=0.3)
    axes.set_ylim(min([*main, *([] if floor is None else [floor])]) - 5, 101)
  figure.axes[0].set_ylabel(
      f'{next(iter(scores.numbers(rows[0])))} {result["title"]}')
  figure.axes[1].legend(fontsize=8, loc='lower right')
  figure.suptitle(f'Submodels of one training: {result["data"]}, split '
                  f'{result["split"]} (numbers: depth)', fontsize=10)
  with files.beside(path) as place:
    figure.savefig(place, dpi=150)


def report(workdir: str | pathlib.Path, result: Mapping[str, Any],
           other: str = '') -> None:
  """Prints the table and saves it as JSON and picture in the workdir.

  Args:
    workdir: of the network.
    result: from `evaluate`; `step` in it is that of the checkpoint, else it is
      of the newest.
    other: name of data that are not the workdir's own; their results have
      files of their own.
  """
  name, whole = standing.place(workdir, result, other)
  name = pathlib.Path(workdir) / name
  workdirs.write_json(workdir, f'{name.name}.json', whole)
  picture(whole, name.with_suffix('.png'))
  print(f'\n{table(result)}\n')
  more = len(whole['rows']) - len(result['rows'])
  beside = f', with the rows of {more} more' if more else ''
  print(f'Saved {name}.json and {name}.png{beside}', flush=True)
