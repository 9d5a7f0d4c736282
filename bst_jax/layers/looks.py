"""Where a network looked: attention that its layers hand out when they are asked.

Layers sow their probabilities into a collection of its own, which costs nothing
unless that collection is mutable, as only `looked_at` makes it.
"""
from collections.abc import Mapping
from typing import Any

from flax import linen as nn
import jax

SOWN, _PROBS = 'attention', 'probs'


def sow(owner: nn.Module, probs: jax.Array) -> None:
  """Hands out the probabilities of a layer's attention."""
  if not owner.is_initializing():
    owner.sow(SOWN, _PROBS, probs, reduce_fn=lambda _, new: new,
              init_fn=lambda: None)


def probabilities(sown: Mapping[str, Any], path: str) -> jax.Array:
  """What the layer with that path, as 'encoder/layer_5/attention', handed out.
  """
  for name in path.split('/'):
    sown = sown[name]
  return sown[_PROBS]


def of_first_token(sown: Mapping[str, Any], path: str,
                   skipped: int) -> jax.Array:
  """float[B, N], what the first token attends to, on average over heads.

  Args:
    sown: see `probabilities`.
    path: of an attention whose probabilities are float[B, h, M, skipped + N].
    skipped: tokens in front that are no part of the picture.

  Returns:
    Shares of the picture's tokens, which sum to one.
  """
  probs = probabilities(sown, path)[:, :, 0, skipped:].mean(1)
  return probs / probs.sum(-1, keepdims=True)


def looked_at(model: nn.Module, params: Any, batch: Mapping[str, jax.Array]
              ) -> jax.Array:
  """float[P, N], how a network's look is spread over the tokens of a picture.

  Tokens are cells row by row, or regions in the order of the boxes. Which layer
  tells it, `model.looked` decides.

  Raises:
    ValueError: the model does not tell.
  """
  if not hasattr(model, 'looked'):
    raise ValueError(
        f'where {type(model).__module__.rsplit(".", 1)[-1]} looked was asked '
        'for, but it does not tell: its tokens are frames or move. MCAN, UNITER, '
        'CLIP-ViL, ViT and CvT do.')
  if hasattr(model, 'ats'):  # Tokens that are gone are not looked at.
    model = model.clone(ats=None)
  _, found = model.apply({'params': params}, batch, mutable=[SOWN])
  return model.looked(found[SOWN], batch)
