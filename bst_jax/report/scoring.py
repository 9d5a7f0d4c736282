"""Accuracy and cost of submodels: scores, table, JSON and picture."""
from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import Submodel
from bst_jax.host import files
from bst_jax.report import costs
from bst_jax.run import experiment, forward
from bst_jax.run.experiment import Experiment
from bst_jax.scores import tokens as token_counts
from bst_jax.store import workdir as workdirs
import jax
import numpy as np
import tqdm


def make_scorer(exp: Experiment, data: Any, mesh: Any,
                picks: list[np.ndarray] | None = None) -> Callable:
  """A function (params, subs, batches) -> [{'accuracy': …, 'loss': …}, …].

  One dict a submodel. The submodels run as `forward.make_runner` says; where
  tokens are sampled, `token_counts.Tally` says how many. If `picks` is given,
  the answers of each batch are put there, int[len(subs), B].
  """
  read = reader(exp, len(data.types))
  if picks is not None:
    read = lambda *args, score=read: (*score(*args), args[0].argmax(-1))
  run = forward.make_runner(exp, mesh, read)

  def scores(total):
    correct, count = total['correct'], total['count']
    accuracy = {
        name: 100 * float(c / n)
        for name, c, n in zip((*data.types, 'overall'), correct, count) if n}
    more = {'top5': 100 * float(total['top5'] / total['examples'])} if (
        'top5' in total) else {}
    return more | {
        'accuracy': accuracy,
        'loss': float(total['loss'] / total['examples']),
        'questions': int(total['examples'])}

  def score(params, subs, batches):
    totals, tallies = None, [token_counts.Tally(exp.model.at(s)) for s in subs]
    for found in run(params, subs, batches):
      sums = [metrics for metrics, *_ in found]
      if picks is not None:
        picks.append(np.stack([picked for *_, picked in found]))
      totals = sums if totals is None else jax.tree.map(np.add, totals, sums)
      for tally, (_, tokens, mask, *_) in zip(tallies, found):
        if tokens:
          tally.add(tokens['count'], tokens['overflow'], mask)
    return [scores(total) | tally.report()
            for total, tally in zip(totals, tallies)]

  return score


def reader(exp: Experiment, num_types: int) -> Callable:
  """What evaluation reads of a submodel, compiled with it.

  Returns:
    (logits, batch, tokens) -> metrics, tokens and which examples are real.
  """
  return lambda logits, batch, tokens: (
      exp.task.metrics(logits, batch, num_types), tokens, batch['mask'])


def row(exp: Experiment, sub: Submodel) -> dict[str, Any]:
  """Text form, exact parameters and MACs of a submodel for one question."""
  shapes = exp.shapes_at(sub)
  macs = costs.of(exp.model.at(sub), shapes, experiment.example(exp.sizes)).macs
  return {'submodel': str(sub), 'params': elastic.size(shapes), 'macs': macs,
          'trained': sub in exp.space.submodels}


def evaluate(exp: Experiment, data: Any, params: Any,
             subs: Sequence[Submodel], split: str, mesh: Any,
             picks: list[np.ndarray] | None = None) -> dict[str, Any]:
  """Scores the submodels on a split; the dict that evaluation_*.json holds.

  If `picks` is given, the answers are put there as of `make_scorer`.
  """
  score, prior = make_scorer(exp, data, mesh, picks), data.prior(split)
  rows = [row(exp, sub) for sub in subs]
  batches = tqdm.tqdm(data.evaluation(split), f'{len(subs)} submodels',
                      unit='batch', disable=None)
  rows = [about | scores for about, scores in zip(
      rows, score(params, subs, batches))]
  return {'data': exp.config.data.name, 'split': split, 'rule': data.rule,
          'floor': data.floor, 'unit': data.unit,
          'prior': prior, 'types': list(data.types), 'rows': rows}


def table(result: Mapping[str, Any]) -> str:
  """The result as aligned text, cheapest submodel first."""
  types = [t for t in result['types'] if t in result['prior']]
  first = result['rows'][0]
  top5 = ['top-5'] if 'top5' in first else []
  mean = ['MACs of tokens'] if 'mean_macs' in first else []
  head = ['submodel', 'params', 'MACs', *mean, 'overall', *top5, *types]
  numbers = lambda scores: [f'{scores[t]:.1f}' for t in types]
  lines = [head]
  for r in result['rows']:
    name = r['submodel'] + ('' if r['trained'] else ' *')
    lines.append([name, f'{r["params"]:,}', f'{r["macs"]:,}',
                  *(f'{r["mean_macs"]:,.0f}' for _ in mean),
                  f'{r["accuracy"]["overall"]:.1f}',
                  *(f'{r["top5"]:.1f}' for _ in top5),
                  *numbers(r['accuracy'])])
  prior = result['prior']
  lines.append([result['floor'], '', '', *('' for _ in mean),
                f'{prior["overall"]:.1f}', *('' for _ in top5),
                *numbers(prior)])
  title = (f'{result["data"]}, split {result["split"]}, '
           f'{result["rows"][0]["questions"]} {result["unit"]}, accuracy in '
           'percent')
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
  overall = [r['accuracy']['overall'] for r in rows]
  for axes, key, label in zip(
      figure.subplots(1, 2, sharey=True), ('macs', 'params'),
      (f'multiply-accumulates per {result["unit"][:-1]}', 'parameters')):
    widths = sorted({r['submodel'].split('x')[0] for r in rows},
                    key=lambda w: Submodel(w, 1).width)
    for i, width in enumerate(widths):
      mine = [r for r in rows if r['submodel'].startswith(f'{width}x')]
      x = [r[key] for r in mine]
      y = [r['accuracy']['overall'] for r in mine]
      axes.plot(x, y, 'o-', color=f'C{i}', label=f'width {width}')
      for r, a, b in zip(mine, x, y):
        axes.annotate(r['submodel'].split('x')[1], (a, b), (4, -11),
                      textcoords='offset points', fontsize=7, color=f'C{i}')
    axes.axhline(result['prior']['overall'], color='grey', ls='--', lw=1)
    axes.annotate(result['floor'], (0.02, result['prior']['overall']), (0, 3),
                  xycoords=('axes fraction', 'data'), fontsize=7,
                  textcoords='offset points', color='grey')
    axes.set(xscale='log', xlabel=label)
    axes.grid(alpha=0.3)
    axes.set_ylim(min(*overall, result['prior']['overall']) - 5, 101)
  figure.axes[0].set_ylabel('accuracy, %')
  figure.axes[1].legend(fontsize=8, loc='lower right')
  figure.suptitle(f'Submodels of one training: {result["data"]}, split '
                  f'{result["split"]} (numbers: depth)', fontsize=10)
  with files.beside(path) as place:
    figure.savefig(place, dpi=150)


def report(workdir: str | pathlib.Path, result: Mapping[str, Any]) -> None:
  """Prints the table and saves it as JSON and picture in the workdir."""
  name = pathlib.Path(workdir) / f'evaluation_{result["split"]}'
  workdirs.write_json(workdir, f'{name.name}.json', dict(result))
  picture(result, name.with_suffix('.png'))
  print(f'\n{table(result)}\n')
  print(f'Saved {name}.json and {name}.png', flush=True)
