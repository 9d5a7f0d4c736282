"""Scores of submodels with batch statistics of their own, as extract takes them.

Reference: once-for-all networks (arXiv 1908.09791) take the statistics of each
submodel anew from training pictures before it is evaluated.
"""
from collections.abc import Sequence
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import Choice, Submodel
from bst_jax.report import scoring
from bst_jax.run import experiment, statistics
from bst_jax.run.experiment import Experiment
import jax


def check(exp: Experiment) -> None:
  """Raises where no statistics can be taken anew.

  Raises:
    ValueError: training stores none, or there are several processes.
  """
  if not statistics.measured(exp):
    raise ValueError(
        '--recalibrate takes batch statistics anew, but training of model '
        f"{exp.config.model.name} measures none; leave it out, or train with "
        "config.model.batch_stats='batch' where the model has it.")
  if jax.process_count() > 1:
    raise ValueError('--recalibrate works in one process; leave out '
                     '--multihost.')


def evaluate(exp: Experiment, data: Any, params: Any,
             subs: Sequence[Submodel], split: str, mesh: Any,
             count: int) -> dict[str, Any]:
  """As `scoring.evaluate`, each submodel with statistics of its own.

  Args:
    exp, data, params, subs, split, mesh: as there.
    count: training batches that they are taken from.
  """
  parts = []
  for sub in subs:  # The full model has its own.
    small, own = exp, params
    if sub != elastic.FULL:
      small = experiment.chosen(experiment.whole(exp), Choice(sub))
      own = statistics.recalibrated(
          exp, small.model, exp.extract(params, sub), lambda: data, count)
    parts.append((sub, small, own))
  rows = []
  with jax.set_mesh(mesh):
    for sub, small, own in parts:
      result = scoring.evaluate(small, data, own, (elastic.FULL,), split, mesh)
      rows += [row | {'submodel': str(sub),
                      'trained': sub in exp.space.submodels}
               for row in result['rows']]
  return result | {'rows': rows, 'recalibrated': count}
