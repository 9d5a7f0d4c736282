"""What `bst_jax.compile` tells: tables, and a picture."""
from collections.abc import Mapping
import pathlib
from typing import Any

from bst_jax.ahead import chips, roofline
from bst_jax.host import files
from bst_jax.report import scoring

_GIB, _MIB = 2 ** 30, 2 ** 20
_TITLES = {'train': 'training step', 'evaluate': 'evaluation, full submodel'}
_TIMES = {
    'roofline': 'if all three overlap', 'serial': 'if none does',
    'compiler': "by the compiler's cycles, and the links"}


def table(result: Mapping[str, Any]) -> str:
  """All of a report as text."""
  parts = [_title(result)]
  for what, program in result['programs'].items():
    parts.append(f'{_TITLES[what]}, {program["batch_per_chip"]} a chip: '
                 f'{_verdict(program)}')
    parts.append(scoring.aligned(_memory(program)))
    if 'time' in program:
      parts.append(scoring.aligned(_work(program)))
      parts.append(scoring.aligned(_time(program['time'])))
      parts.append(_collectives(program))
  if 'largest_batch' in result:
    parts.append(_largest(result['largest_batch']))
  parts.append('\n'.join(f'warning: {line}' for line in result['warnings']))
  return '\n\n'.join(filter(None, parts))


def _title(result):
  part = chips.parse(result['topology'])
  mesh = ', '.join(f'{name} {n}' for name, n in result['mesh'].items())
  one = ('chip' if part.chip.devices == 1 else
         f'device, of which a chip is {part.chip.devices},')
  return (f'{result["config"]}: {result["model"]}, {result["parameters"]:,} '
          f'parameters, method {result["method"]}, rules {result["rules"]}\n'
          f'{result["topology"]}: {part.chips} chips, mesh {mesh}; all numbers '
          f'are of one {one} and one step{_how(result)}')


def _how(result):
  """How a program is computed and was compiled, where that is not usual."""
  compute, level = result.get('compute', {}), result.get('optimization_level')
  said = [f'activations {compute["dtype"]}'] if 'dtype' in compute else []
  said += [name for name in ('remat', 'scan') if compute.get(name)]
  if level not in (None, 'UNKNOWN'):
    said.append(f'compiled at {level}')
  return f'\n{", ".join(said)}' if said else ''


def _verdict(program):
  there = f'{program["hbm"] / _GIB:.2f} GiB'
  if program['fits']:
    total = program['memory']['total'] / _GIB
    return f'fits, {total:.2f} GiB of {there}'
  if 'time' in program:
    return (f'does not fit: {program["memory"]["total"] / _GIB:.2f} GiB of '
            f'{there}')
  needed = program.get('needed')
  return ('does not fit' + (f': {needed / _GIB:.2f} GiB of {there}'
                            if needed else f' in {there}')
          + '; a smaller --batch_per_chip or more config.micro_batches may')


def _memory(program):
  rows = [('memory', 'MiB', 'of HBM')]
  rows += [(name, f'{size / _MIB:,.1f}', f'{size / program["hbm"]:.1%}')
           for name, size in program['memory'].items()]
  return rows


def _work(program):
  flops, moved = program['flops'], program['bytes']
  return [
      ('work', ''),
      ('FLOPs of products, analytic', _si(flops['analytic'])),
      ('FLOPs of products, compiled', _si(flops['products'])),
      ('  analytic / compiled', f'{flops["ratio"]:.3f}'),
      ('FLOPs of other arithmetic, compiled', _si(flops['elementwise'])),
      ('FLOPs as XLA reports them *', _si(flops['xla_raw'])),
      ('bytes to and from HBM, compiled', _si(moved['hbm'])),
      ('bytes as XLA reports them *', _si(moved['xla_raw']))]


def _si(x):
  """A number with three digits and a prefix of SI; '' of None."""
  if x is None:
    return ''
  for power, prefix in ((15, 'P'), (12, 'T'), (9, 'G'), (6, 'M'), (3, 'k')):
    if x >= 10 ** power:
      return f'{x / 10 ** power:.4g} {prefix}'
  return f'{x:.4g}'


def _time(time):
  rows = [('time', 'ms', 'of peak')]
  rows += [(f'{name} alone', f'{1e3 * time["seconds"][name]:.3f}', '')
           for name in roofline.BOUNDS]
  for name, text in _TIMES.items():
    if name in time:
      rows.append((f'step {text}', f'{1e3 * time[name]:.3f}',
                   f'{time["utilisation"][name]:.1%}'))
  rows.append((f'bound by {time["bound"]}', '', ''))
  return rows


def _collectives(program):
  if not program['collectives']:
    return 'no collectives'
  rows = [('collective', 'devices', 'count', 'MB', 'places')]
  rows += [(one['kind'], str(one['group']), f'{one["count"]:.2f}',
            f'{one["bytes"] / 1e6:,.3f}', str(one['in_program']))
           for one in program['collectives']]
  text = scoring.aligned(rows)
  if program['gradients_reduced'] is not None:
    text += (f'\nreduced over devices: {program["gradients_reduced"]:.3f} times '
             f'the {program["gradient_bytes"] / 1e6:,.1f} MB of all gradients')
  text += ('\n* loops once, and of a conditional the largest branch; elsewhere '
           'loops count as they run, and branches at their mean')
  if program['unknown_loops']:
    text += f'\n{program["unknown_loops"]} loops of unknown length count once'
  return text


def _largest(batch):
  if not batch['fits']:
    return f'largest batch: not even {batch["fails"]} a chip fits'
  return (f'largest batch: {batch["fits"]} a chip fits, {batch["fails"]} does '
          'not')


def picture(result: Mapping[str, Any], path: pathlib.Path) -> None:
  """Draws memory against the chip's, and the times that bound the programs."""
  from matplotlib.figure import Figure  # Slow, and only pictures need it.

  programs = result['programs']
  figure = Figure(figsize=(10, 1.6 + 1.1 * len(programs)),
                  layout='constrained')
  memory, time = figure.subplots(1, 2)
  _draw_memory(memory, programs)
  _draw_time(time, {k: p for k, p in programs.items() if 'time' in p})
  figure.suptitle(_title(result), fontsize=8)
  with files.beside(path) as place:
    figure.savefig(place, dpi=150)


def _draw_memory(axes, programs: Mapping[str, Any]):
  names = list(dict.fromkeys(
      name for p in programs.values() for name in p['memory']
      if name != 'total'))
  left = [0.0] * len(programs)
  for i, name in enumerate(names):
    sizes = [p['memory'].get(name, 0) / _GIB for p in programs.values()]
    axes.barh(list(programs), sizes, left=left, color=f'C{i}', label=name)
    left = [a + b for a, b in zip(left, sizes)]
  there = max(p['hbm'] for p in programs.values()) / _GIB
  axes.axvline(there, color='k', ls='--', lw=1)
  axes.annotate('HBM', (there, 1), (-3, -10), ha='right', fontsize=7,
                xycoords=('data', 'axes fraction'), textcoords='offset points')
  axes.set(xlabel='memory of a chip, GiB')
  _tidy(axes)


def _draw_time(axes, programs: Mapping[str, Any]):
  bars = {f'{name} alone': [p['time']['seconds'][name]
                            for p in programs.values()]
          for name in roofline.BOUNDS}
  for name, text in _TIMES.items():
    bars[f'step {text}'] = [p['time'].get(name, 0) for p in programs.values()]
  height = 0.8 / len(bars)
  for i, (name, seconds) in enumerate(bars.items()):
    places = [n + 0.4 - (i + 0.5) * height for n in range(len(programs))]
    axes.barh(places, [1e3 * s for s in seconds], height, color=f'C{i}',
              label=name)
  axes.set(xlabel='time of a step, ms', yticks=range(len(programs)),
           yticklabels=list(programs))
  _tidy(axes)


def _tidy(axes):
  axes.grid(alpha=0.3, axis='x')
  axes.tick_params(labelsize=8)
  axes.legend(fontsize=6, loc='center left', bbox_to_anchor=(1, 0.5))
