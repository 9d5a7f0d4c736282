"""One line for every report of `bst_jax.compile`, side by side."""
from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from absl import flags
from bst_jax.host import cli
from bst_jax.store import workdir as workdirs

_FOLDER = flags.DEFINE_string(
    'folder', None, 'All reports in it and below are told.',
    allow_override=True)
_PROGRAM = flags.DEFINE_enum('program', 'train', ['train', 'evaluate'],
                             'Which program of theirs.', allow_override=True)

DESCRIPTION = """Prints the reports of bst_jax.compile in a folder as one table
in Markdown, a line each: memory, operations, what is reduced over devices, time
and utilisation."""
EXAMPLES = """python -m bst_jax.ahead.summary --folder reports
python -m bst_jax.ahead.summary --folder reports --program evaluate"""

_HEAD = ('config', 'slice', 'batch of a chip', 'HBM', 'TFLOPs',
         'analytic / compiled', 'gradients reduced', 'collectives',
         'bound', 'roofline, ms', 'utilisation', "compiler's cycles, ms",
         'utilisation')
_GIB = 2 ** 30


def table(reports: Sequence[Mapping[str, Any]], program: str) -> str:
  """A Markdown table of one program of every report that has it.

  What no report tells has no column.
  """
  lines = [_line(report, report['programs'][program]) for report in reports
           if program in report['programs']]
  told = [i for i in range(len(_HEAD)) if any(line[i] for line in lines)]
  return '\n'.join(f'| {" | ".join(line[i] for i in told)} |' for line in (
      _HEAD, ('---',) * len(_HEAD), *lines))


def _line(report, program):
  first = (report['config'], report['topology'],
           f'{program["batch_per_chip"]:,}')
  if 'time' not in program:
    return (*first, 'does not fit', *[''] * (len(_HEAD) - 4))
  flops, time = program['flops'], program['time']
  reduced = program['gradients_reduced']
  share = lambda name: (f'{time["utilisation"][name]:.1%}'
                        if name in time['utilisation'] else '')
  return (
      *first,
      f'{program["memory"]["total"] / _GIB:.2f} of '
      f'{program["hbm"] / _GIB:.0f} GiB{"" if program["fits"] else ": too much"}',
      f'{flops["products"] / 1e12:.3g}', f'{flops["ratio"]:.3f}',
      '' if reduced is None else f'{reduced:.3f}',
      f'{sum(one["count"] for one in program["collectives"]):g}',
      time['bound'], f'{1e3 * time["roofline"]:.2f}', share('roofline'),
      f'{1e3 * time["compiler"]:.2f}' if 'compiler' in time else '',
      share('compiler'))


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
  """Reports below a folder, by config and number of chips."""
  reports = [workdirs.read_json(path.parent, path.name)
           for path in sorted(folder.rglob('report.json'))]
  if not reports:
    raise ValueError(f'{folder} and its folders hold no report.json; '
                     'bst_jax.compile --output writes them.')
  return sorted(reports, key=lambda r: (r['config'], r['chips'], r['topology']))


def main() -> None:
  """The command."""
  cli.start()
  print(table(read(pathlib.Path(cli.required(_FOLDER))), _PROGRAM.value))


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
