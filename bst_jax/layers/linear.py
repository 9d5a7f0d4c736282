"""Leaves that read a prefix of what they store. WIDTH lives here."""
from collections.abc import Callable
import functools
from typing import Any

from bst_jax.elastic import Axis, FULL, Submodel
from bst_jax.layers import platforms, products
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# What published transformers of pictures and videos begin with.
TRUNCATED = dict(kernel_init=nn.initializers.truncated_normal(0.02),
                 bias_init=nn.initializers.zeros)


def named(init: Callable, *axes: Axis) -> Callable:
  """Initialiser of a parameter whose axes carry their full names."""
  names, sizes = tuple(a.full for a in axes), tuple(a.size for a in axes)
  boxed = nn.with_logical_partitioning(init, names)
  return lambda key: boxed(key, sizes, jnp.float32)


def wide(x: jax.Array) -> jax.Array:
  """x in float32 at least: as it is where that is wider."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def uniform(fan_in: int) -> Callable:
  """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), torch's default for linear layers."""
  bound = fan_in ** -0.5
  return lambda key, shape, dtype: jax.random.uniform(
      key, shape, dtype, -bound, bound)


class Dense(nn.Module):
  """y = x W + b, with W stored at full width and read by prefix.

  Attributes:
    inp: input axes; their names decide whether a submodel narrows them.
    out: output axes, likewise.
    kernel_init: initialiser of W; torch's default where None.
    bias_init: initialiser of b; torch's default where None.
    use_bias: whether there is a b.
  """

  inp: tuple[Axis, ...]
  out: tuple[Axis, ...]
  kernel_init: Callable | None = None
  bias_init: Callable | None = None
  dtype: Any = jnp.float32
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """Maps float[..., *inp] to float[..., *out]."""
    default = uniform(int(np.prod([a.size for a in self.inp])))
    kernel = self.param('kernel', named(
        self.kernel_init or default, *self.inp, *self.out))
    bias = self.param('bias', named(
        self.bias_init or default, *self.out)) if self.use_bias else None

    inp = tuple(sub.units(a) for a in self.inp)
    out = tuple(sub.units(a) for a in self.out)
    kernel = _prefix(kernel, inp + out)
    if bias is not None:
      bias = _prefix(bias, out)
    x, kernel, bias = nn.dtypes.promote_dtype(
        x, kernel, bias, dtype=self.dtype)
    return product(x, kernel, bias, inp, out)


def _prefix(x, sizes):
  """The first entries of each axis; x itself where that is all of it.

  Libraries that quantise look for a product with a parameter as it is.
  """
  return x if x.shape == sizes else x[tuple(map(slice, sizes))]


def product(x: jax.Array, kernel: jax.Array, bias: jax.Array | None,
            inp: tuple[int, ...], out: tuple[int, ...]) -> jax.Array:
  """float[..., *inp] times [*inp, *out], plus [*out] -> float[..., *out]."""
  lead = x.shape[:x.ndim - len(inp)]
  # On TPUs the rows of an example are padded to whole tiles, so that rows of
  # all examples one below the other are a copy, of the noise of dropout too.
  # Elsewhere they are free, and one plain matrix product is fastest.
  rows = lead if platforms.traced_for() == 'tpu' else (-1,)
  if kernel.ndim > 2:
    kernel = kernel.reshape(np.prod(inp), -1)
  y = products.matmul(x.reshape(*rows, np.prod(inp)), kernel)
  if bias is not None:
    y += bias.reshape(-1)
  return y.reshape(lead + out)


class Embed(nn.Module):
  """Rows of a table. Its axes are never narrowed unless their names say so."""

  rows: Axis
  out: Axis
  init: Callable = nn.initializers.normal(1.0)

  @nn.compact
  def __call__(self, ids: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """Maps int32[...] to float[..., d]."""
    table = self.param('table', named(self.init, self.rows, self.out))
    return rows(_prefix(table, (table.shape[0], sub.units(self.out))), ids)


def rows(table: jax.Array, ids: jax.Array) -> jax.Array:
  """Rows int32[...] of float[V, d] -> float[..., d]."""
  return jnp.take(table, ids, axis=0)


def by_rows(x: jax.Array, table: jax.Array) -> jax.Array:
  """float[B, K, d] times every row of float[V, d] -> float[B, K, V]."""
  # Of one row on a CPU the product with table.T takes twenty times as long.
  return products.einsum('bkd,vd->bkv', x, table)


FORMS = ('standard', 'unbiased_std')


class LayerNorm(nn.Module):
  """Layer normalisation over the vector that the submodel keeps.

  Attributes:
    inp: the normalised axis.
    form: `standard` divides by sqrt(variance + eps); `unbiased_std` divides by
      the unbiased standard deviation + eps, as MCAN does.
    eps: its size follows the form.
  """

  inp: Axis
  form: str = 'standard'
  eps: float = 1e-6

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """Normalises float[..., d]; statistics are at least float32."""
    d = sub.units(self.inp)
    scale = self.param('scale', named(nn.initializers.ones, self.inp))[:d]
    bias = self.param('bias', named(nn.initializers.zeros, self.inp))[:d]
    return layer_norm(x, scale, bias, form=self.form, eps=self.eps)


def lean(run: Callable) -> Callable:
  """`run`, whose backward pass keeps what went in, and makes the rest again.

  Args:
    run: of an array, and of what else it needs. On CPUs it is left as it is
      where the array is of float32: there is nothing to save, and what runs
      twice is compiled twice.
  """
  def lean_run(x, *args):
    as_it_is = platforms.traced_for() == 'cpu' and wide(x).dtype == x.dtype
    return (run if as_it_is else jax.checkpoint(run))(x, *args)
  return lean_run


def _layer_norm(x, scale, bias, *, form, eps):
  # What is kept is x as it is, and none of what is float32.
  return lean(functools.partial(_normalised, form=form, eps=eps))(
      x, scale, bias)


def _normalised(x, scale, bias, form, eps):
  y = wide(x)
  y -= y.mean(-1, keepdims=True)
  if form == 'standard':
    y *= jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + eps)
  else:
    variance = jnp.square(y).sum(-1, keepdims=True) / (y.shape[-1] - 1)
    # A constant row, as padding is, has no slope at sqrt(0): keep it away.
    flat = variance == 0
    std = jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, variance)))
    y /= std + eps
  return (y * scale + bias).astype(x.dtype)


# A call of its own in the traced program, by which `costs` knows it.
layer_norm = jax.jit(_layer_norm, static_argnames=('form', 'eps'))
