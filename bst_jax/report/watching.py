"""What a training tells of its parameters: on the way, and at its end."""
from collections.abc import Callable, Mapping
import pathlib
from typing import Any

from bst_jax import scores
from bst_jax.report import scoring
from bst_jax.run.jobs import Job
from bst_jax.run.training import Reports
import jax
import ml_collections


def watch(job: Job) -> Callable[[Any, Callable], dict[str, float]]:
  """Scores of the two ends of the space, for the log during training."""
  score = scoring.make_scorer(job.exp, job.data, job.mesh)
  options = job.config.data
  split = options.get('watch', options.eval)
  submodels = job.exp.space.submodels
  ends = [*dict.fromkeys((submodels[0], submodels[-1]))]

  def measure(params, over):
    rows = score(params, ends, over(job.data.evaluation(split)))
    return {f'eval/{split}/{sub.path}/{name}': value
            for sub, found in zip(ends, rows)
            for name, value in scores.numbers(found).items()}

  return measure


def finish(job: Job, params: Any) -> None:
  """Evaluates every submodel; table, JSON and picture go to the workdir."""
  result = scoring.evaluate(job.exp, job.data, params, job.exp.space.submodels,
                            job.config.data.eval, job.mesh)
  if jax.process_index() == 0:
    scoring.report(job.workdir, result | {'step': job.total})


def finished(config: ml_collections.ConfigDict,
             workdir: pathlib.Path) -> pathlib.Path | None:
  """The table that `finish` writes, where also its picture is there."""
  table = workdir / f'evaluation_{config.data.eval}.json'
  return table if table.with_suffix('.png').exists() else None


def score(numbers: Mapping[str, float]) -> tuple[float, str]:
  """What checkpoints are compared by: the mean of the main numbers of `watch`.

  Returns:
    The mean over the submodels, and what it is of.
  """
  main = {}  # eval/split/submodel -> its first number, which is the main one
  for name, value in numbers.items():
    main.setdefault(tuple(name.split('/', 3)[:3]), (name, value))
  return (sum(value for _, value in main.values()) / len(main),
          'mean of ' * (len(main) > 1) + ' and '.join(
              name for name, _ in main.values()))


REPORTS = Reports(watch, finish, finished, score)
