"""Trainings of a benchmark and their accuracies, which are kept.

What was done is not done again: a benchmark that was stopped goes on where it was.
"""
from collections.abc import Sequence
import pathlib
from typing import Any

from bst_jax import train
from bst_jax.elastic import FULL, Submodel
from bst_jax.learn import sharding
from bst_jax.report import scoring
from bst_jax.run import experiment
from bst_jax.scores import main as main_score
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
import jax


def programs(output: pathlib.Path) -> None:
  """Keeps compiled programs there: the seeds of one variant share them."""
  jax.config.update('jax_compilation_cache_dir', str(
      output.absolute() / 'programs'))


def trained(workdir: pathlib.Path, config: Any) -> pathlib.Path:
  """The workdir, once a config was trained in it; nothing is evaluated."""
  if not (workdir / 'done').exists():
    config.evaluate_at_end = False
    train.run(config, workdir)
    (workdir / 'done').touch()
  return workdir


def scored(workdir: pathlib.Path, subs: Sequence[Submodel] = (FULL,),
           step: int | None = None) -> list[dict[str, Any]]:
  """For every submodel on the test split: `accuracy`, `params` and `macs`.

  Args:
    workdir: of a model that was trained or cut.
    subs: whose accuracies are wanted.
    step: of a checkpoint; None for the last one.
  """
  parts = [sub.path for sub in subs]
  name = f'kept_{step or "last"}_{parts[0]}_{len(parts)}_{parts[-1]}.json'
  if not (workdir / name).exists():
    exp, mesh = experiment.load(workdir), sharding.make_mesh({'data': -1})
    params = checkpoint.load_params(workdir, exp.shapes, step)
    with jax.set_mesh(mesh):
      found = scoring.evaluate(exp, experiment.load_data(exp.config, workdir),
                               params, subs, 'test', mesh)
    workdirs.write_json(workdir, name, {'rows': [
        {'accuracy': main_score(row), 'params': row['params'],
         'macs': row['macs']} for row in found['rows']]})
  return workdirs.read_json(workdir, name, {'rows': list})['rows']


def spread(values: Sequence[float]) -> str:
  """Mean and range."""
  return (f'{sum(values) / len(values):.1f} '
          f'({min(values):.1f} to {max(values):.1f})')
