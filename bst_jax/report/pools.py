"""flax's pools as jax2onnx converts them."""
from collections.abc import Callable, Iterator, Sequence
import contextlib
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

# What padding that is written in numbers holds.
_BORDERS = {'avg_pool': 0.0, 'max_pool': -jnp.inf}


@contextlib.contextmanager
def replaced(by: dict[str, Callable]) -> Iterator[None]:
  """Within, pools are computed by jax2onnx's functions of their names.

  These take keywords only, and convert padding that is written in numbers
  wrongly: pictures are padded before. Without them a pool becomes one over the
  batch and the channels too, which ONNX Runtime does not run.

  Args:
    by: what `functions` gave while jax2onnx's functions were in place.
  """
  before = functions()
  try:
    for name, convert in by.items():
      setattr(nn, name, _adapted(convert, _BORDERS[name]))
    yield
  finally:
    for name, value in before.items():
      setattr(nn, name, value)


def functions() -> dict[str, Callable]:
  """{name: flax's function, or what stands in its place}."""
  return {name: getattr(nn, name) for name in _BORDERS}


def _adapted(convert, border):
  def pool(inputs: jax.Array, window_shape: Sequence[int],
           strides: Sequence[int] | None = None,
           padding: str | Sequence[tuple[int, int]] = 'VALID',
           **options: Any) -> jax.Array:
    if not isinstance(padding, str):
      inputs, padding = padded(inputs, padding, border), 'VALID'
    return convert(inputs, window_shape=tuple(window_shape),
                   strides=tuple(strides or (1,) * len(window_shape)),
                   padding=padding, **options)
  return pool


def padded(x: jax.Array, padding: Sequence[tuple[int, int]],
           border: float) -> jax.Array:
  """[B, H, W, ..., c] with so many values before and behind on H, W, ….

  Made of concatenations: jax2onnx converts no `pad` of a batch of any size.
  """
  for axis, sides in enumerate(padding, 1):
    one = jnp.full_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis), border)
    low, high = ([one] * count for count in sides)
    x = jnp.concatenate([*low, x, *high], axis) if low or high else x
  return x
