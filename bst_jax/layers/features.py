"""What a network's head reads, handed out to who learns from it.

Models sow it into a collection of its own, which costs nothing unless that
collection is mutable.
"""
from collections.abc import Mapping
from typing import Any

from flax import linen as nn
import jax

SOWN, _NAME = 'features', 'features'


def sow(owner: nn.Module, x: jax.Array) -> None:
  """Hands out the features float[B, d] that a model's head reads."""
  if not owner.is_initializing():
    owner.sow(SOWN, _NAME, x, reduce_fn=lambda _, new: new,
              init_fn=lambda: None)


def of(sown: Mapping[str, Any]) -> jax.Array | None:
  """What a model handed out, of the collections that it sowed; None if nothing.
  """
  return sown.get(SOWN, {}).get(_NAME)


def axis(axes: Any) -> str | None:
  """The full axis name of a model's features; None if it has no such head.

  Args:
    axes: tree of tuples of full axis names of its parameters.
  """
  names = axes.get('head', {})
  names = names.get('fc1', names).get('kernel')  # Some heads have two layers.
  return names[-2] if names else None
