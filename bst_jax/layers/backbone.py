"""What every backbone can say of itself: its stacks, and its smaller models."""
from collections.abc import Callable, Mapping
import functools
from typing import Any

from bst_jax.elastic import Axis, check_name, Choice, Order, Sizes, Submodel
from bst_jax.elastic.choice import LAYER
from bst_jax.layers import pixels, products
from bst_jax.layers import sizes as sizes_lib
from bst_jax.layers.sampler import Ats
from bst_jax.layers.sizes import FIELDS
from flax import linen as nn


class Backbone(nn.Module, kw_only=True):
  """A model whose smaller selves are models of the same class.

  A backbone has those fields of `sizes.FIELDS` that it needs. Each is a number,
  with exceptions by path of the owner where layers differ (`elastic.Sizes`), or
  a tuple of such, one for every stage, whose stacks are named `stage_{i}`. It
  has `num_layers`, `strategy` and `strategy_seed` for its stacks; `ats`, an
  `Ats` or its arguments, and the number of tokens `slots`, if it samples tokens;
  `adapter` and `skip` if layers may be skipped, see `stack.Stack`.

  Attributes:
    products: of what the factors of products are, see `layers.products`.
  """

  products: str = 'float32'

  @nn.nowrap  # Else its name would stand before those of all modules.
  def apply(self, *args: Any, **options: Any) -> Any:
    """As of every module, with the products that this model makes."""
    with products.used(self.products):
      return super().apply(*args, **options)

  def __post_init__(self):
    for field in (*FIELDS, 'num_layers'):
      size = getattr(self, field, None)
      if isinstance(size, tuple):
        object.__setattr__(self, field, tuple(map(Sizes.of, size)))
      elif size is not None:
        object.__setattr__(self, field, Sizes.of(size))
    if hasattr(self, 'ats'):
      object.__setattr__(self, 'ats', Ats.of(self.ats))
      self.ats.check(self.stacks[self.sampled].num_layers, self.slots)
    self._check_skip()
    super().__post_init__()

  @property
  def stacks(self) -> dict[str, Order]:
    """The one layer stack."""
    return {'encoder': Order(self.num_layers, self.strategy,
                             seed=self.strategy_seed)}

  @property
  def sampled(self) -> str:
    """The stack whose layers `ats` counts."""
    return 'encoder'

  @property
  def candidates(self) -> tuple[str, ...]:
    """Paths of the layers that may be skipped, in the order of the flags."""
    return self._layers() if getattr(self, 'skip', ()) is None else ()

  def at(self, sub: Submodel) -> 'Backbone':
    """The ordinary smaller model that `sub` is; its layers sample as before."""
    return self.chosen(Choice(sub))

  def chosen(self, choice: Choice) -> 'Backbone':
    """The ordinary smaller model that a choice is.

    Channels become sizes, with exceptions where layers differ; then layers are
    left out and numbered anew; then the width narrows what is left.

    Raises:
      ValueError: it would keep a part of a unit or of a layer, or this model
        has nothing that could be chosen so.
    """
    skip = _skipped(self, choice)
    if isinstance(self.num_layers, tuple) and not choice.layers:
      sizes_lib.check_stages(self.num_layers, choice.submodel.count)
    living = choice.living(self.stacks)
    changes = self.layer_fields(living)
    for field, size in sizes_lib.kept(self._sizes(), choice.keep).items():
      size = sizes_lib.moved(size, living, skip)
      changes[field] = sizes_lib.narrowed(field, size, choice.submodel)
    if hasattr(self, 'skip'):
      changes['skip'] = None if skip is None else tuple(filter(None, (
          sizes_lib.renumbered(path, living) for path in skip)))
    if hasattr(self, 'ats'):
      # Numbers of this model, in which the layers are still all there.
      ats = self.clone(ats=self.ats.changed(choice.tokens)).ats
      changes['ats'] = ats.at(tuple(i for i, _ in living[self.sampled]))
    elif choice.tokens:
      raise ValueError('the choice is one of tokens, but this model samples '
                       'none; leave its tokens out.')
    return self.clone(**changes)

  def layer_fields(self, living: Mapping[str, tuple[tuple[int, int], ...]]
                   ) -> dict[str, Any]:
    """The fields that say how many layers are left of every stack.

    Args:
      living: see `Choice.living`.
    """
    (layers,) = living.values()
    return {'num_layers': len(layers)}

  def usual(self, shapes: Any, axes: Any) -> 'Backbone':
    """The same model, its sizes written with as few exceptions as can be.

    Args:
      shapes: of its parameters.
      axes: tree of tuples of their full axis names.
    """
    return self.clone(**sizes_lib.usual(self._sizes(), shapes, axes))

  def skips(self, stack: str, adapter: Callable[..., nn.Module], embed: Axis
            ) -> dict[str, Any]:
    """What a stack takes whose layers may be skipped.

    Args:
      stack: its path.
      adapter: makes what runs instead, from the axes of its channels and of
        its hidden units, dtype and name.
      embed: the former.
    """
    inside = None if self.skip is None else tuple(
        path.removeprefix(f'{stack}/') for path in self.skip
        if path.startswith(f'{stack}/'))
    return dict(skip=inside, adapter=functools.partial(
        adapter, embed, Axis('adapter', self.adapter), dtype=self.dtype))

  def _sizes(self):
    """The sizes that this model has, by field."""
    return {field: getattr(self, field) for field in FIELDS
            if hasattr(self, field)}

  def _layers(self):
    """Paths of all layers."""
    return tuple(f'{stack}/{LAYER}{i}' for stack, order in self.stacks.items()
                 for i in range(order.num_layers))

  def _check_skip(self):
    """Raises where layers cannot be skipped as `skip` says."""
    skip = getattr(self, 'skip', ())
    if skip == ():
      return
    if not self.adapter:
      raise ValueError(
          f'skip={skip} needs adapters that run instead of layers; set adapter '
          'of the model to their hidden units, or leave skip ().')
    sampling = getattr(self, 'ats', None)
    for path in skip or ():
      check_name(path, self._layers(), 'layer to be skipped')
      stack, _, layer = path.rpartition('/')
      if sampling and stack == self.sampled and int(
          layer.removeprefix(LAYER)) in sampling.blocks:
        raise ValueError(f'{path} is to be skipped and to sample tokens; take '
                         'it out of skip or of ats.blocks.')


class Staged(Backbone, kw_only=True):
  """A backbone of stages, whose sizes stand in tuples, one for every stage.

  It has `width`, and its stacks are named `stage_{i}`.
  """

  @property
  def stacks(self) -> dict[str, Order]:
    """The layer stack of every stage."""
    return {f'stage_{i}': Order(layers, self.strategy, seed=self.strategy_seed)
            for i, layers in enumerate(self.num_layers)}

  def layer_fields(self, living: Mapping[str, tuple[tuple[int, int], ...]]
                   ) -> dict[str, Any]:
    """The fields that say how many layers are left of every stage."""
    return {'num_layers': tuple(map(len, living.values()))}

  def check_stages(self, *fields: str) -> None:
    """Raises where a field is not of as many stages as the width; None may be.
    """
    for field in fields:
      value = getattr(self, field)
      if value is not None and len(value) != len(self.width):
        raise ValueError(
            f'{field} is of {len(value)} stages and width of '
            f'{len(self.width)}; give one number for every stage to both.')


class Fixed(Backbone, kw_only=True):
  """A network of which nothing is narrowed, and no layer left out.

  It has `image_size`.
  """

  num_layers = 1
  stacks = {}

  @property
  def sides(self) -> tuple[int, int]:
    """Height and width of the canvas."""
    return pixels.sides(self.image_size)

  def layer_fields(self, living: Mapping[str, Any]) -> dict[str, Any]:
    """None: there are no stacks."""
    return {}


def _skipped(model, choice):
  """Layers that are skipped for good; None where that is still open."""
  own = getattr(model, 'skip', ())
  if choice.skip and own is not None:
    raise ValueError(
        f'the choice skips {", ".join(choice.skip)}, but no layer of this model '
        'has an adapter that could run instead; set adapter of the model to '
        'their hidden units and skip to None, and train them.')
  for path in choice.skip or ():
    check_name(path, model.candidates, 'layer that can be skipped')
  return choice.skip if own is None else own
