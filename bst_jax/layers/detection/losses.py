"""Losses of detectors: one number a box, which tasks sum and divide."""
from bst_jax.layers.detection import boxes as boxes_lib
import jax
import jax.numpy as jnp
import optax

_EPS = 1e-7  # Square pixels that keep a quotient of areas finite.


def smooth_l1(difference: jax.Array, beta: float) -> jax.Array:
  """float[...] of the sums over the last axis, square below beta, then linear.

  With beta 0 it is the absolute difference.

  Reference: Girshick, "Fast R-CNN", ICCV 2015, equation 3; beta is 1 there.
  """
  far = jnp.abs(difference)
  if beta:
    far = jnp.where(far < beta, 0.5 * far ** 2 / beta, far - 0.5 * beta)
  return far.sum(-1)


def giou(one: jax.Array, other: jax.Array) -> jax.Array:
  """float[N], one minus the generalised overlap of boxes float[N, 4] each.

  The overlap less the share of the smallest box around both that neither
  fills, so that boxes apart are drawn together too: from 0 to 2.

  Reference: Rezatofighi et al., "Generalized Intersection over Union", CVPR
    2019, equation 1.
  """
  cross = jnp.concatenate([jnp.maximum(one[:, :2], other[:, :2]),
                           jnp.minimum(one[:, 2:], other[:, 2:])], -1)
  around = jnp.concatenate([jnp.minimum(one[:, :2], other[:, :2]),
                            jnp.maximum(one[:, 2:], other[:, 2:])], -1)
  common, whole = boxes_lib.area(cross), boxes_lib.area(around)
  union = boxes_lib.area(one) + boxes_lib.area(other) - common
  return 1 - common / (union + _EPS) + (whole - union) / (whole + _EPS)


def objectness(logits: jax.Array, positive: jax.Array) -> jax.Array:
  """float[N], the cross-entropy of logits float[N] and bool[N]."""
  return optax.sigmoid_binary_cross_entropy(
      logits, positive.astype(logits.dtype))


def focal(logits: jax.Array, target: jax.Array, alpha: float = 0.25,
          gamma: float = 2.0) -> jax.Array:
  """float[N], summed over classes: what is told right counts little.

  Args:
    logits: float[N, C].
    target: float[N, C], 0 or 1.
    alpha: weight of ones, 1 - alpha that of zeros.
    gamma: how soon what is nearly right counts less.

  Reference: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
    equation 5.
  """
  return optax.sigmoid_focal_loss(
      logits, target, alpha=alpha, gamma=gamma).sum(-1)


def attributes(logits: jax.Array, told: jax.Array,
               there: jax.Array) -> jax.Array:
  """float[N], cross-entropy against equal shares of an object's attributes.

  Args:
    logits: float[N, T].
    told: int[N, K], numbers of attributes.
    there: bool[N, K]; an object without any has the loss 0.

  Reference: Anderson et al., "Bottom-Up and Top-Down Attention for Image
    Captioning and Visual Question Answering", CVPR 2018, section 3.1.
  """
  # Slots without an attribute may hold any number, also one that there is not.
  told = jnp.where(there, told, 0)
  each = jnp.take_along_axis(jax.nn.log_softmax(logits), told, 1)
  count = jnp.maximum(there.sum(1), 1)
  return -(each * there).sum(1) / count
