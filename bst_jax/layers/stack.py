"""A stack of layers of which a submodel runs some. DEPTH lives here."""
from collections.abc import Callable, Mapping
import math
from typing import Any

from bst_jax.elastic import Axis, FULL, Order, Submodel
from flax import linen as nn

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
  """

  layer: Callable[..., nn.Module]
  order: Order
  remat: bool = False
  options: Mapping[str, Mapping[str, Any]] | None = None

  @nn.compact
  def __call__(self, x, *args, sub: Submodel = FULL, seed=None,
               part: range | None = None):
    """Maps x through the kept layers; `args` go to each of them.

    `seed` uint32[] is that of dropout, None for evaluation; of the layers only
    those in `part` run, if it is given.
    """
    def run(layer, x, *args):
      # nn.remat rejects keyword arguments that are no arrays: close over them.
      return layer(x, *args, sub=sub, seed=seed)

    run = nn.remat(run) if self.remat else run
    for i in sub.layers(self.order):
      if part is not None and i not in part:
        continue
      name = f'layer_{i}'
      x = run(self.layer(name=name, **(self.options or {}).get(name, {})), x,
              *args)
    return x
