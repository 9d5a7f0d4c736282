"""Evaluation whose tensors shrink to what lives in them, batch by batch.

Static shapes make every image pay for a layer's slots. Here the host looks, once
behind each sampling layer, how many tokens the fullest image of a batch has, and
goes on with the smallest of some widths that holds them. Images that keep alike
numbers are brought together first, or the fullest of many would decide.

For evaluation and feature extraction: the host waits for counts, and images of
a call come back together. Predictions are those of the mask.
"""
from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import Any

from bst_jax.layers.vit import Tokens
import jax
import jax.numpy as jnp
import numpy as np


class Bucketed:
  """A `models.vit.Model` that samples tokens, run in buckets.

    run = Bucketed(model, params, batch=32)
    outputs = run({'image': images})         # Any number of images.
  """

  def __init__(self, model: Any, params: Any, batch: int,
               multiple: int = 8, sort: bool = True,
               cuts: Sequence[int] | None = None):
    """Takes the whole network.

    Args:
      model: its capacities are put aside: nothing overflows.
      params: of it.
      batch: images that run together.
      multiple: widths are multiples of it, so that there are few programs.
      sort: bring images with alike counts together behind the first cut.
      cuts: sampling layers behind which tensors shrink; all if None.
    """
    blocks = model.ats.blocks
    cuts = blocks if cuts is None else tuple(cuts)
    if not cuts or set(cuts) - set(blocks):
      raise ValueError(
          f'tensors were to shrink behind the layers {list(cuts)}, but those '
          f'that sample are {list(blocks)}; choose some of them.')
    if model.ats.policy_eps:
      raise ValueError(
          f'a softmax of which {model.ats.policy_eps} leaks to tokens that are '
          'gone (ats.policy_eps) needs them, and buckets cut them off; run it as '
          'it is, or set ats.policy_eps=0.')
    self._params, self._batch, self._multiple = params, batch, multiple
    self._sort = sort
    model = model.clone(ats=dataclasses.replace(model.ats, capacity=None))
    ends = [*(cut + 1 for cut in cuts), model.num_layers]
    if ends[-2] == model.num_layers:  # The last layer is one of them.
      del ends[-1]
    starts = [0, *ends[:-1]]
    self._segments = [
        jax.jit(functools.partial(self._run, model, range(*pair)))
        for pair in zip(starts, ends)]
    self.widths = []  # Of the tensors of the last call, segment by segment.

  @staticmethod
  def _run(model, part, params, tokens):
    return model.apply({'params': params}, tokens, part=part)

  def __call__(self, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Outputs of n rows, of images uint8[n, H, W, 3], n of any size."""
    images, size = batch['image'], self._batch
    total = len(images)
    spare = -total % size
    if spare:  # The last image stands in for those that are missing.
      images = np.concatenate([images, np.repeat(images[-1:], spare, 0)])
    groups = [{'image': jnp.asarray(images[i:i + size])}
              for i in range(0, len(images), size)]
    self.widths = [[] for _ in self._segments[1:]]
    place = np.arange(len(images))
    for i, segment in enumerate(self._segments):
      groups = [segment(self._params, group) for group in groups]
      if i + 1 == len(self._segments):
        break
      counts = jax.device_get([group.valid.sum(1) for group in groups])
      if i == 0 and self._sort and len(groups) > 1:
        order = np.argsort(np.concatenate(counts), kind='stable')
        place, counts = place[order], np.split(
            np.concatenate(counts)[order], len(groups))
        whole = jax.tree.map(lambda *x: jnp.concatenate(x), *groups)
        groups = [jax.tree.map(lambda x, at=at: x[at], whole)
                  for at in np.split(order, len(groups))]
      groups = [self._shrunk(group, int(count.max()))
                for group, count in zip(groups, counts)]
      self.widths[i] = [group.x.shape[1] for group in groups]
    back = np.argsort(place)[:total]
    return jax.tree.map(lambda *x: jnp.concatenate(x)[back], *groups)

  def _shrunk(self, tokens: Tokens, most: int) -> Tokens:
    """Tokens cut to a width that holds `most`, which stand in front."""
    width = min(tokens.x.shape[1], -(-most // self._multiple) * self._multiple)
    lead = tokens.x.shape[1] - tokens.ids.shape[1]
    cut = lambda x, n: None if x is None else x[:, :n]
    return Tokens(cut(tokens.x, width), cut(tokens.valid, width),
                  cut(tokens.gate, width), cut(tokens.ids, width - lead))
