"""Trees of arrays and their abstract forms, as checkpoints compare them."""
from bst_jax.store import widths
import jax
import numpy as np

_SHOWN = 5  # Differing arrays that an error message names.


def sharding(leaf):
  """Sharding of an abstract leaf, or None."""
  return getattr(leaf, 'sharding', None)


def is_key(leaf) -> bool:
  """Whether a leaf, abstract or not, is an array of typed random keys."""
  return hasattr(leaf, 'dtype') and jax.dtypes.issubdtype(
      leaf.dtype, jax.dtypes.prng_key)


def raw_keys(tree):
  """The tree with the numbers behind typed random keys, abstract or not."""

  def raw(leaf):
    if not is_key(leaf):
      return leaf
    if not isinstance(leaf, jax.ShapeDtypeStruct):
      return jax.random.key_data(leaf)
    data = jax.eval_shape(jax.random.key_data, leaf)
    return jax.ShapeDtypeStruct(data.shape, data.dtype,
                                sharding=sharding(leaf))

  return jax.tree.map(raw, tree)


def typed_keys(abstract, tree):
  """The inverse of `raw_keys`, for a tree of the kinds of `abstract`."""

  def typed(like, leaf):
    return jax.random.wrap_key_data(leaf) if is_key(like) else leaf

  return jax.tree.map(typed, abstract, tree)


def placed(leaf):
  """The abstract leaf with a sharding: its own, or the first device's."""
  if not hasattr(leaf, 'dtype') or sharding(leaf):
    return leaf
  return jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype,
      sharding=jax.sharding.SingleDeviceSharding(jax.local_devices()[0]))


def like(abstract, tree):
  """The leaves of `tree` in the structure of `abstract`, boxes included."""
  return jax.tree.unflatten(jax.tree.structure(abstract), jax.tree.leaves(tree))


def name(key) -> str:
  """The text of a key of a tree's path."""
  for attribute in ('key', 'name', 'idx'):
    if hasattr(key, attribute):
      return str(getattr(key, attribute))
  return str(key)


def specs(tree) -> dict[str, tuple[tuple[int, ...], str | None]]:
  """{path: (shape, dtype)} of a tree's leaves; dtype None for plain numbers."""

  def spec(leaf):
    if not hasattr(leaf, 'dtype'):
      return (), None
    leaf = raw_keys(leaf)  # As they are stored.
    return tuple(leaf.shape), str(np.dtype(leaf.dtype))

  return {'/'.join(map(name, path)): spec(leaf)
          for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def check_same(saved, wanted, path, same_dtype=True) -> None:
  """Raises ValueError unless the two trees of arrays agree."""
  saved, wanted = specs(saved), specs(wanted)

  def text(spec):
    if spec is None:
      return 'nothing'
    shape, dtype = spec
    return f'{dtype or "number"}[{", ".join(map(str, shape))}]'

  def differs(a, b):
    if a is None or b is None or a[0] != b[0]:
      return True
    return same_dtype and None not in (a[1], b[1]) and a[1] != b[1]

  # Parameters before optimiser: the first say what is wrong, the rest follow.
  names = sorted(saved.keys() | wanted.keys(),
                 key=lambda path: (not path.startswith('params'), path))
  lines = [f'  {path.removeprefix("train/")}: saved '
           f'{text(saved.get(path))}, wanted {text(wanted.get(path))}'
           for path in names if differs(saved.get(path), wanted.get(path))]
  if lines:
    sizes = lambda tree: {name.removeprefix('train/').removeprefix('params/'):
                          spec[0] for name, spec in tree.items() if spec}
    apart = widths.first(sizes(saved), sizes(wanted))
    more = len(lines) - _SHOWN
    shown = '\n'.join(lines[:_SHOWN])
    raise ValueError(
        f'The model asked for is not the one in {path}; they differ in '
        f'{len(lines)} of {len(names)} arrays'
        + (f'. The first size that differs is of {apart}' if apart else '')
        + f':\n{shown}\n'
        + (f'  and {more} more\n' if more > 0 else '')
        + 'This workdir probably belongs to another config: use the one that '
        'its config.json records, or a new workdir.')
