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

from bst_jax.elastic import Submodel
from bst_jax.host import alive
from bst_jax.models import vit
from bst_jax.report import scoring, token_macs
from bst_jax.run.experiment import Experiment
from bst_jax.sampling import bucketed, ragged
from bst_jax.scores import Gather
from bst_jax.scores import tokens as token_counts
from bst_jax.store import workdir as workdirs
import jax
import jax.numpy as jnp
import numpy as np

_TOGETHER = 4  # Batches that are sorted by their counts.
_ROUNDS = 3


def check(exp: Experiment, sub: Submodel) -> None:
  """Raises a ValueError where there is nothing to compare."""
  if not isinstance(exp.model, vit.Model):
    raise ValueError(
        '--ways compares runs whose tensors shrink on the way, which model vit '
        f'alone has; this is model {exp.config.model.name}.')
  token_counts.check(exp, sub, '--ways compares what sampled tokens save')
  if jax.process_count() > 1:
    raise ValueError('--ways measures one process, and there are '
                     f'{jax.process_count()}; evaluate with it in one.')


def make(model: vit.Model, params: Any, batch: int, means: Sequence[float],
         margin: float = 0.03) -> dict[str, Callable]:
  """Functions uint8[n, H, W, 3] -> float[n, A], n a multiple of `batch`.

  Args:
    model: samples tokens; its capacities bound the ragged run, and where it has
      none there is no run of that name. A softmax that leaks has no run whose
      tensors shrink otherwise.
    params: of it.
    batch: pictures that run together.
    means: tokens of a picture behind each sampling layer, the lead not counted.
    margin: see `ragged.lengths`; which batches fitted is in `fits` of the run.
  """
  # No gradient is asked for.
  ats = dataclasses.replace(model.ats, grad='hard', fill=False)
  model = model.clone(ats=ats)
  mask = model.clone(ats=dataclasses.replace(ats, capacity=None))
  runs = {'dense': _plain(model.clone(ats=None), params, batch),
           'mask': _plain(mask, params, batch)}
  if ats.capacity is not None:
    runs['capacity'] = _plain(model, params, batch)
  if not ats.policy_eps:
    sort = bucketed.Bucketed(mask, params, batch)
    runs['sorted'] = lambda images: np.concatenate([
        sort({'image': part})['classes']
        for part in _parts(images, _TOGETHER * batch)])
  if ragged.runs(ats) and model.head_reads == 'class':
    runs['ragged'] = _Ragged(model, params, batch, ragged.lengths(
        means, batch, model.lead, margin))
  return runs


def _parts(images, size):
  return [images[i:i + size] for i in range(0, len(images), size)]


def _plain(model, params, batch):
  call = jax.jit(lambda params, image: model.apply(
      {'params': params}, {'image': image})['classes'])
  # Batch by batch: a long queue of them would hold all pictures.
  return lambda images: np.concatenate([
      np.asarray(call(params, part)) for part in _parts(images, batch)])


class _Ragged:
  """Attributes:
    fits: of the batches of the last call, which the buffers held.
  """

  def __init__(self, model, params, batch, buffers):
    self._call = ragged.make(model, buffers)
    self._params, self._batch, self.fits = params, batch, []

  def __call__(self, images):
    made = [jax.device_get(self._call(self._params, {'image': part}))
            for part in _parts(images, self._batch)]
    self.fits = [bool(fit) for _, fit in made]
    return np.concatenate([outputs['classes'] for outputs, _ in made])


def rates(ways: Mapping[str, Callable], images: np.ndarray,
          rounds: int) -> dict[str, np.ndarray]:
  """Pictures a second of every way, float64[rounds]; the ways take turns.

  Each returns arrays of the host, and has run before: what they compile depends
  on the pictures.
  """
  speeds = {name: [] for name in ways}
  turns = [*itertools.product(range(rounds), ways.items())]
  with alive.told('timing the ways to run sampled tokens') as stretch:
    for _, (name, run) in stretch.over(turns, 'run'):
      began = time.perf_counter()
      run(images)
      speeds[name].append(len(images) / (time.perf_counter() - began))
  return {name: np.array(taken) for name, taken in speeds.items()}


def macs(model: vit.Model, example: Mapping[str, Any],
         mean_macs: float) -> dict[str, float]:
  """Multiply-accumulates of a picture by way.

  Args:
    model: samples tokens.
    example: a batch of one picture.
    mean_macs: of a picture for its own tokens, within the capacities: the least
      that the ways pay whose tensors follow the tokens.
  """
  dense = token_macs.fit(model.clone(ats=None), example)()
  few = token_macs.fit(model, example)(model.ats.widths(model.slots))
  return {'dense': dense, 'mask': dense, 'capacity': few,
          'sorted': mean_macs, 'ragged': mean_macs}


def compare(exp: Experiment, data: Any, params: Any, sub: Submodel, split: str,
            count: int, row: Mapping[str, Any]) -> dict[str, Any]:
  """Runs pictures of a split, taken at equal distances, in all ways.

  They run on one device, in the batches that it has of evaluation's.

  Args:
    exp: the experiment.
    data: of it.
    params: of the full model.
    sub: the submodel.
    split: of the data.
    count: pictures, cut to whole batches.
    row: what evaluation says of the submodel.

  Returns:
    `split`, `submodel`, `images` and `batch`, their numbers, and a list `ways`,
    of each its `name`, `accuracy` in percent, `images_per_s` and `to_dense`,
    medians of the rounds, `macs` of a picture, and of ragged `fits`, the share
    of the batches that its buffers held.
  """
  check(exp, sub)
  images, labels = [], []
  for batch in data.calibration(split, limit=count):
    size = len(batch['mask']) // jax.local_device_count()
    images.append(batch['image'][batch['mask']])
    labels.append(batch['label'][batch['mask']])
  images, labels = np.concatenate(images), np.concatenate(labels)
  size = max(1, min(size, len(images)))
  whole = len(images) // size * size
  images, labels = images[:whole], labels[:whole]

  model = exp.model.at(sub)
  means = [layer['mean'] - layer['lost'] for layer in row['tokens']]
  params = jax.tree.map(jnp.asarray, exp.extract(params, sub))
  ways = make(model, params, size, means)
  scores = {}
  for name, run in ways.items():
    gather, labelled = Gather(exp.task.measure), {
        'label': labels, 'mask': np.ones(whole, bool)}
    gather.add(exp.task.measure.read({'classes': run(images)}, labelled),
               labelled['mask'])
    scores[name] = next(iter(gather.finish(data).values()))
  speeds = rates(ways, images, _ROUNDS)
  paid = macs(model, exp.example(), row['mean_macs'])
  return {'split': split, 'submodel': str(sub), 'images': whole, 'batch': size,
          'ways': [{
              'name': name, 'accuracy': scores[name],
              'images_per_s': float(np.median(speeds[name])),
              'to_dense': float(np.median(speeds[name] / speeds['dense'])),
              'macs': float(paid[name])} | (
                  {'fits': float(np.mean(run.fits))} if name == 'ragged' else {})
                   for name, run in ways.items()]}


def report(workdir: str | pathlib.Path, sub: Submodel,
           compared: Mapping[str, Any]) -> None:
  """Prints what `compare` returns as a table and saves it in the workdir."""
  ways = compared['ways']
  lines = [('way', 'images/s', 'to dense', 'MACs *', 'to dense', 'accuracy')]
  lines += [(one['name'], f'{one["images_per_s"]:,.1f}',
             f'{one["to_dense"]:.2f}x', f'{one["macs"]:,.0f}',
             f'{one["macs"] / ways[0]["macs"]:.2f}', f'{one["accuracy"]:.1f}')
            for one in ways]
  name = f'ways_{compared["split"]}_{sub.path}.json'
  workdirs.write_json(workdir, name, dict(compared))
  print(f'\nSubmodel {sub} on {jax.devices()[0]}, {compared["images"]:,} '
        f'images of split {compared["split"]} in batches of '
        f'{compared["batch"]}, accuracy in percent\n{scoring.aligned(lines)}\n'
        '* of a picture; of sorted and ragged the least, for its own tokens')
  for one in ways:
    if one.get('fits', 1) < 1:
      print(f'{1 - one["fits"]:.0%} of the batches did not fit into the ragged '
            'buffers and ran in the capacities.')
  print(f'Saved {pathlib.Path(workdir) / name}', flush=True)
