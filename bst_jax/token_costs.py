"""Multiply-accumulates of a vision transformer whose images differ in tokens.

`costs` counts the program that runs, of static widths, whatever lives in them.
Here every image is charged for its own living tokens: the count that published
figures average over a validation set, and a lower bound of what runs.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Tokens, the class token not counted, that live behind layers 3 to 11 of DeiT-S
# on ImageNet: mean and 99th percentile over images, read off the histograms
# of the authors' project page (each about one token uncertain).
DEIT_S_MEAN = (162, 145, 133, 117, 106, 98, 81, 71, 62)
DEIT_S_P99 = (175, 161, 151, 136, 126, 118, 106, 96, 87)


def layer(tokens: Any, kept: Any, width: int, mlp: int,
          attention: str = 'select_first') -> Any:
  """Multiply-accumulates of a layer that hands on `kept` of its tokens.

  Args:
    tokens, kept: numbers or arrays of them, all tokens counted.
    width, mlp: channels of the layer and of its feed-forward part.
    attention: `plain`, where all are kept; `select_first`; `reference`, in
      which all tokens attend before some are picked.
  """
  behind = kept * width * (width + 2 * mlp)
  if attention == 'reference':
    return tokens * width * (3 * width + tokens) + kept * tokens * width + behind
  scores = tokens * width if attention == 'select_first' else 0
  return (2 * tokens * width ** 2 + scores
          + kept * width * (width + 2 * tokens) + behind)


def of_vit(model: Any, counts: Mapping[int, Any] | Sequence[Any] = ()) -> Any:
  """Multiply-accumulates of each image in a `models.vit.Model`.

  Args:
    model: the network.
    counts: tokens that live behind each sampling layer, the lead not counted,
      by number of the layer or in their order; numbers, or arrays with an entry
      for each image.

  Returns:
    A number, or an array with an entry for each image.
  """
  blocks = model.ats.blocks
  if not isinstance(counts, Mapping):
    counts = dict(zip(blocks, counts, strict=True))
  if set(counts) != set(blocks):
    raise ValueError(f'counts are of the layers {sorted(counts)}, but those '
                     f'that sample are {list(blocks)}; give one for each.')
  tokens, total = model.lead + model.slots, 0
  for i in range(model.num_layers):
    kept = model.lead + np.asarray(counts[i]) if i in counts else tokens
    total = total + layer(tokens, kept, model.width, model.mlp,
                          model.ats.attention if i in counts else 'plain')
    tokens = kept
  heads = 1 + (model.distilled and model.distilled_head)
  return (total + model.slots * 3 * model.patch ** 2 * model.width
          + heads * model.width * model.num_answers)
