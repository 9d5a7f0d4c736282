"""The order of channels: the most needed first, so that prefixes are the best.

A permutation is a choice that keeps all: the model computes the same, and its
submodels begin with the channels that count.
"""
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base, Choice
from bst_jax.pruning.scores import Scores
import numpy as np

# What an order is for.
METHODS = ('bst',)


def choice(scores: Scores, shapes: Any, axes: Any) -> Choice:
  """The permutation of every index set by its scores, the highest first.

  Heads go as wholes, by the sum of their channels' scores, as a width keeps
  whole heads. Equal ones stay in their order.

  Args:
    scores: of the model.
    shapes: of its parameters.
    axes: tree of tuples of their full axis names.
  """
  scores.check(shapes, axes)
  flat, keep = elastic.flatten(shapes), {}
  for name, ((path, dim), *_) in elastic.groups(axes).items():
    values = scores.channels[name]
    if base(name) == 'heads':
      values = values.reshape(flat[path].shape[dim], -1).sum(1)
    keep[name] = tuple(np.argsort(-values, kind='stable').tolist())
  return Choice(keep=keep, model=elastic.fingerprint(shapes))
