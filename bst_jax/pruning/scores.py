"""Scores of channels and of pairs of sub-blocks, as a file that needs no model.

Another budget needs no second pass over pictures: `prune` reads the file.
"""
from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import json
import math
import pathlib
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base, check_name
from bst_jax.host import files
import jax
import numpy as np

# What a score can be; the higher, the more is lost without the channel.
KINDS = {
    'kl': 'mean KL divergence of the answers without the channel, exact',
    'hybrid': 'Fisher sorts out what is clearly safe, exact KL decides the rest',
    'fisher': 'the same to second order, from one backward pass',
    'taylor': 'squared change of the loss of labels, to first order',
    'magnitude': 'Euclidean norm of all parameters of the channel',
    'random': 'numbers of a seed',
}
# Kinds that look at no picture.
BLIND = 'magnitude', 'random'
# Numbers in any notation, 8.6e-06 among them.


@dataclasses.dataclass(frozen=True)
class Scores:
  """What every channel, and every pair of sub-blocks, is worth.

  Attributes:
    kind: of `KINDS`.
    model: `elastic.fingerprint` of the model that was scored.
    channels: float64[n] by full axis name, as of `elastic.groups`. Those of
      `heads@…` are of all channels of all heads, head by head.
    depth: score by stack, float64[2 L - 1] for L layers: entry 2 i removes both
      halves of layer i, entry 2 i + 1 the feed-forward half of layer i and the
      attention of layer i + 1. Empty where it was not asked for.
    about: what it was made from: pictures, a class or in all, their `places` in
      the split where they were drawn, seed, a checksum of the `parameters`, the
      `layers` that stayed; `agreement`, by which scores of two halves of the
      pictures are correlated in rank.
  """

  kind: str
  model: str
  channels: Mapping[str, np.ndarray]
  depth: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    check_name(self.kind, KINDS, 'kind of scores')
    for field in ('channels', 'depth'):
      read = {name: np.asarray(values, np.float64)
              for name, values in getattr(self, field).items()}
      object.__setattr__(self, field, read)
      for name, values in read.items():
        if not np.isfinite(values).all():
          at = int(np.flatnonzero(~np.isfinite(values))[0])
          raise ValueError(
              f'score {at} of {name!r} is {values[at]}, which is no number '
              'that could be ranked; the model or its pictures hold NaN or '
              'infinity. Score again.')

  def check(self, shapes: Any, axes: Any) -> None:
    """Raises where these are scores of another model.

    Args:
      shapes: of the model's parameters.
      axes: tree of tuples of their full axis names.
    """
    here = elastic.fingerprint(shapes)
    if self.model and self.model != here:
      raise ValueError(
          f'the scores are of a model whose parameters have the fingerprint '
          f'{self.model}, and those here have {here}: they would rank other '
          'channels. Give the workdir that was scored, or score this one.')
    counts = counts_of(shapes, axes)
    for name, values in self.channels.items():
      check_name(name, counts, 'index set of this model')
      if values.shape != (counts[name],):
        raise ValueError(
            f'the scores have {len(values)} of {name!r}, which has '
            f'{counts[name]} here; score this model.')

  def save(self, path: pathlib.Path) -> None:
    """Writes one JSON object; a file that stood there is replaced whole."""
    plain = lambda values: {name: [float(v) for v in one]
                            for name, one in values.items()}
    text = json.dumps({
        'kind': self.kind, 'model': self.model, 'about': dict(self.about),
        'channels': plain(self.channels), 'depth': plain(self.depth)})
    with files.beside(path) as place:
      place.write_text(text + '\n')

  @classmethod
  def load(cls, path: pathlib.Path) -> Scores:
    """Reads `save`."""
    try:
      found = json.loads(pathlib.Path(path).read_text())
      return cls(**found)
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
      raise ValueError(f'{path} holds no scores of channels ({error}); make '
                       'them by bst_jax.prune without --scores.') from None


def counts_of(shapes: Any, axes: Any) -> dict[str, int]:
  """Channels by full axis name; of heads those of all heads together.

  Args:
    shapes: of a model's parameters.
    axes: tree of tuples of their full axis names.
  """
  flat = elastic.flatten(shapes)
  found = {}
  for name, ((path, dimension), *_) in elastic.groups(axes).items():
    last = dimension + 1 + (base(name) == 'heads')
    found[name] = math.prod(flat[path].shape[dimension:last])
  return found


def divergence(teacher: jax.Array, student: jax.Array) -> jax.Array:
  """KL(softmax(teacher) || softmax(student)) float32[...], never below zero.

  In float32 the difference of two logarithms loses a divergence below 1e-6;
  here it is log1p(sum p (expm1(t) - t)) with t of mean zero under p, and a
  series where t is small.

  Args:
    teacher, student: logits float[..., A].
  """
  p = jax.nn.softmax(teacher.astype(np.float32), -1)
  t = student.astype(np.float32) - teacher.astype(np.float32)
  t = t - (p * t).sum(-1, keepdims=True)
  series = t * t * (0.5 + t / 6 + t * t / 24)
  whole = jax.numpy.expm1(t) - t
  phi = jax.numpy.where(jax.numpy.abs(t) < 1e-2, series, whole)
  return jax.numpy.log1p((p * phi).sum(-1))
