"""Measured time of submodels, beside what the machine can do at that moment."""
from collections.abc import Callable, Sequence
import time
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import Submodel
from bst_jax.host import alive
from bst_jax.report import costs
from bst_jax.run import experiment, room
import jax
import jax.numpy as jnp
import numpy as np


def median_seconds(run: Callable[[], Any], runs: int) -> float:
  """Median wall time of warm calls of `run`, which returns arrays."""
  jax.block_until_ready(run())
  times = []
  for _ in range(runs):
    began = time.perf_counter()
    jax.block_until_ready(run())
    times.append(time.perf_counter() - began)
  return float(np.median(times))


def product_rate(size: int = 2048, runs: int = 7) -> float:
  """Multiply-accumulates a second of a square float32 matrix product."""
  a = jnp.ones((size, size)) / size
  product = jax.jit(lambda a: a @ a)
  return size ** 3 / median_seconds(lambda: product(a), runs)


def random_params(exp: experiment.Experiment) -> Any:
  """Small random parameters of the full model, quickly."""
  room.check_params(exp)
  rng = np.random.default_rng(0)

  def draw(path, shape):
    noise = 0.02 * rng.standard_normal(shape.shape, np.float32)
    # A negative variance would make NaN of everything behind it.
    return jnp.asarray(1 + noise if path[-1].key == 'var' else noise)

  return jax.tree_util.tree_map_with_path(draw, exp.shapes)


def measure(exp: experiment.Experiment, params: Any, subs: Sequence[Submodel],
            batch: int, runs: int) -> list[dict[str, Any]]:
  """Costs and latency of submodels, each as the smaller model that it is.

  Args:
    exp: the experiment.
    params: parameters of the full model; None takes random ones.
    subs: the submodels.
    batch: questions, and pictures, at a time.
    runs: timed runs, of which the median counts.

  Returns:
    A dict a submodel: exact parameters and multiply-accumulates of a question,
    FLOPs by every convention and XLA's own count, milliseconds of the whole
    batch, and the share of a plain matrix product's rate that it reaches.
  """
  params = random_params(exp) if params is None else params
  with alive.told(f'measuring {len(subs)} submodels') as stretch:
    return [_measured(exp, params, sub, batch, runs)
            for sub in stretch.over(subs, 'submodel')]


def _measured(exp, params, sub, batch, runs):
  """What `measure` tells of a submodel."""
  small, inputs = exp.model.at(sub), exp.example(batch)
  part = jax.jit(lambda p: exp.extract(p, sub))(params)
  run = jax.jit(lambda p, b: small.apply({'params': p}, b)).lower(
      part, inputs).compile()
  count = costs.of(small, part, inputs)
  seconds = median_seconds(lambda: run(part, inputs), runs)
  # The rate of the machine now, as others may use it too.
  rate = product_rate()
  return {
      'submodel': str(sub), 'params': elastic.size(part),
      'macs': count.macs // batch,
      **{f'flops_{name}': convention(count) // batch
         for name, convention in costs.CONVENTIONS.items()},
      'xla_flops': run.cost_analysis()['flops'] / batch,
      'latency_ms': 1e3 * seconds, 'macs_per_s': count.macs / seconds,
      'utilisation': count.macs / seconds / rate}
