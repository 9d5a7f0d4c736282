"""Products of bfloat16 operands whose sums are float32.

What goes in and comes out is float32, and so are parameters, norms, softmax and
losses: only the factors are rounded, in the backward pass too. Matrix units
make such products at twice the rate of float32 and more.
"""
from collections.abc import Iterator
import contextlib
import contextvars
import functools
from typing import Any

from bst_jax.layers import platforms
import jax
import jax.numpy as jnp

# Of the operands of float32 products.
NAMES = ('float32', 'bfloat16')
_OPERANDS = contextvars.ContextVar('operands', default='float32')


@contextlib.contextmanager
def used(name: str) -> Iterator[None]:
  """Programs that are traced within round factors to `name`, of `NAMES`.

  Not those that are to run anywhere (`platforms.portable`).
  """
  token = _OPERANDS.set(name)
  try:
    yield
  finally:
    _OPERANDS.reset(token)


def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """float[..., d] times [d, f] -> float[..., f]."""
  if not _narrow(x, kernel):
    return x @ kernel
  lead = 'abcen'[:x.ndim - 1]
  return _product(f'{lead}d,df->{lead}f', x, kernel)


def einsum(form: str, x: jax.Array, y: jax.Array,
           preferred_element_type: Any = None) -> jax.Array:
  """jnp.einsum of two operands, each index in two of the three places."""
  if not _narrow(x, y):
    return jnp.einsum(form, x, y, preferred_element_type=preferred_element_type)
  return _product(form, x, y)


def _narrow(*operands):
  """Whether a product of theirs is rounded: asked for, and float32."""
  return (_OPERANDS.get() != 'float32' and platforms.traced_for() != 'any'
          and all(x.dtype == jnp.float32 for x in operands))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(form, x, y):
  return _forward(form, x, y)[0]


def _forward(form, x, y):
  x, y = x.astype(jnp.bfloat16), y.astype(jnp.bfloat16)
  return _sums(form, x, y), (x, y)


def _backward(form, kept, grads):
  # jax's own rule would round what it returns, and keep factors in float32.
  x, y = kept
  ins, out = form.split('->')
  first, second = ins.split(',')
  grads = grads.astype(jnp.bfloat16)
  return (_sums(f'{out},{second}->{first}', grads, y),
          _sums(f'{first},{out}->{second}', x, grads))


_product.defvjp(_forward, _backward)


def _sums(form, x, y):
  return jnp.einsum(form, x, y, preferred_element_type=jnp.float32)
