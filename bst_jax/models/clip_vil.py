"""CLIP-ViL-p: a question and the grid of CLIP's ResNet in one transformer.

Reference: Shen et al., "How Much Can CLIP Benefit Vision-and-Language Tasks?",
  ICLR 2022; slicing as BST (arXiv 2203.12814) does in MCAN, whose authors
  released no CLIP-ViL variant.
Differs: batch statistics of the trunk stay those of the checkpoint in training
  too, unless batch_stats is 'batch'; the unused branch for boxes is left out.
  Row 0 of the word, position and type tables learns, which the original
  declares a padding index.
"""
from bst_jax.elastic import Axis, check_name, Submodel
from bst_jax.layers import batch_norm, bert, clip_resnet
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.single_stream import SingleStream
import jax
import jax.numpy as jnp


class Model(SingleStream):
  """Answers a question about a picture.

  The trunk is the same for every submodel and dearer than all the rest. Compute
  it once and hand it on in the batch:

    shared = model.apply({'params': params}, batch, method='shared')
    logits = model.apply({'params': params}, batch | shared, sub=sub)

  The forward pass, and the attributes not named here, are `SingleStream`'s.

  Attributes:
    grid_positions: rows, and columns, of the largest grid.
    visual_blocks, visual_width: of the trunk, see `clip_resnet.ClipResNet`.
    train_visual: whether the trunk learns; if not, no gradients enter it and
      optimisers leave it alone, see `frozen_parts`.
    batch_stats: what the trunk normalises by in training: the `stored`
      statistics of the checkpoint, which then stay as they are, or those of the
      `batch`, see `BatchNorm`.
  """

  grid_positions: int = 25
  visual_blocks: tuple[int, ...] = clip_resnet.BLOCKS
  visual_width: int = clip_resnet.WIDTH
  train_visual: bool = True
  batch_stats: str | None = 'stored'

  pooler_tanh = False

  def __post_init__(self):
    batch_norm.of(self.batch_stats)
    if self.batch_stats == 'batch' and not self.train_visual:
      raise ValueError(
          "batch_stats='batch' was asked for with train_visual=False, but a "
          "trunk that stays as it is keeps its statistics: leave batch_stats "
          "'stored', or set train_visual=True.")
    super().__post_init__()

  @property
  def frozen_parts(self) -> tuple[str, ...]:
    """Prefixes of the parameters that no optimiser may move."""
    return () if self.train_visual else ('visual',)

  def setup(self):
    self.visual = clip_resnet.ClipResNet(
        self.visual_blocks, self.visual_width, self.dtype,
        batch_norm.of(self.batch_stats))

  def shared(self, batch: dict[str, jax.Array],
             train: bool = False) -> dict[str, jax.Array]:
    """What every submodel reads alike, to be put into the batch.

    Args:
      batch: image uint8[P, H, W, 3], or float, see `clip_resnet.normalise`.
      train: normalises as in training.

    Returns:
      grid float[P, h, w, F], one cell for every 32 x 32 pixels.
    """
    check_name('image', batch, 'key of the batch')
    grid = self.visual(batch['image'], train)
    return {'grid': grid if self.train_visual else jax.lax.stop_gradient(grid)}

  def image(self, batch: dict[str, jax.Array], kind: jax.Array, out: Axis, *,
            sub: Submodel, seed: jax.Array | None
            ) -> tuple[jax.Array, jax.Array]:
    """Embeds cells of the grid, each at its place; `kind` is for text alone.

    Args:
      batch: image as `shared` takes it, or grid, what `shared` returned.
      kind, out, sub, seed: see `SingleStream.image`.

    Returns:
      float[P, h * w, d] and bool[P, h * w].
    """
    if 'grid' not in batch:
      batch = self.shared(batch, train=seed is not None)
    grid = batch['grid']
    pictures, height, width, size = grid.shape
    if max(height, width) > self.grid_positions:
      raise ValueError(
          f'the grid has {height} x {width} cells, but the model knows only '
          f'{self.grid_positions} rows and columns; use smaller pictures or '
          'raise grid_positions of the model.')
    feat = Axis('feat', self.visual.features)
    table = lambda name: bert.Table(
        Axis('position', self.grid_positions), feat, init=self.normal,
        name=name)
    x = (grid + table('rows')(jnp.arange(height))[:, None]
         + table('columns')(jnp.arange(width)))
    x = bert.Linear((feat,), (out,), kernel_init=self.normal,
                    dtype=self.dtype, name='feature')(
        x.reshape(pictures, height * width, size), sub=sub)
    x = bert.Norm(out, name='image_norm')(x, sub=sub)
    x = Dropout(self.dropout)(x, seed)
    return x, jnp.ones(x.shape[:2], bool)
