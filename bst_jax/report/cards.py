"""Cards of exported models: how to run the files, and all numbers of them."""
import json
import pathlib
import textwrap
from typing import Any

from bst_jax.data import kinds
from bst_jax.host import files
from bst_jax.report import int8, scoring


def write(card: dict[str, Any], output: pathlib.Path,
               trained: bool) -> None:
  """Writes card.json and card.md, by which others can run the files."""
  with files.beside(output / 'card.json') as place:
    place.write_text(json.dumps(card, indent=2), 'utf-8')
  accuracy = (f'The JAX model: {card["measure"]} {card["accuracy"]:.2f} on '
              f'{card["data"]}, split {card["split"]}.\n'
              if 'accuracy' in card else '')
  row, many = card['row'], card['batch']
  inputs = ('a batch of B' if many == 'any' else f'{many}') + f' {row}s'
  if row not in ('picture', 'video'):
    inputs += ' with two pictures each' if row == 'statement' else (
        ' with a picture each')
  timed = f'one {row}' if many in ('any', 1) else f'{many} {row}s'
  warning = '' if trained else (
      'RANDOM PARAMETERS: for sizes and latency only.\n\n')
  text = f"""# {card['model']}, submodel {card['submodel']}

{warning}{card['params']:,} parameters, {card['macs']:,} \
multiply-accumulates a {row}.
{accuracy}
Inputs, for {inputs}:

{_interface(card)}

Latency is the median of {timed} on one thread of ONNX Runtime, here;
difference is the greatest one from the JAX model, as a share of its greatest
logit.{_notes(card)}

```
{scoring.aligned(_lines(card))}
```
"""
  with files.beside(output / 'card.md') as place:
    place.write_text(text, 'utf-8')
  print(text)


def _lines(card):
  """Numbers of every file, and of those that are used together."""
  together = card.get('together', {}).values()
  other = any('other_captions' in one for one in together)
  lines = [('file', 'bytes', 'difference', 'latency ms', 'score %',
            *(['others %'] if other else ()))]
  rows = [*card['files'].items(),
          *((' + '.join(one['files']), one) for one in together)]
  for name, about in rows:
    show = lambda key, form, times=1, about=about: (
        form.format(times * about[key]) if key in about else '-')
    lines.append((
        name, f'{about["bytes"]:,}', show('difference', '{:.1e}'),
        show('latency_ms', '{:.2f}'), show('accuracy', '{:.2f}'),
        *([show('other_captions', '{:.1f}', 100)] if other else ())))
  return lines


def _interface(card):
  """What goes into each program, and what comes out."""
  several = card.get('programs')
  if not several:
    return _of_program(card, card)
  times = lambda n: 'once' if n == 1 else f'{n} times at most'
  parts = [f'{name}, {times(about["times"])}, {about["macs"]:,} '
           f'multiply-accumulates a {card["row"]} each time:\n\n'
           + _of_program(card, about) for name, about in several.items()]
  return '\n\n'.join([*parts, textwrap.fill(card['note'], 80)])


def _of_program(card, program):
  typed = lambda name, about: (
      f'`{name}` {about["dtype"]}[{", ".join(map(str, about["shape"]))}]')
  read = '\n'.join(
      f'- {typed(name, about)}'
      + (f': {kinds.KINDS[name].about(card)}' if name in kinds.KINDS else '')
      for name, about in program['inputs'].items())
  answers = [card['sizes'].get('num_answers')]
  said = [typed(name, about)
          + (f', in the order of the {card["told"]} in\nvocab/answers.json'
             if about['shape'][1:] == answers else '')
          for name, about in program['outputs'].items()]
  given = (f'Output: {said[0]}; {card["output"]}.' if len(said) == 1 else
           '\n'.join(['Outputs:\n', *(f'- {line}' for line in said)]))
  return f'{read}\n\n{given}'


def _notes(card):
  """What is to be known of some formats, a line each."""
  notes = []
  if any('other_captions' in one for one in card.get('together', {}).values()):
    notes.append('Of files that are used together, latency is that of all their '
                 'runs, and others are captions that differ from the JAX model\'s '
                 'in a word.')
  small, stable = (
      ' and '.join(name for name in card['files'] if name.endswith(ending))
      for ending in ('.int8.onnx', '.stablehlo'))
  if small:
    notes.append(f'{small}: {int8.ABOUT}.')
  if stable:
    was = 'were' if ' and ' in stable else 'was'
    written = f'{stable} {was} written by jax {card["jax"]} for'
    notes.append(
        f'{written} any number of {card["row"]}s. Older versions may not '
        'read it: jax 0.10 does not read what jax 0.12 wrote, but reads a file '
        f'of a fixed number of {card["row"]}s (export --batch N).'
        if card['batch'] == 'any' else
        f'{written} {card["batch"]} {card["row"]}s at a time, so that older '
        'versions read it too: jax 0.10 reads what jax 0.12 wrote.')
  return ''.join(f'\n\n{textwrap.fill(note, 80)}' for note in notes)
