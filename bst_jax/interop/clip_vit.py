"""CLIP's encoder of pictures as OpenAI saved it -> that of METER.

Fills the encoder, of which METER leaves the last layer out; all else keeps the
parameters that it starts from.
"""
from collections.abc import Mapping
import re

from bst_jax.interop.meter import clip_rows, IMAGE, resized
import numpy as np

_PLACES = 'visual.positional_embedding'
_LAYER = re.compile(r'visual\.transformer\.resblocks\.(\d+)\.')

TABLE = clip_rows('visual.')
# The projection behind it, and the encoder of texts.
IGNORED = (r'visual\.proj', r'transformer\..*', r'token_embedding\.weight',
           r'positional_embedding', r'text_projection', r'logit_scale',
           r'ln_final\..*', r'input_resolution', r'context_length',
           r'vocab_size')
RENAMES = ()
PARTIAL = True


def ADAPT(foreign: Mapping[str, np.ndarray], target) -> dict[str, np.ndarray]:
  """Places of our grid, and as many layers as we have."""
  layers = sum(name.startswith('layer_') for name in target[IMAGE]['encoder'])
  return {name: x for name, x in resized(_PLACES, foreign, target).items()
          if not (found := _LAYER.match(name)) or int(found[1]) < layers}
