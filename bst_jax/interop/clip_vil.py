"""CLIP-ViL-p fine-tuned for VQA, whole files <-> models/clip_vil.py."""
from bst_jax.interop import bert, clip_visual
from bst_jax.interop.core import COPY, linear_rows, norm_rows


def encoder_rows(foreign):
  """All but the answer head, under a foreign prefix."""
  image = f'{foreign}bert.encoder.visn_fc'
  place = lambda axis, ours: (
      f'{foreign}bert.encoder.visual_pos.{axis}_position_embedding.weight',
      f'{ours}/table', COPY)
  return (
      *bert.text_rows(f'{foreign}bert.'),
      *linear_rows(f'{image}.visn_fc', 'feature'),
      *norm_rows(f'{image}.visn_layer_norm', 'image_norm'),
      # Named the wrong way round: x counts rows, y columns.
      place('x', 'rows'), place('y', 'columns'),
      *clip_visual.rows(f'{foreign}bert.encoder.visual_model.visual.'))


TABLE = (*encoder_rows('lxrt_encoder.model.'), *bert.head_rows('logit_fc'))
IGNORED = (
    *clip_visual.BYPASSED,
    # CLIP's text tower, and a branch for boxes that no input reaches.
    r'.*\.visual_model\.(?!visual\.).*',
    r'.*\.visn_fc\.box_(fc|layer_norm)\..*')
RENAMES = bert.OLD_SPELLINGS
PARTIAL = False
