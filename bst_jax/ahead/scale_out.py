"""Step time and efficiency on more chips, on paper, from compiled reports."""
from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from absl import flags
from bst_jax.ahead import chips, interconnect, roofline
from bst_jax.ahead.traffic import Collective
from bst_jax.host import cli, files
from bst_jax.report.scoring import aligned
from bst_jax.store import workdir as workdirs

_REPORTS = flags.DEFINE_list(
    'reports', None, 'Folders of bst_jax.compile --output, comma-separated.',
    allow_override=True)
_CHIPS = flags.DEFINE_list(
    'chips', [str(2 ** n) for n in range(3, 13)], 'Numbers of chips.',
    allow_override=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'PNG file to draw; the numbers go beside it as JSON.',
    allow_override=True)

DESCRIPTION = """Predicts the time of a training step on more chips than a
report was compiled for, and how much of each chip's speed is left (weak
scaling: the batch of a chip stays). The work of a chip and what it exchanges
are the compiler's figures, the links are the published ones; nothing is
measured."""
EXAMPLES = """python -m bst_jax.ahead.scale_out --reports reports/mcan,reports/uniter --output scale.png
python -m bst_jax.ahead.scale_out --reports reports/mcan --chips 8,256,4096 --output scale.png"""


def predict(report: Mapping[str, Any], counts: Sequence[int],
            ) -> list[dict[str, Any]]:
  """A row for every number of chips.

  Args:
    report: what `bst_jax.compile` wrote of one config.
    counts: numbers of chips; more than a pod has are several slices of the
      largest shape.

  Returns:
    `chips`, `slice` and `slices`, `links` (seconds of all collectives), `step`
    (nothing overlaps with them) and `overlapped` (all that can does), in
    seconds, and their `efficiency`: one chip's time over theirs.

  Raises:
    ValueError: the report has no step that fits, or chips do not come in such
      numbers.
  """
  program = report['programs'].get('train', {})
  if 'time' not in program:
    raise ValueError(
        f'{report.get("config", "a report")} on {report["topology"]} has no '
        'compiled training step; compile one that fits.')
  name = chips.parse(report['topology']).name
  alone = _alone(program['time'])
  exchanged = [Collective(one['kind'], one['group'],
                          one['bytes'] / one['count'], one['count'])
               for one in program['collectives']]
  rows = []
  for count in counts:
    part, slices = _slices(name, count)
    links = roofline.link_seconds(exchanged, part, slices)
    step, hidden = alone + links, max(alone, links)
    rows.append({
        'chips': count, 'slice': str(part), 'slices': slices, 'links': links,
        'step': step, 'overlapped': hidden,
        'efficiency': {'step': alone / step, 'overlapped': alone / hidden}})
  return rows


def _alone(time):
  """Seconds of a chip's own work: by the compiler's cycles, if it tells."""
  if 'compiler' in time:
    return time['compiler'] - time['seconds']['links']
  return max(time['seconds'][name] for name in ('compute', 'memory'))


def _slices(name, count):
  """The slice, and how many of it, that so many chips are."""
  whole = chips.of_size(name, count)
  if whole:
    return whole, 1
  sizes = {chips.parse(f'{name}:{shape}').chips: f'{name}:{shape}'
           for shape in chips.CHIPS[name].slices}
  largest = max(sizes)
  if count % largest:
    raise ValueError(
        f'{count} chips {name} were asked for, but slices have '
        f'{", ".join(map(str, sorted(sizes)))} of them, and more are multiples '
        f'of {largest}.')
  return chips.parse(sizes[largest]), count // largest


def table(about: str, rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows as aligned text."""
  lines = [('chips', 'slices', 'links ms', 'step ms', 'efficiency',
            'all overlapped')]
  lines += [(f'{row["chips"]:,}', f'{row["slices"]} x {row["slice"]}',
             f'{1e3 * row["links"]:.3f}', f'{1e3 * row["step"]:.3f}',
             f'{row["efficiency"]["step"]:.1%}',
             f'{row["efficiency"]["overlapped"]:.1%}') for row in rows]
  return f'{about}\n{aligned(lines)}'


def assumptions(reports: Sequence[Mapping[str, Any]]) -> str:
  """What the prediction takes for granted, for the picture."""
  names = {chips.parse(r['topology']).name for r in reports}
  rates = '; '.join(
      f'{name}: {chips.CHIPS[name].links} links of '
      f'{chips.CHIPS[name].link_rate / 1e9:g} GB/s each way, '
      + ('no published rate between slices'
         if chips.CHIPS[name].dcn_rate is None else
         f'{chips.CHIPS[name].dcn_rate / 1e9:g} GB/s a chip between slices')
      for name in sorted(names))
  return (
      'On paper, not measured. The batch of a chip stays (weak scaling). Work '
      "of a chip: the compiler's cycles where it tells them, else the larger of "
      'products at peak and bytes at the rate of HBM. Exchange: the compiled '
      'collectives, each over all chips by rings along every axis of the torus '
      f'at published rates ({rates}), '
      f'{1e6 * interconnect.HOP:g} us a hop and '
      f'{1e6 * interconnect.DCN_HOP:g} us a stage between slices (assumed). Solid: '
      'nothing overlaps; dashed: all does. Input, stragglers and congestion '
      'are left out.')


def picture(reports: Sequence[Mapping[str, Any]],
            predicted: Sequence[Sequence[Mapping[str, Any]]],
            path: pathlib.Path) -> None:
  """Draws step time and efficiency against the number of chips."""
  from matplotlib.figure import Figure  # Slow, and only pictures need it.

  figure = Figure(figsize=(10, 4.8), layout='constrained')
  time, share = figure.subplots(1, 2, sharex=True)
  for i, (report, rows) in enumerate(zip(reports, predicted)):
    x = [row['chips'] for row in rows]
    label = _about(report)
    for name, style in (('step', 'o-'), ('overlapped', '--')):
      time.plot(x, [1e3 * row[name] for row in rows], style, color=f'C{i}',
                ms=3, label=label if name == 'step' else None)
      share.plot(x, [100 * row['efficiency'][name] for row in rows], style,
                 color=f'C{i}', ms=3)
  time.set(xscale='log', xlabel='chips', ylabel='time of a step, ms')
  share.set(xlabel='chips', ylabel="share of one chip's speed, %",
            ylim=(0, 105))
  time.set_ylim(0, 1.15 * time.get_ylim()[1])
  time.legend(fontsize=7)
  for axes in (time, share):
    axes.set_xticks(x, [f'{n:,}' for n in x], rotation=45, fontsize=7)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
  figure.supxlabel(assumptions(reports), fontsize=6.5, wrap=True)
  with files.beside(path) as place:
    figure.savefig(place, dpi=150)


def _about(report):
  return (f'{report["config"]}, {report["programs"]["train"]["batch_per_chip"]} '
          f'a chip, {chips.parse(report["topology"]).name}')


def main() -> None:
  """The command."""
  cli.start()
  folders = [pathlib.Path(f) for f in cli.required(_REPORTS)]
  counts = _numbers(_CHIPS.value)
  reports = [workdirs.read_json(folder, 'report.json') for folder in folders]
  predicted = [predict(report, counts) for report in reports]
  for report, rows in zip(reports, predicted):
    print(f'\n{table(_about(report), rows)}')
  print(f'\n{assumptions(reports)}\n')
  if _OUTPUT.value:
    path = pathlib.Path(_OUTPUT.value)
    picture(reports, predicted, path)
    workdirs.write_json(path.parent, f'{path.stem}.json', {
        _about(report): rows for report, rows in zip(reports, predicted)})
    print(f'Saved {path} and {path.with_suffix(".json")}')


def _numbers(texts):
  if not texts or not all(text.strip().isdigit() for text in texts):
    raise cli.UsageError(
        f'--chips {",".join(texts)} is not a list of numbers; give it as '
        '8,64,512,4096.')
  return sorted(int(text) for text in texts)


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
