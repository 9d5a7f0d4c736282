"""Ways to run a network that samples tokens, side by side on the same pictures.

What sampling saves in arithmetic is not what it saves in time. `dense` samples
nothing; `mask` samples and keeps all widths; `capacity` has the slots of the
model's choice; `sorted` is `bucketed.Bucketed`, `ragged` is of that name.
"""
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import itertools
import pathlib
import time
from typing import Any

from bst_jax import bucketed, ragged, scoring
from bst_jax import workdir as workdirs
from bst_jax.elastic import Submodel
from bst_jax.experiment import Experiment
from bst_jax.models import vit
import jax
import jax.numpy as jnp
import numpy as np
import tqdm

_TOGETHER = 4  # Batches that are sorted by their counts.
_ROUNDS = 3


def check(exp: Experiment) -> None:
  """Raises a ValueError where there is nothing to compare."""
  if not isinstance(exp.model, vit.Model):
    raise ValueError(
        '--ways compares runs whose tensors shrink on the way, which model vit '
        f'alone has; this is model {exp.config.model.name}.')
  if not exp.model.ats.blocks:
    raise ValueError('--ways compares what sampled tokens save, but the model '
                     'samples none; make a workdir that does with '
                     'bst_jax.search.')
  if jax.process_count() > 1:
    raise ValueError('--ways measures one process, and there are '
                     f'{jax.process_count()}; evaluate with it in one.')


def make(model: vit.Model, params: Any, batch: int, means: Sequence[float],
         margin: float = 0.03) -> dict[str, Callable]:
  """Functions uint8[n, H, W, 3] -> float[n, A], n a multiple of `batch`.

  Args:
    model: samples tokens; its capacities bound the ragged run, and where it has
      none there is no run of that name.
    params: of it.
    batch: pictures that run together.
    means: tokens of a picture behind each sampling layer, the lead not counted.
    margin: see `ragged.lengths`; which batches fitted is in `fits` of the run.
  """
  # No gradient is asked for.
  ats = dataclasses.replace(model.ats, grad='hard', fill=False)
  model = model.clone(ats=ats)
  mask = model.clone(ats=dataclasses.replace(ats, capacity=None))
  together = _TOGETHER * batch
  sort = bucketed.Bucketed(mask, params, batch)
  found = {
      'dense': _plain(model.clone(ats=None), params, batch),
      'mask': _plain(mask, params, batch),
      'capacity': _plain(model, params, batch),
      'sorted': lambda images: jnp.concatenate([
          sort({'image': part}) for part in _parts(images, together)])}
  if ats.capacity is None:
    del found['capacity']
  if ragged.runs(ats):
    found['ragged'] = _Ragged(model, params, batch, ragged.lengths(
        means, batch, model.lead, margin))
  return found


def _parts(images, size):
  return [images[i:i + size] for i in range(0, len(images), size)]


def _plain(model, params, batch):
  call = jax.jit(lambda params, image: model.apply(
      {'params': params}, {'image': image}))
  return lambda images: jnp.concatenate([
      call(params, jnp.asarray(part)) for part in _parts(images, batch)])


class _Ragged:
  """Attributes:
    fits: of the batches of the last call, which the buffers held.
  """

  def __init__(self, model, params, batch, buffers):
    self._call = ragged.make(model, buffers)
    self._params, self._batch, self.fits = params, batch, []

  def __call__(self, images):
    made = [self._call(self._params, {'image': jnp.asarray(part)})
            for part in _parts(images, self._batch)]
    self.fits = [fit for _, fit in made]
    return jnp.concatenate([logits for logits, _ in made])


def rates(ways: Mapping[str, Callable], images: np.ndarray,
          rounds: int) -> dict[str, np.ndarray]:
  """Pictures a second of every way, float64[rounds]; the ways take turns.

  Each has run before: what they compile depends on the pictures.
  """
  found = {name: [] for name in ways}
  for _, (name, run) in tqdm.tqdm(
      [*itertools.product(range(rounds), ways.items())], 'ways', unit='run',
      disable=None):
    began = time.perf_counter()
    jax.block_until_ready(run(images))
    found[name].append(len(images) / (time.perf_counter() - began))
  return {name: np.array(speeds) for name, speeds in found.items()}


def macs(model: vit.Model, mean_macs: float) -> dict[str, float]:
  """Multiply-accumulates of a picture by way: those that the way pays for.

  Args:
    model: samples tokens.
    mean_macs: of a picture for its own tokens.
  """
  dense = model.clone(ats=None).token_macs()
  slots = model.ats.widths(model.slots)
  return {'dense': dense, 'mask': dense, 'capacity': model.token_macs(slots),
          'sorted': mean_macs, 'ragged': mean_macs}


def compare(exp: Experiment, data: Any, params: Any, sub: Submodel, split: str,
            count: int, row: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Runs the first pictures of a split in all ways.

  Args:
    exp: the experiment.
    data: of it.
    params: of the full model.
    sub: the submodel.
    split: of the data.
    count: pictures, rounded up to whole batches.
    row: what evaluation says of the submodel.

  Returns:
    For each way `way`, `accuracy` in percent, `images_per_s` and `to_dense`,
    medians of the rounds, `macs` of a picture, and `fits`, the share of the
    batches that a ragged buffer held.
  """
  check(exp)
  model, batches = exp.model.at(sub), []
  for batch in data.evaluation(split):
    batches.append(batch)
    if sum(b['mask'].sum() for b in batches) >= count:
      break
  images = np.concatenate([batch['image'] for batch in batches])
  means = [layer['mean'] - layer['lost'] for layer in row['tokens']]
  params = jax.tree.map(jnp.asarray, exp.extract(params, sub))
  ways = make(model, params, len(batches[0]['mask']), means)
  scores = {name: _accuracy(exp, run(images), batches)
            for name, run in ways.items()}
  speeds = rates(ways, images, _ROUNDS)
  paid = macs(model, row['mean_macs'])
  return [{
      'way': name, 'accuracy': scores[name],
      'images_per_s': float(np.median(speeds[name])),
      'to_dense': float(np.median(speeds[name] / speeds['dense'])),
      'macs': float(paid[name])} | (
          {'fits': float(np.mean(run.fits))} if name == 'ragged' else {})
      for name, run in ways.items()]


def _accuracy(exp, logits, batches):
  """Percent of the true examples of batches."""
  parts = np.split(np.asarray(logits), len(batches))
  told = [exp.task.metrics(part, batch, 0)
          for part, batch in zip(parts, batches)]
  total = lambda key: sum(float(one[key][-1]) for one in told)
  return 100 * total('correct') / total('count')


def report(workdir: str | pathlib.Path, split: str, sub: Submodel,
           found: Sequence[Mapping[str, Any]]) -> None:
  """Prints what `compare` found as a table and saves it in the workdir."""
  dense = found[0]
  lines = [('way', 'images/s', 'to dense', 'MACs', 'to dense', 'accuracy')]
  lines += [(one['way'], f'{one["images_per_s"]:,.1f}',
             f'{one["to_dense"]:.2f}x', f'{one["macs"]:,.0f}',
             f'{one["macs"] / dense["macs"]:.2f}', f'{one["accuracy"]:.1f}')
            for one in found]
  name = f'ways_{split}_{sub.path}.json'
  workdirs.write_json(workdir, name, {'split': split, 'ways': list(found)})
  print(f'\nSubmodel {sub} on {jax.devices()[0]}, split {split}; accuracy in '
        f'percent\n{scoring.aligned(lines)}')
  for one in found:
    if one.get('fits', 1) < 1:
      print(f'{1 - one["fits"]:.0%} of the batches did not fit into the ragged '
            'buffers and ran in the capacities.')
  print(f'Saved {pathlib.Path(workdir) / name}', flush=True)
