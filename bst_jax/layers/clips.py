"""Backbones of videos: what they have of a clip's frames and patches."""
import math

from bst_jax.layers import pixels
from bst_jax.layers.backbone import Backbone


class Clips(Backbone, kw_only=True):
  """A backbone that reads frames of patches, with a token in front of them.

  It has `clip_size`, frames, height and width, and `patch`, a patch's side.
  """

  @property
  def frames(self) -> int:
    """Frames of a clip."""
    return self.clip_size[0]

  @property
  def token_grid(self) -> tuple[int, int]:
    """Rows and columns of a frame's patches."""
    return tuple(pixels.clip(self.clip_size, self.patch)[1:])

  @property
  def slots(self) -> int:
    """Patches of a frame: what tokens are sampled from."""
    return math.prod(self.token_grid)

  @property
  def lead(self) -> int:
    """Tokens in front of the patches."""
    return 1
