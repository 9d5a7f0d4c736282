"""BERT with its head of words -> models/minivlm.py.

Fills the layers, the text embeddings, the pooler and the head of words, so that
a caption may start from what BERT says; what reads regions, and other heads,
keep the parameters that they start from. Table `bert` fills all but the head,
from files that have none, as those of MiniLM.
"""
from collections.abc import Mapping
from typing import Any

from bst_jax.interop import bert, minivlm
import numpy as np

TABLE = (*bert.text_rows('bert.'), *minivlm.WORDS)
# Whether one sentence follows another is no match of a text and a picture.
IGNORED = minivlm.IGNORED
RENAMES = minivlm.RENAMES
PARTIAL = True


def ADAPT(foreign: Mapping[str, np.ndarray], target: Any
          ) -> dict[str, np.ndarray]:
  """The same tensors.

  Raises:
    ValueError: as `minivlm.ADAPT`.
  """
  minivlm.check_tied(foreign, target)
  return dict(foreign)
