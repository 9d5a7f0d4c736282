"""UNITER for questions about pictures: text and regions in one transformer.

Reference: Chen et al., "UNITER: UNiversal Image-TExt Representation Learning",
  ECCV 2020; slicing as BST (arXiv 2203.12814) does in MCAN, whose authors
  released no UNITER variant.
Differs: text and regions stand side by side, each with its padding. The
  original moves all padding to the end, which permutes masked keys and so
  changes nothing at the first token; its mask adds -10000 where ours excludes.
  The embedding of masked regions is left out: pre-training alone uses it.
"""
from bst_jax.elastic import Axis, check_name, Submodel
from bst_jax.layers import bert, tokens
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.single_stream import SingleStream
import jax
import jax.numpy as jnp


class Model(SingleStream):
  """Answers a question about regions of a picture.

  The forward pass, and the attributes not named here, are `SingleStream`'s.

  Attributes:
    feature_size: channels of a region's features.
  """

  feature_size: int = 2048

  def image(self, batch: dict[str, jax.Array], kind: jax.Array, out: Axis, *,
            sub: Submodel, seed: jax.Array | None
            ) -> tuple[jax.Array, jax.Array]:
    """Embeds features and boxes of regions.

    Args:
      batch: regions float[P, N, F] with zero rows for padding; boxes
        float[P, N, 4], x1 y1 x2 y2 in 0..1.
      kind, out, sub, seed: see `SingleStream.image`.

    Returns:
      float[P, N, d] and bool[P, N].
    """
    for key in ('regions', 'boxes'):
      check_name(key, batch, 'key of the batch')
    regions, boxes = batch['regions'], batch['boxes']
    if regions.shape[-1] != self.feature_size:
      raise ValueError(
          f'regions of the batch have {regions.shape[-1]} features, the model '
          f'reads {self.feature_size}; set feature_size of the model.')
    sides = boxes[..., 2:] - boxes[..., :2]
    boxes = jnp.concatenate([boxes, sides, sides.prod(-1, keepdims=True)], -1)

    def embed(name, x, axis):
      x = bert.Linear((axis,), (out,), kernel_init=self.normal,
                      dtype=self.dtype, name=name)(x, sub=sub)
      return bert.Norm(out, name=f'{name}_norm')(x, sub=sub)

    x = (embed('feature', regions.astype(self.dtype),
               Axis('feat', self.feature_size))
         + embed('box', boxes, Axis('box', 7)) + kind)      # [P, N, d]
    x = bert.Norm(out, name='image_norm')(x, sub=sub)
    x = Dropout(self.dropout)(x.astype(self.dtype), seed)
    return x, tokens.nonzero_rows(regions)
