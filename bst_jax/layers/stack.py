"""A stack of layers of which a submodel runs some. DEPTH lives here."""
from collections.abc import Callable, Mapping
from typing import Any

from bst_jax.elastic import FULL, Order, Submodel
from bst_jax.layers.batch_norm import WRITTEN
from bst_jax.layers.dropout import reseed
from flax import linen as nn
import jax
import jax.numpy as jnp


class Stack(nn.Module):
  """Layers `layer_0`, `layer_1`, … applied one after the other.

  Where layers may be skipped, `skip_layer_1` runs instead of `layer_1`.

  Attributes:
    layer: makes a layer from its name.
    order: which layers a depth keeps.
    remat: recompute the layers' insides in the backward pass, to save memory.
    options: what `layer` takes besides, by name of the layer.
    scan: compile one layer and loop over it. A program of many layers compiles
      as fast as of one, at the price of a copy of the parameters a run; dropout
      draws other noise than without. The layers must be alike.
    adapter: makes what may run instead of a layer, from its name; called as a
      layer is, without `args`. None where no layer is ever skipped.
    skip: names of the layers that are skipped; of each layer either it or its
      adapter has parameters. None: both have, and `flags` decides.
  """

  layer: Callable[..., nn.Module]
  order: Order
  remat: bool = False
  options: Mapping[str, Mapping[str, Any]] | None = None
  scan: bool = False
  adapter: Callable[..., nn.Module] | None = None
  skip: tuple[str, ...] | None = ()

  @nn.compact
  def __call__(self, x, *args, sub: Submodel = FULL, seed=None,
               part: range | None = None, flags: jax.Array | None = None):
    """Maps x through the kept layers.

    Args:
      x: what goes from layer to layer.
      *args: for each of them.
      sub: the part to run.
      seed: uint32[] of dropout, None for evaluation.
      part: of the layers only these run; all if None.
      flags: bool[num_layers], true for layers whose adapters run instead;
        where both exist. None skips none.
    """
    if flags is not None:
      self._check_flags(flags)
    kept = [f'layer_{i}' for i in sub.layers(self.order)
            if part is None or i in part]
    if self.scan and len(kept) > 1 and not self.is_initializing():
      return self._scanned(kept, x, args, sub, seed)

    def run(layer, x, *args):
      # nn.remat rejects keyword arguments that are no arrays: close over them.
      return layer(x, *args, sub=sub, seed=seed)

    run = nn.remat(run) if self.remat else run
    for name in kept:
      options = (self.options or {}).get(name, {})
      layer = lambda stack, x, name=name, options=options: run(
          stack.layer(name=name, **options), x, *args)
      adapter = lambda stack, x, name=name: run(
          stack.adapter(name=f'skip_{name}'), x)
      if self.skip is not None:
        x = (adapter if name in self.skip else layer)(self, x)
      elif self.is_initializing():
        x = adapter(self, layer(self, x))
      elif flags is None:
        x = layer(self, x)
      else:
        if options.get('stage') is not None:
          raise ValueError(
              f'{self.name}/{name} samples tokens, so that flags cannot skip '
              'it: its adapter hands on others than it does. Name the layers '
              'to skip in skip of the model.')
        x = nn.cond(flags[int(name.removeprefix('layer_'))], adapter, layer,
                    self, x)
    return x

  def _check_flags(self, flags):
    if self.skip is not None:
      raise ValueError(
          f'flags choose which layers of {self.name!r} are skipped, but that is '
          'settled; set skip of the model to None, and adapter to the hidden '
          'units of what runs instead.')
    if flags.shape != (self.order.num_layers,):
      raise ValueError(
          f'flags of shape {flags.shape} say nothing about the '
          f'{self.order.num_layers} layers of {self.name!r}; give one for each '
          'of model.candidates.')

  def _scanned(self, kept, x, args, sub, seed):
    every = self.variables.get('params', {})
    params = [every.get(name, {}) for name in kept]
    shapes = [jax.tree.map(jnp.shape, tree) for tree in params]
    if (any((self.options or {}).get(name) for name in kept) or self.skip != ()
        or any(shape != shapes[0] for shape in shapes)):
      raise ValueError(
          'scan=True compiles one layer for all of a stack, but those of '
          f'{self.name!r} differ (in their sizes, sampled tokens, stochastic '
          'depth or skipped layers); leave it False.')
    # The sizes of a layer follow from its place.
    place = (*self.path, kept[0])
    layer = _Placed(self.layer, place)
    seeds = None if seed is None else jnp.stack(
        [reseed(seed, f'{self.name}/{name}') for name in kept])

    def run(x, one):
      params, seed = one
      for name in reversed(place):
        params = {name: params}
      x, sown = layer.apply({'params': params}, x, *args, sub=sub, seed=seed,
                            mutable=[WRITTEN])
      sown = sown.get(WRITTEN, {})
      for name in place if sown else ():
        sown = sown[name]
      return x, sown

    run = jax.checkpoint(run, prevent_cse=False) if self.remat else run
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    x, written = jax.lax.scan(run, x, (stacked, seeds))
    if written and self.is_mutable_collection(WRITTEN):
      for i, name in enumerate(kept):
        self.put_variable(WRITTEN, name, jax.tree.map(
            lambda v, i=i: v[i], written))
    return x


class _Placed(nn.Module):
  """A module that stands at a path, all by itself."""

  make: Callable[..., nn.Module]
  place: tuple[str, ...]

  @nn.compact
  def __call__(self, *args, **options):
    name, *rest = self.place
    inner = self.make(name=name) if not rest else _Placed(
        self.make, tuple(rest), name=name)
    return inner(*args, **options)
