"""Percent of masked words that are told right."""
from collections.abc import Mapping
from typing import Any

from bst_jax.scores import Measure
import jax.numpy as jnp
import numpy as np


def make(output: str = 'words') -> Measure:
  """Accuracy of an output float[B, K, V].

  The batch has `words` int[B, K] and `told` bool[B, K], see
  `data.forms.pretraining`.
  """
  def read(outputs, batch):
    told = batch['told'] & batch['mask'][:, None]
    right = outputs[output].argmax(-1) == batch['words']
    return {'right': jnp.sum(right & told, dtype=jnp.float32),
            'told': jnp.sum(told, dtype=jnp.float32)}

  return Measure('masked_words', 'masked words right, in percent', read, 'sum',
                 _finish)


def _finish(sums: Mapping[str, np.ndarray], data: Any) -> dict[str, float]:
  del data
  return {'overall': 100 * float(sums['right']) / max(float(sums['told']), 1.0)}
