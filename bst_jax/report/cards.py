"""Cards of exported models: how to run the files, and all numbers of them."""
import json
import pathlib
import textwrap
from typing import Any

from bst_jax.data import kinds
from bst_jax.host import files
from bst_jax.report import int8, scoring

NAMES = {'stablehlo': 'model.stablehlo', 'onnx': 'model.onnx',
         'int8': 'model.int8.onnx'}


def write(card: dict[str, Any], output: pathlib.Path,
               trained: bool) -> None:
  """Writes card.json and card.md, by which others can run the files."""
  with files.beside(output / 'card.json') as place:
    place.write_text(json.dumps(card, indent=2), 'utf-8')
  lines = [('file', 'bytes', 'difference', 'latency ms', 'score %')]
  for name, about in card['files'].items():
    show = lambda key, form, about=about: (
        form.format(about[key]) if key in about else '-')
    lines.append((name, f'{about["bytes"]:,}', f'{about["difference"]:.1e}',
                  show('latency_ms', '{:.2f}'), show('accuracy', '{:.2f}')))
  accuracy = (f'The JAX model: {card["measure"]} {card["accuracy"]:.2f} on '
              f'{card["data"]}, split {card["split"]}.\n'
              if 'accuracy' in card else '')
  read = '\n'.join(
      f'- `{name}` {about["dtype"]}[{", ".join(map(str, about["shape"]))}]: '
      f'{kinds.KINDS[name].about(card)}'
      for name, about in card['inputs'].items())
  answers = [card['sizes'].get('num_answers')]
  row, told, many = card['row'], card['told'], card['batch']
  said = [f'`{name}` {about["dtype"]}[{", ".join(map(str, about["shape"]))}]'
          + (f', in the order of the {told} in\nvocab/answers.json'
             if about['shape'][1:] == answers else '')
          for name, about in card['outputs'].items()]
  given = (f'Output: {said[0]}; {card["output"]}.' if len(said) == 1 else
           '\n'.join(['Outputs:\n', *(f'- {line}' for line in said)]))
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

{read}

{given}

Latency is the median of {timed} on one thread of ONNX Runtime, here;
difference is the greatest one from the JAX model, as a share of its greatest
logit.{_notes(card)}

```
{scoring.aligned(lines)}
```
"""
  with files.beside(output / 'card.md') as place:
    place.write_text(text, 'utf-8')
  print(text)


def _notes(card):
  """What is to be known of some formats, a line each."""
  notes, stable = [], NAMES['stablehlo']
  if NAMES['int8'] in card['files']:
    notes.append(f'{NAMES["int8"]}: {int8.ABOUT}.')
  if stable in card['files']:
    written = f'{stable} was written by jax {card["jax"]} for'
    notes.append(
        f'{written} any number of {card["row"]}s. Older versions may not '
        'read it: jax 0.10 does not read what jax 0.12 wrote, but reads a file '
        f'of a fixed number of {card["row"]}s (export --batch N).'
        if card['batch'] == 'any' else
        f'{written} {card["batch"]} {card["row"]}s at a time, so that older '
        'versions read it too: jax 0.10 reads what jax 0.12 wrote.')
  return ''.join(f'\n\n{textwrap.fill(note, 80)}' for note in notes)
