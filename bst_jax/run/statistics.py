"""Batch statistics in a run: what it is warned of, and how they are taken anew."""
from collections.abc import Callable, Iterable
import itertools
from typing import Any

from absl import logging
from bst_jax import elastic
from bst_jax.learn import state as states
from bst_jax.learn import statistics
from bst_jax.run.experiment import Experiment
from flax import linen as nn
import jax

# With fewer examples in a normalisation, its statistics say little.
FEW = 16
# After these, what was before counts for less than 3 in 100,000.
BATCHES = 100


def measured(exp: Experiment) -> bool:
  """Whether training normalises by batches, and stores their statistics."""
  written = jax.eval_shape(
      lambda params, batch, key: states.forward(
          exp.model, params, batch, key)[1],
      exp.shapes, exp.example(2), jax.random.key(0))
  return bool(jax.tree.leaves(written))


def warn(exp: Experiment, pictures: int, at_random: bool) -> None:
  """Warns of a training whose statistics will mean little.

  Args:
    exp: the experiment.
    pictures: or examples without one, that are worked on at once, on all
      devices together: what a normalisation has.
    at_random: training starts from no trained parameters.
  """
  if not any('/stats/' in path for path in elastic.flatten(exp.shapes)):
    return
  if measured(exp):
    if pictures < FEW:
      logging.warning(
          'Training normalises by the statistics of %d examples at a time, and '
          'those of fewer than %d say little. Raise config.data.batch or lower '
          'config.micro_batches; or start from a trained model with '
          "config.model.batch_stats='stored'.", pictures, FEW)
  elif at_random:
    logging.warning(
        'Model %s starts at random, and its batch statistics stay as they '
        'begin: means of 0 and variances of 1, which nobody measured. Set '
        "config.model.batch_stats='batch', or start from a trained workdir.",
        exp.config.model.name)


def warn_of_parts(exp: Experiment, subs: Iterable[elastic.Submodel]) -> None:
  """Warns where submodels are about to run with the full model's statistics."""
  parts = [str(sub) for sub in subs if sub != elastic.FULL]
  if parts and measured(exp):
    logging.warning(
        'Submodels %s run with the batch statistics of the full model, which '
        'are not theirs, and score lower than they could. To score each with '
        'its own: python -m bst_jax.evaluate --recalibrate %d. Extract one '
        '(python -m bst_jax.extract) to export it so.', ', '.join(parts),
        BATCHES)


def recalibrated(exp: Experiment, small: nn.Module, params: Any,
                 load: Callable[[], Any], count: int = BATCHES) -> Any:
  """Parameters of a part of a model, with batch statistics of its own.

  The stored ones are those of the full model, and a part has others. Batches of
  training are blended in as a step would, and nothing learns.

  Args:
    exp: the experiment of the full model.
    small: the part.
    params: of the part, with the full model's statistics.
    load: opens the data, if they are needed.
    count: how many batches; 0 keeps the statistics.

  Returns:
    The parameters; as they were if the model's training measures nothing.
  """
  if not measured(exp):
    return params
  if not count:
    logging.warning('The batch statistics stay those of the full model, with '
                    'which a part of it scores lower than with its own.')
    return params
  logging.info(
      'Taking batch statistics anew from %d training batches: the stored ones '
      'are those of the full model.', count)
  data = load()

  @jax.jit
  def blend(params, batch, key):
    _, written = states.forward(small, params, batch, key)
    return statistics.put_over(params, written)

  for i, batch in enumerate(itertools.islice(data.train(), count)):
    params = blend(params, batch, jax.random.key(i))
  return jax.device_get(params)
