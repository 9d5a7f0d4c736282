"""Meshes, and shardings of parameters from the names of their axes."""
from collections.abc import Callable, Mapping, Sequence
import math
from typing import Any

from bst_jax import elastic
from flax import linen as nn
import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
import numpy as np

REPLICATED = tuple((name, None) for name in elastic.AXES)
# An elastic axis may be gathered, never split for good: a prefix of it would
# leave devices idle.
FSDP = tuple((name, 'fsdp' if name in ('embed', 'pool', 'word') else None)
             for name in elastic.AXES)
RULES = {'replicated': REPLICATED, 'fsdp': FSDP}
# A table of one's own that has no rule for the first has one for the second,
# which was the name of both.
_ONCE = {'query_dim': 'head_dim', 'pool': 'embed'}


def make_mesh(axes: Mapping[str, int],
              devices: Sequence[jax.Device] | None = None) -> Mesh:
  """Mesh of the given {name: size}; -1 takes the devices left over.

  Args:
    axes: sizes by name.
    devices: instead of all that are here, as those of a slice that is not.
  """
  count = jax.device_count() if devices is None else len(devices)
  fixed = math.prod(n for n in axes.values() if n > 0)
  rest, left = divmod(count, fixed)
  sizes = tuple(n if n > 0 else rest for n in axes.values())
  possible = all(n > 0 or n == -1 for n in axes.values())
  if left or not possible or math.prod(sizes) != count:
    raise ValueError(
        f'mesh {dict(axes)} does not cover the {count} devices '
        f'{"here" if devices is None else "of the slice"}; sizes must multiply '
        'to that number. One of them may be -1: it takes what is left over.')
  # Auto: linen code states shardings at the edges and lets XLA fill the rest.
  return jax.make_mesh(sizes, tuple(axes),
                       axis_types=(AxisType.Auto,) * len(axes),
                       devices=devices)


def shardings(abstract: Any, mesh: Mesh,
              rules: str | Sequence[tuple[str, str | None]]) -> Any:
  """NamedShardings for a tree whose parameters carry logical axis names."""
  if isinstance(rules, str):
    elastic.check_name(rules, RULES, 'sharding rule table')
    rules = RULES[rules]
  is_spec = lambda s: isinstance(s, PartitionSpec)
  # Whose axis it is says nothing about where it lies.
  specs = jax.tree.map(
      lambda spec: PartitionSpec(*(n and elastic.base(n) for n in spec)),
      nn.get_partition_spec(abstract), is_leaf=is_spec)
  used = {n for spec in jax.tree.leaves(specs, is_leaf=is_spec) for n in spec}
  rules = dict(rules)
  for name, once in _ONCE.items():
    if once in rules:
      rules.setdefault(name, rules[once])
  unruled = used - {None} - rules.keys()
  if unruled:  # Flax would replicate these without a word.
    raise ValueError(
        f'no sharding rule for the axis names {sorted(unruled)}; rules exist '
        f'for {sorted(rules)}. Add the names to elastic.AXES.')

  def place(leaf, spec):
    # Replicates what the mesh does not divide. Flax's own translation refuses
    # a name that a parameter carries twice, as a square kernel does.
    entries, free = [], set(mesh.axis_names)
    for size, name in zip(leaf.shape, spec):
      to = rules.get(name)
      to = (to,) if isinstance(to, str) else tuple(to or ())
      split = free.issuperset(to) and size % math.prod(
          mesh.shape[axis] for axis in to) == 0
      free -= set(to) if split else set()
      entries.append((to[0] if len(to) == 1 else to) if split and to else None)
    return NamedSharding(mesh, PartitionSpec(*entries))

  return jax.tree.map(place, nn.unbox(abstract), specs)


def on_own_rows(fun: Callable, mean: bool = False) -> Callable:
  """(whole, key, rows) -> (sums over the devices, what is alike on all of them).

  On the mesh that `jax.set_mesh` set; without one, `fun` itself. Left to the
  compiler, every gradient would be reduced where it is made, once a submodel.

  Args:
    fun: (whole, key, rows) -> (arrays to sum, arrays that are the same on every
      device), trees of them; runs on every device with all of `whole` and with
      its own part of the leading axes of `rows`.
    mean: the mean over the devices instead of the sum.
  """
  mesh = jax.sharding.get_abstract_mesh()
  axes = tuple(mesh.axis_names)
  if not axes:
    return fun
  reduce = jax.lax.pmean if mean else jax.lax.psum
  everywhere = PartitionSpec()

  def run(*args):
    own, alike = fun(*args)
    return reduce(own, axes), alike

  return jax.shard_map(
      run,
      in_specs=(everywhere, everywhere, PartitionSpec(axes)),
      out_specs=everywhere,
      # It would reduce each gradient on its own, as the compiler does.
      check_vma=False)


def pictures(batch: Mapping[str, Any]) -> int:
  """Pictures, or examples without one, of a host's batch on all hosts."""
  return min(x.shape[0] for x in batch.values()) * jax.process_count()


def check_batch(batch: Mapping[str, Any], mesh: Mesh) -> None:
  """Raises where a batch of this host does not split over its devices."""
  local = mesh.devices.size // jax.process_count()
  bad = {k: v.shape[0] for k, v in batch.items() if v.shape[0] % local}
  if bad:
    raise ValueError(
        f'leading sizes {bad} of the batch do not split over the {local} '
        f'devices of this host; choose data.batch (data.eval_batch where it '
        f'is set) and data.questions_per_picture so that both questions and '
        f'pictures are multiples of {local}.')


def place(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """Global arrays, split over all mesh axes, from this host's rows."""
  check_batch(batch, mesh)
  where = NamedSharding(mesh, PartitionSpec(tuple(mesh.axis_names)))
  return {k: jax.make_array_from_process_local_data(where, np.asarray(v))
          for k, v in batch.items()}
