"""Multiply-accumulates of networks whose images differ in tokens.

`costs` counts the program that runs, of static widths, whatever lives in them.
Here every image is charged for its own living tokens: the count that published
figures average over a validation set, and a lower bound of what runs. Models
that sample have it as `token_macs(counts)`.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def by_layer(blocks: Sequence[int],
             counts: Mapping[int, Any] | Sequence[Any]) -> dict[int, Any]:
  """{layer: tokens that live behind it}, for the layers that sample.

  Args:
    blocks: the layers that sample.
    counts: by number of the layer or in their order; numbers, or arrays with an
      entry for each image.
  """
  if not isinstance(counts, Mapping):
    counts = dict(zip(blocks, counts, strict=True))
  if set(counts) != set(blocks):
    raise ValueError(f'counts are of the layers {sorted(counts)}, but those '
                     f'that sample are {list(blocks)}; give one for each.')
  # Of 64 bits: the products of networks that are used do not fit into 32.
  return {block: np.asarray(counts[block], np.int64) for block in blocks}


def layer_macs(tokens: Any, kept: Any, width: int, mlp: int,
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
