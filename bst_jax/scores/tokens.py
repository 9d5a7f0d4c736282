"""How many tokens live behind each sampling layer, over the images of a split.

Reference: Fayyaz et al., "Adaptive Token Sampling for Efficient Vision
  Transformers", ECCV 2022, figure 6 (histograms) and the authors' answer on how
  FLOPs are averaged: over images, each charged for its own tokens.
"""
from collections.abc import Mapping, Sequence
import re
from typing import Any

from bst_jax.elastic import Submodel
from bst_jax.report import token_macs
from bst_jax.run.experiment import Experiment
import jax
import jax.numpy as jnp
import numpy as np


def check(exp: Experiment, sub: Submodel, what: str) -> None:
  """Raises a ValueError that begins with `what` if a submodel samples nothing."""
  if not getattr(getattr(exp.model, 'ats', None), 'blocks', ()):
    raise ValueError(f'{what}, but the model samples none; make a workdir that '
                     'does with bst_jax.search.')
  if not exp.model.at(sub).ats.blocks:
    raise ValueError(f'{what}, but submodel {sub} has none of the layers '
                     f'{list(exp.model.ats.blocks)} that sample; choose another '
                     'one, as --submodel 1x1.')


def read(intermediates: Any) -> dict[str, jax.Array]:
  """What sampling layers sowed, side by side in the order of the layers.

  Args:
    intermediates: the collection of that name; empty where nothing samples.

  Returns:
    count, overflow: int32[B, L], or int32[B, L, T] where frames are counted;
    nothing where nothing samples.
  """
  found = {kind: sown(intermediates, kind) for kind in ('count', 'overflow')}
  return {kind: jnp.stack([*by.values()], 1)
          for kind, by in found.items() if by}


def sown(intermediates: Any, kind: str) -> dict[int, jax.Array]:
  """{sampling layer: what it sowed by the name `kind`}, in their order."""
  found = {}
  for path, leaf in jax.tree_util.tree_flatten_with_path(intermediates)[0]:
    names = [str(getattr(part, 'key', part)) for part in path]
    if kind in names:
      layers = [int(n) for name in names
                for n in re.findall(r'^layer_(\d+)$', name)]
      found[layers[-1]] = leaf
  return dict(sorted(found.items()))


class Tally:
  """Gathers the counts of a network's images, batch by batch.

    tally = Tally(model, example)
    tally.add(count, overflow, mask)
    row |= tally.report()
  """

  def __init__(self, model: Any, example: Mapping[str, Any]):
    """Takes a model with sampling layers and a batch of one for it."""
    self._model, self._example = model, example
    self._counts, self._overflow = [], []

  def add(self, count: np.ndarray, overflow: np.ndarray,
          mask: np.ndarray) -> None:
    """Adds int32[n, L, ...] of a batch whose bool[B] true examples have n/B rows."""
    real = np.repeat(np.asarray(mask, bool), len(count) // len(mask))
    self._counts.append(np.asarray(count)[real])
    self._overflow.append(np.asarray(overflow)[real])

  def report(self) -> dict[str, Any]:
    """`mean_macs`, multiply-accumulates of an image for its own tokens, and
    `tokens`: by sampling layer their mean, deviation, median, 99th percentile
    and maximum, the share of images that the capacity cut, the tokens it cut,
    and the histogram. Nothing where nothing was added.
    """
    if not self._counts:
      return {}
    counts, overflow = map(np.concatenate, (self._counts, self._overflow))
    living = counts - overflow
    # Of every image, or of every frame, whose mean is that of its clip.
    macs = token_macs.fit(self._model, self._example)(np.moveaxis(living, 1, 0))
    layers = []
    for place, block in enumerate(self._model.ats.blocks):
      n = counts[:, place].reshape(-1)
      layers.append({
          'layer': block, 'mean': float(n.mean()), 'std': float(n.std()),
          'p50': float(np.percentile(n, 50)),
          'p99': float(np.percentile(n, 99)), 'max': int(n.max()),
          'width': self._model.ats.widths(self._model.slots)[place],
          'cut': float((overflow[:, place] > 0).mean()),
          'lost': float(overflow[:, place].mean()),
          'histogram': np.bincount(n).tolist()})
    return {'mean_macs': float(np.mean(macs)), 'tokens': layers}


def table(rows: Sequence[Mapping[str, Any]], aligned: Any) -> str:
  """Text: a line for each submodel and each of its sampling layers.

  Args:
    rows: submodels, with what `Tally.report` says.
    aligned: makes text of cells.
  """
  lines = [('submodel', 'layer', 'slots', 'tokens', 'std', 'p50', 'p99', 'max',
            'images cut', 'tokens lost')]
  for row in rows:
    for t in row['tokens']:
      lines.append((
          row['submodel'], str(t['layer']), str(t['width']),
          f'{t["mean"]:.1f}', f'{t["std"]:.1f}', f'{t["p50"]:.0f}',
          f'{t["p99"]:.0f}', str(t['max']), f'{t["cut"]:.1%}',
          f'{t["lost"]:.2f}'))
  return ('tokens that are sampled behind each layer, the class token not '
          f'counted, over the images\n{aligned(lines)}')
