"""Folders of foreign checkpoints: weights, and files that describe them.

`source` finds the files, `hugging_face` and `timm` say what model they are of,
`families` which table their tensors' names belong to.
"""
from collections.abc import Mapping

from bst_jax.interop.folders import hugging_face, timm
from bst_jax.interop.folders.description import Description
from bst_jax.interop.folders.source import Source
import numpy as np


def describe(source: Source, tensors: Mapping[str, np.ndarray]
             ) -> Description | None:
  """The model of a checkpoint; None where nothing lies beside that says it.

  Raises:
    ValueError: a model that there is not here; the setting is named.
  """
  if source.config is None:
    return None
  where = str(source.where)
  if 'architecture' in source.config:
    return timm.describe(source.config, tensors, where)
  return hugging_face.describe(source.config, source.pictures, tensors, where)
