"""The README.md of a folder that is written for transformers."""
from collections.abc import Mapping, Sequence
import json
import re
from typing import Any, NamedTuple

from bst_jax.interop.folders import hub

# Of a checkpoint of the hub: ORGANISATION/NAME.
_ON_HUB = re.compile(r'[\w.-]+/[\w.-]+')


class Score(NamedTuple):
  """A number that was measured.

  Attributes:
    data, split: what it was measured on.
    measure: of `bst_jax.scores`.
    name: of the number among those of the measure.
    title: what it is, with its unit.
    value: of the number.
  """

  data: str
  split: str
  measure: str
  name: str
  title: str
  value: float


def scores(results: Sequence[Mapping[str, Any]], submodel: str,
           params: int) -> list[Score]:
  """What files of results, evaluation_*.json, say of one model.

  Args:
    results: the files.
    submodel: the model's name there.
    params: its number of parameters; rows of another model are passed over.
  """
  found = []
  for result in results:
    for row in result.get('rows', ()):
      if (row.get('submodel'), row.get('params')) == (submodel, params):
        measure = row.get('measure', 'accuracy')
        found += [Score(result['data'], result['split'], measure, name,
                        result.get('title', measure), value)
                  for name, value in row.get(measure, {}).items()]
  return found


def base_model(checkpoint: str | None) -> str | None:
  """ORGANISATION/NAME where a checkpoint is one of the hub."""
  name = (checkpoint or '').removeprefix(hub.PREFIX).partition('@')[0]
  on_hub = (checkpoint or '').startswith(hub.PREFIX)
  return name if on_hub and _ON_HUB.fullmatch(name) else None


def text(name: str, auto: str, classes: int, sizes: Sequence[int],
         checkpoint: str | None, measured: Sequence[Score],
         params: int) -> str:
  """The whole README.md.

  Args:
    name: of the folder.
    auto: the class of transformers that opens it.
    classes: that it tells apart; 0 without a head.
    sizes: height and width of pictures, behind the frames of clips.
    checkpoint: that the parameters go back to; None where it is not known.
    measured: what is known of its quality.
    params: number of parameters.
  """
  clips = len(sizes) == 3
  what = 'clips of {} frames of {} x {}' if clips else 'pictures of {} x {}'
  task = 'video-classification' if clips else 'image-classification'
  if not classes:
    task = 'feature-extraction' if clips else 'image-feature-extraction'
  base = base_model(checkpoint)
  lines = [
      '---', '# license: say here under which terms the weights may be used',
      'library_name: transformers',
      f'pipeline_tag: {task}']
  if base:
    lines.append(f'base_model: {base}')
  lines += [*_metrics(name, task, measured), '---', '', f'# {name}', '']
  lines += [
      f'A model of {params:,} parameters '
      + (f'that tells {classes:,} classes apart, ' if classes else
         'without a head, ')
      + f'for {what.format(*sizes)} pixels. Written by bst_jax.', '']
  if checkpoint:
    lines += [f'Its weights go back to `{base or checkpoint}`.', '']
  lines += [
      '```python', f'from transformers import AutoImageProcessor, {auto}', '',
      "processor = AutoImageProcessor.from_pretrained('FOLDER')",
      f"model = {auto}.from_pretrained('FOLDER')",
      f"inputs = processor({'frames' if clips else 'picture'}, "
      "return_tensors='pt')",
      'outputs = model(**inputs)', '```', '']
  if measured:
    lines += ['| data | split | number | value |', '|---|---|---|---|']
    lines += [f'| {s.data} | {s.split} | {s.title}, {s.name} | {s.value:.2f} |'
              for s in measured]
    lines.append('')
  return '\n'.join(lines)


def _metrics(name, task, measured):
  """Lines of the front matter about what was measured."""
  if not measured:
    return []
  lines = ['metrics:', *(
      f'- {measure}' for measure in sorted({s.measure for s in measured})),
           'model-index:', f'- name: {json.dumps(name)}', '  results:']
  for place in dict.fromkeys((s.data, s.split) for s in measured):
    data, split = map(json.dumps, place)
    lines += ['  - task:', f'      type: {task}', '    dataset:',
              f'      type: {data}', f'      name: {data}',
              f'      split: {split}', '    metrics:']
    for s in measured:
      if (s.data, s.split) == place:
        lines += [f'    - type: {s.measure}',
                  f'      name: {json.dumps(f"{s.title}, {s.name}")}',
                  f'      value: {s.value:.4f}']
  return lines
