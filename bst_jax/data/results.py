"""Files of answers, as the evaluation servers of VQA and GQA take them."""
from collections.abc import Mapping
import contextlib
import json
import os
import pathlib
import re
from typing import Any

from bst_jax.data.builders import asked
from bst_jax.elastic import check_name
from bst_jax.host import files

_NUMBER = re.compile('0|-?[1-9][0-9]{0,17}')  # as JSON would write it
# Names of a row's id and answer.
FORMS = {'vqa': ('question_id', 'answer'), 'gqa': ('questionId', 'prediction')}
_FORM = ('It must be a JSON list of {"question_id": …, "answer": …} or of '
         '{"questionId": …, "prediction": …}.')


def name(split: str, submodel: str, hidden: int, layers: int) -> str:
  """The file of a submodel.

  Args:
    split: whose questions were answered.
    submodel: its ratios in path form, as w1-2_d1-3.
    hidden: its width in channels.
    layers: of each of its stacks. These two tell which model it is where the
      ratios do not: cut out, it is the whole of a smaller one.

  Reference: BST's documentation names such files by the ratios, its code by
    hidden size and number of layers.
  """
  return f'results_{split}_{submodel}_hidden{hidden}_layers{layers}.json'


def write(path: str | os.PathLike, form: str,
          predictions: Mapping[str, str]) -> None:
  """Writes {question id: answer}, whole or not at all.

  Args:
    path: of the file; `name` gives one for each submodel.
    form: 'vqa', where ids that look as a number is written are numbers, or
      'gqa'.
    predictions: question id -> answer.
  """
  check_name(form, FORMS, 'form of results')
  key, value = FORMS[form]
  # '0123' stays text: it is another question than 123.
  number = lambda i: int(i) if _NUMBER.fullmatch(i) else i
  rows = [{key: number(str(i)) if form == 'vqa' else str(i), value: a}
          for i, a in predictions.items()]
  with files.beside(path) as place:
    place.write_text(json.dumps(rows, ensure_ascii=False), 'utf-8')


def read(path: str | os.PathLike) -> dict[str, str]:
  """{question id: answer} of a file in either form.

  Raises:
    ValueError: the file is not of that form, or has a question twice.
  """
  path = pathlib.Path(path)
  try:
    rows = json.loads(path.read_text('utf-8-sig'))
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(
        f'{path} was to be read as results, but row 0 is missing or damaged: '
        f'{error}. {_FORM}') from error
  found = {}
  for i, row in enumerate(rows if isinstance(rows, list) else [rows]):
    question, answer = _row(row)
    if question is None or not isinstance(answer, str):
      raise ValueError(
          f'{path} was to be read as results, but row {i} is '
          f'{repr(row)[:200]}. {_FORM}')
    if question in found:
      raise ValueError(f'{path} was to be read as results, but question '
                       f'{question} is in it twice. Write the file anew.')
    found[question] = answer
  return found


def _row(row: Any) -> tuple[str | None, Any]:
  for key, value in FORMS.values():
    if isinstance(row, dict) and key in row:
      with contextlib.suppress(ValueError):
        return asked.identity(row[key]), row.get(value)
  return None, None
