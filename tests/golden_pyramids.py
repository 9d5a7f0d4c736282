"""Tensors that tests and the makers of goldens draw alike, by name.

They are random, so that a golden file holds outputs alone.
"""
from collections.abc import Mapping
import math
import zlib

from bst_jax import elastic
from bst_jax.interop import core
import numpy as np


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """float32: a kernel of He's spread; gains and variances about one."""
  rng = np.random.default_rng(zlib.crc32(name.encode()))
  if name.endswith('running_var'):
    value = 0.5 + rng.random(shape)
  elif name.endswith('edge_weights'):
    value = rng.standard_normal(shape) + 0.5  # Some are below zero.
  elif len(shape) == 1:
    value = 0.2 * rng.standard_normal(shape) + name.endswith('weight')
  else:
    fan_in = math.prod(shape[1:])
    value = rng.standard_normal(shape) * math.sqrt(2 / fan_in)
  return value.astype(np.float32)


def filled(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
  """Tensors of these names and shapes; counters are left out."""
  return {name: tensor(name, tuple(shape)) for name, shape in shapes.items()
          if not name.endswith('num_batches_tracked')}


def params(table, shapes):
  """Ours, of all the tensors that a table knows and drawn by their names."""
  ours = elastic.flatten(shapes)
  foreign = {name: op.shape(ours[paths[0]].shape)
             for name, paths, op in core.rows_for(table, list(ours))}
  return core.read(table, filled(foreign), shapes)


def pixels(height: int, width: int) -> np.ndarray:
  """float32[1, H, W, 3], as if normalised."""
  return np.random.default_rng(0).standard_normal(
      (1, height, width, 3)).astype(np.float32)


# What goldens are of: pictures of no multiple of a cell, and of one.
ODD, EVEN = (33, 48), (64, 64)
# Channels and cells of the small BiFPNs, channels of the small pyramid.
BIFPN, FPN = (16, 2), 16
