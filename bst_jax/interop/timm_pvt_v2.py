"""timm's PVTv2, b0 to b5 and b2_li <-> models/pvt.py, reduction_eps=1e-5."""
from bst_jax.interop.core import linear_rows
from bst_jax.interop.pvt_v2 import NAMES, stage_rows

_NAMES = NAMES | {'conv': 'mlp.dwconv'}


def _stage(stage):
  embed = f'stages.{stage}.downsample' if stage else 'patch_embed'
  return stage_rows(
      stage, (f'{embed}.proj', f'{embed}.norm'),
      f'stages.{stage}.blocks.{{i}}', f'stages.{stage}.norm', _NAMES)


TABLE = (*(row for stage in range(4) for row in _stage(stage)),
         *linear_rows('head', 'head'))
PARTIAL = False
