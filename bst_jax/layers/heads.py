"""Heads: from one vector a picture and text to what a task reads."""
from collections.abc import Callable, Mapping
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Submodel
from bst_jax.layers import features, linear
from bst_jax.layers.activations import gelu
from bst_jax.layers.extra import NORMAL
from bst_jax.layers.linear import Dense, LayerNorm, named, TRUNCATED, wide
from flax import linen as nn
import jax
import jax.numpy as jnp

# Outputs that a model of texts and pictures may have.
OUTPUTS = ('answers', 'pair', 'match', 'words')


class NormedHead(nn.Module):
  """Two linear layers, with a normalisation and a GELU between them.

  Attributes:
    inp: axes of what comes in.

  Reference: Kim et al., ViLT, ICML 2021, whose heads METER's are too.
  """

  inp: tuple[Axis, ...]
  hidden: Axis
  out: Axis
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """Maps float[B, *inp] to float[B, out]."""
    part = dict(kernel_init=NORMAL, bias_init=nn.initializers.zeros,
                dtype=self.dtype)
    x = Dense(self.inp, (self.hidden,), **part, name='fc1')(x, sub=sub)
    x = gelu(LayerNorm(self.hidden, eps=1e-5, name='norm')(x, sub=sub))
    return Dense((self.hidden,), (self.out,), **part, name='fc2')(x, sub=sub)


def classes(owner: nn.Module, x: jax.Array, inp: Axis, *,
            sub: Submodel = FULL) -> dict[str, jax.Array]:
  """What a model of pictures or videos says; call it in its compact method.

  Args:
    owner: the model, which has `num_answers` classes and a `dtype`.
    x: float[B, d], which is handed out as its features.
    inp: axis of d.
    sub: the part to run.

  Returns:
    classes float[B, A], logits.
  """
  features.sow(owner, x)
  logits = Dense((inp,), (Axis('answers', owner.num_answers),), **TRUNCATED,
                 dtype=owner.dtype, name='head')(x, sub=sub)
  return {'classes': wide(logits)}


def said_of(name: str, pooled: jax.Array, inp: tuple[Axis, ...], fused: int,
            num_answers: int, dtype: Any, *, sub: Submodel = FULL) -> jax.Array:
  """One of `OUTPUTS` of ViLT and METER; call it in a compact method.

  Args:
    name: of the output.
    pooled: float[rows, *inp]; of 'pair' two rows, left and right, a statement.
    inp: its axes.
    fused: hidden units of the head.
    num_answers: classes of 'answers'.
    dtype: of the activations.
    sub: the part to run.
  """
  hidden = Axis('fused', fused)
  if name == 'pair':
    return NormedHead((Axis('side', 2), *inp), hidden, Axis('answers', 2), dtype,
                      name='pair_head')(
                          pooled.reshape(-1, 2, *pooled.shape[1:]), sub=sub)
  if name == 'match':
    return Dense(inp, (Axis('score', 1),), NORMAL, nn.initializers.zeros, dtype,
                 name='match_head')(pooled, sub=sub)[..., 0]
  return NormedHead(inp, hidden, Axis('answers', num_answers), dtype,
                    name='head')(pooled, sub=sub)


class WordsHead(nn.Module):
  """Logits of the words at given places of a text.

  Reference: Devlin et al., "BERT", NAACL 2019; without `table` the words that
    come out have a matrix of their own, as in ViLT's released code.
  """

  inp: Axis
  vocab: Axis
  dtype: Any = jnp.float32
  kernel_init: Callable = NORMAL

  @nn.compact
  def __call__(self, x: jax.Array, places: jax.Array,
               table: jax.Array | None = None, *, sub: Submodel = FULL
               ) -> jax.Array:
    """Scores every word at some places of a text.

    Args:
      x: float[B, T, d].
      places: int32[B, K].
      table: float[V, D] of the words that go in, by which those that come out
        are scored too; None where they have a matrix of their own.
      sub: the part to run.

    Returns:
      float[B, K, V].
    """
    part = dict(kernel_init=self.kernel_init, bias_init=nn.initializers.zeros,
                dtype=self.dtype)
    x = jnp.take_along_axis(x, places[..., None], 1)        # [B, K, d]
    x = gelu(Dense((self.inp,), (self.inp,), **part, name='transform')(
        x, sub=sub))
    x = LayerNorm(self.inp, eps=1e-12, name='norm')(x, sub=sub)
    if table is None:
      return Dense((self.inp,), (self.vocab,), **part, name='decoder')(
          x, sub=sub)
    bias = self.param('bias', named(nn.initializers.zeros, self.vocab))
    x, table, bias = nn.dtypes.promote_dtype(
        x, table[:, :x.shape[-1]], bias, dtype=self.dtype)
    return linear.by_rows(x, table) + bias


def words_of(text: jax.Array, batch: Mapping[str, jax.Array], inp: Axis,
             vocab_size: int, dtype: Any, kernel_init: Callable = NORMAL, *,
             sub: Submodel = FULL) -> jax.Array:
  """The output 'words' of a model; call it in a compact method.

  Args:
    text: float[B, T, d], the tokens of the text behind the last layer.
    batch: its `places` int32[B, K] say whose words are asked for.
    inp: axis of d.
    vocab_size: words that there are.
    dtype: of the activations.
    kernel_init: of matrices.
    sub: the part to run.
  """
  check_name('places', batch, 'key of the batch')
  return WordsHead(inp, Axis('vocab', vocab_size), dtype, kernel_init,
                   name='words_head')(text, batch['places'], sub=sub)


class PairHead(nn.Module):
  """Logits of false and true, of a statement about two pictures.

  Attributes:
    norm: makes a normalisation of the hidden units from its axis and name; None
      for none.
  """

  inp: Axis
  hidden: Axis
  activation: Callable = nn.relu
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None
  bias_init: Callable | None = None
  norm: Callable[..., nn.Module] | None = None

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """Maps float[2B, d], the left and the right picture, to float[B, 2]."""
    part = dict(kernel_init=self.kernel_init, bias_init=self.bias_init,
                dtype=self.dtype)
    x = x.reshape(-1, 2, x.shape[-1])                       # [B, 2, d]
    x = Dense((Axis('side', 2), self.inp), (self.hidden,), **part,
              name='fc1')(x, sub=sub)
    x = self.activation(x)
    x = self.norm(self.hidden, name='norm')(x, sub=sub) if self.norm else x
    return Dense((self.hidden,), (Axis('answers', 2),), **part, name='fc2')(
        x, sub=sub)


def check_outputs(outputs: tuple[str, ...], num_answers: int,
                  without: tuple[str, ...] = ()) -> None:
  """Raises where a model cannot have these outputs.

  Args:
    outputs: of the model.
    num_answers: classes that it has.
    without: those of `OUTPUTS` that it has not.
  """
  for name in outputs:
    check_name(name, [known for known in OUTPUTS if known not in without],
               'output of a model of texts and pictures')
  if 'answers' in outputs and not num_answers:
    raise ValueError("the output 'answers' needs num_answers, the number of "
                     'classes; data of questions give it.')
