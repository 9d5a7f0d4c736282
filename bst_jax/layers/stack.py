"""A stack of layers of which a submodel runs some. DEPTH lives here."""
from collections.abc import Callable, Mapping
import math
from typing import Any

from bst_jax.elastic import Axis, FULL, Order, Submodel
from bst_jax.layers.batch_norm import WRITTEN
from bst_jax.layers.dropout import reseed
from flax import linen as nn
import jax
import jax.numpy as jnp

# Attribute of a backbone -> the axis that it is the size of.
_AXES = {'width': 'embed', 'heads': 'heads', 'mlp': 'mlp', 'fused': 'fused'}


def narrowed(model: nn.Module, sub: Submodel,
             sampled: Order | None = None) -> nn.Module:
  """The ordinary smaller model that `sub` is of a transformer backbone.

  Args:
    model: has `num_layers` and some of the sizes `width`, `heads`, `mlp` and
      `fused`; each a number, or one for every stage.
    sub: the part to keep.
    sampled: the stack that `model.ats` samples tokens in, if it does; its
      layers sample as before.

  Raises:
    ValueError: it would keep a part of a unit or of a layer.
  """
  sizes = {field: _kept(lambda size, axis=axis: sub.units(Axis(axis, size)),
                        getattr(model, field))
           for field, axis in _AXES.items() if hasattr(model, field)}
  sizes['num_layers'] = _kept(sub.count, model.num_layers)
  if sampled is not None:
    sizes['ats'] = model.ats.at(sub.layers(sampled))
  return model.clone(**sizes)


def _kept(of, size):
  """What a submodel keeps of a size, or of that of every stage."""
  if isinstance(size, int):
    return of(size)
  # A ratio that fits every stage fits what they have in common, and back.
  common = math.gcd(*size)
  try:
    of(common)
  except ValueError as error:
    raise ValueError(f'stages of {", ".join(map(str, size))} share a divisor '
                     f'of {common}, and {error}') from None
  return tuple(map(of, size))


class Stack(nn.Module):
  """Layers `layer_0`, `layer_1`, … applied one after the other.

  Attributes:
    layer: makes a layer from its name.
    order: which layers a depth keeps.
    remat: recompute the layers' insides in the backward pass, to save memory.
    options: what `layer` takes besides, by name of the layer.
    scan: compile one layer and loop over it. A program of many layers compiles
      as fast as of one, at the price of a copy of the parameters a run; dropout
      draws other noise than without. The layers must be alike.
  """

  layer: Callable[..., nn.Module]
  order: Order
  remat: bool = False
  options: Mapping[str, Mapping[str, Any]] | None = None
  scan: bool = False

  @nn.compact
  def __call__(self, x, *args, sub: Submodel = FULL, seed=None,
               part: range | None = None):
    """Maps x through the kept layers; `args` go to each of them.

    `seed` uint32[] is that of dropout, None for evaluation; of the layers only
    those in `part` run, if it is given.
    """
    kept = [f'layer_{i}' for i in sub.layers(self.order)
            if part is None or i in part]
    if self.scan and len(kept) > 1 and not self.is_initializing():
      return self._scanned(kept, x, args, sub, seed)

    def run(layer, x, *args):
      # nn.remat rejects keyword arguments that are no arrays: close over them.
      return layer(x, *args, sub=sub, seed=seed)

    run = nn.remat(run) if self.remat else run
    for name in kept:
      x = run(self.layer(name=name, **(self.options or {}).get(name, {})), x,
              *args)
    return x

  def _scanned(self, kept, x, args, sub, seed):
    if any((self.options or {}).get(name) for name in kept):
      raise ValueError(
          'scan=True compiles one layer for all of a stack, but those of '
          f'{self.name!r} differ (sampled tokens or stochastic depth); leave '
          'it False.')
    layer = self.layer(parent=None)
    params = [self.variables['params'][name] for name in kept]
    seeds = None if seed is None else jnp.stack(
        [reseed(seed, f'{self.name}/{name}') for name in kept])

    def run(x, one):
      params, seed = one
      x, sown = layer.apply({'params': params}, x, *args, sub=sub, seed=seed,
                            mutable=[WRITTEN])
      return x, sown.get(WRITTEN, {})

    run = jax.checkpoint(run, prevent_cse=False) if self.remat else run
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    x, written = jax.lax.scan(run, x, (stacked, seeds))
    if written and self.is_mutable_collection(WRITTEN):
      for i, name in enumerate(kept):
        self.put_variable(WRITTEN, name, jax.tree.map(
            lambda v, i=i: v[i], written))
    return x
