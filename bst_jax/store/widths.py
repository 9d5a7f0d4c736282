"""The first size in which two models of the same parts differ, in words."""
from collections.abc import Mapping
import re


def first(there: Mapping[str, tuple[int, ...]],
          here: Mapping[str, tuple[int, ...]]) -> str:
  """`encoder/layer_3/ffn: 88 there, 128 here`; '' where no size differs.

  Args:
    there, here: shapes by path; paths of one alone are passed over.
  """
  for path in sorted(there.keys() & here.keys(), key=_in_order):
    for a, b in zip(there[path], here[path]):
      if a != b:
        # A layer of a part has the size, and its kernel shows it.
        parts = path.split('/')
        return f'{"/".join(parts[:-2] or parts)}: {a} there, {b} here'
  return ''


def _in_order(path):
  """Layers by their numbers; of a part what it puts out before what it reads."""
  return [int(part) if part.isdigit() else part
          for part in re.split(r'(\d+)', path)]
