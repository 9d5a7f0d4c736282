"""The first size in which two models of the same parts differ, in words."""
from collections.abc import Mapping

from bst_jax.elastic import in_order


def first(there: Mapping[str, tuple[int, ...]],
          here: Mapping[str, tuple[int, ...]]) -> str:
  """`encoder/layer_3/ffn: 88 there, 128 here`; '' where no size differs.

  Args:
    there, here: shapes by path; paths of one alone are passed over.
  """
  # Of a part what it puts out comes before what it reads.
  for path in sorted(there.keys() & here.keys(), key=in_order):
    for a, b in zip(there[path], here[path]):
      if a != b:
        # A layer of a part has the size, and its kernel shows it.
        parts = path.split('/')
        return f'{"/".join(parts[:-2] or parts)}: {a} there, {b} here'
  return ''
