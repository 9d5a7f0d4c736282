"""Folders of foreign checkpoints: weights, and files that describe them.

`source` finds the files, `hugging_face` and `timm` say what model they are of,
`families` which table their tensors' names belong to.
"""
from collections.abc import Mapping

from absl import logging
from bst_jax.interop.folders import hugging_face, timm
from bst_jax.interop.folders.description import Description
from bst_jax.interop.folders.source import Source
import numpy as np


def describe(source: Source, tensors: Mapping[str, np.ndarray],
             needed: bool = True) -> Description | None:
  """The model of a checkpoint; None where nothing lies beside that says it.

  Args:
    source: the checkpoint.
    tensors: of it.
    needed: nobody else says what model it is; else a file about a model that
      there is not here is left alone.

  Raises:
    ValueError: a model that there is not here; the setting is named.
  """
  if source.config is None:
    return None
  where = str(source.where)
  if 'architecture' in source.config:
    return timm.describe(source.config, tensors, where)
  try:
    return hugging_face.describe(
        source.config, source.pictures, tensors, where)
  except hugging_face.UnknownModel as error:
    if needed:
      raise
    logging.warning('%s It is left alone; --config and --table hold.', error)
    return None
