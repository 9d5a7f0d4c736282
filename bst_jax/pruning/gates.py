"""A gate for every channel, at the one place where it is handed on.

With a gate at zero the channel is gone, and the gradient of a gate says what
the channel is worth. What a hidden unit or a channel of a head hands on goes
through the parameters that read it; a head's channel takes part in the scores,
too, through the query. A channel of the stream is handed on by all that writes
it, and by the normalisations that read it.
"""
from collections.abc import Callable, Mapping
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base
from bst_jax.layers.convolution import Conv
from bst_jax.layers.linear import Dense, Embed, LayerNorm
from bst_jax.pruning import watched
from bst_jax.pruning.scores import counts_of
from bst_jax.run.experiment import Experiment
import jax
import jax.numpy as jnp

# Of whose parameters the outputs of a module are.
_KNOWN = Dense, Embed, LayerNorm, Conv
# Channels that no normalisation counts: zeros remove them exactly.
EXACT = frozenset({'heads', 'mlp', 'pool', 'fused', 'adapter'})


def ones(shapes: Any, axes: Any) -> dict[str, jax.Array]:
  """Gates that change nothing, float32[n] by full axis name.

  Args:
    shapes: of a model's parameters.
    axes: tree of tuples of their full axis names.
  """
  return {name: jnp.ones(count)
          for name, count in counts_of(shapes, axes).items()}


def gated(params: Any, axes: Any, gates: Mapping[str, jax.Array]) -> Any:
  """The parameters with every channel times its gate.

  Args:
    params: nested dict of arrays.
    axes: tree of tuples of their full axis names.
    gates: float[n] by full axis name; those of `heads@…` are of all channels
      of all heads, head by head.
  """
  if not isinstance(params, Mapping):
    return params
  return _gated((), params, axes, gates)


def _gated(path, tree, axes, gates):
  if isinstance(tree, Mapping):
    return {key: _gated((*path, key), child, axes[key], gates)
            for key, child in tree.items()}
  for dim, name in enumerate(axes):
    if name in gates and _hands_on(path, axes, dim):
      tree = tree * _along(gates[name], tree.shape, dim, base(name) == 'heads')
  return tree


def _hands_on(path, names, dim):
  """Whether a channel is handed on here: see the head of this file."""
  kind, last = base(names[dim]), len(names) - 1
  if kind == 'heads':  # Its channels are the next dimension.
    return 'query' in path or (dim == 0 and last > 1)
  if kind in EXACT:
    return dim < last and base(names[last]) != kind
  # Written by a kernel or a bias, or a gain or a shift of a normalisation; what
  # a layer scales was written by that kernel already.
  return (dim == last and 'stats' not in path
          and not path[-1].startswith('layer_scale'))


def _along(gate, shape, dim, heads):
  """Gates as an array that a parameter is multiplied by."""
  sizes = shape[dim:dim + 2] if heads else shape[dim:dim + 1]
  behind = len(shape) - dim - len(sizes)
  return gate.reshape(*sizes, *[1] * behind)


@jax.custom_vjp
def _handed_on(x, gate):
  """x, as by a gate of ones, whose gradient is that of x times gate."""
  del gate
  return x


def _handed_on_forward(x, gate):
  return x, (x, gate)


def _handed_on_backward(kept, dy):
  x, gate = kept
  return dy, (x * dy).sum(tuple(range(x.ndim - gate.ndim))).astype(gate.dtype)


_handed_on.defvjp(_handed_on_forward, _handed_on_backward)


class Calls:
  """Gates at what modules take in and hand out, as `gated` has them.

  A gate of its own for every row of a batch costs no gradient of parameters
  there. All gates are one: only their gradients mean something, and nothing is
  multiplied for them. Where a parameter is no linear layer's, convolution's or
  normalisation's it is multiplied itself, as of `gated`.
  """

  def __init__(self, exp: Experiment):
    """Of an experiment's model."""
    modules, axes = watched.modules(exp), elastic.flatten(exp.axes)
    self._read: dict[watched.Path, str] = {}
    self._written: dict[watched.Path, str] = {}
    self._others: dict[str, list[tuple[int, str]]] = {}
    for name, members in elastic.groups(exp.axes).items():
      for path, dim in members:
        place, names = tuple(path.split('/')), axes[path]
        if not _hands_on(place, names, dim):
          continue
        if modules.get(place[:-1]) not in _KNOWN:
          self._others.setdefault(path, []).append((dim, name))
        elif base(name) in EXACT and 'query' not in place:
          self._read[place[:-1]] = name
        else:  # Kernel and bias, gain and shift: once.
          self._written[place[:-1]] = name

  def run(self, apply: Callable[[Any], Any], params: Any,
          gates: Mapping[str, jax.Array]) -> Any:
    """What `apply` returns of the parameters, of a batch with these gates.

    Args:
      apply: of the model.
      params: nested dict of arrays.
      gates: ones, float[n] by full axis name.
    """
    flat = elastic.flatten(params)
    for path, places in self._others.items():
      for dim, name in places:
        flat[path] = flat[path] * _along(
            gates[name], flat[path].shape, dim, base(name) == 'heads')
    params = jax.tree.unflatten(jax.tree.structure(params), list(flat.values()))

    def through(x, name):
      if name is None:
        return x
      shape = x.shape[-2:] if base(name) == 'heads' else x.shape[-1:]
      return _handed_on(x, gates[name].reshape(shape).astype(x.dtype))

    def handler(path):
      read, written = self._read.get(path), self._written.get(path)
      return lambda run, args, options: through(
          run(through(args[0], read), *args[1:], **options), written)

    with watched.handed({path: handler(path)
                         for path in self._read | self._written}):
      return apply(params)


def paths_of(axes: Any, name: str) -> list[str]:
  """Paths of the parameters in which a channel of this name is handed on."""
  return [path for path, names in elastic.flatten(axes).items()
          for dim, one in enumerate(names)
          if one == name and _hands_on(tuple(path.split('/')), names, dim)]
