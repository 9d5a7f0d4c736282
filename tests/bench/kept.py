"""Trainings of a benchmark and their accuracies, which are kept.

What was done is not done again: a benchmark that was stopped goes on where it was.
"""
import argparse
from collections.abc import Sequence
import pathlib
from typing import Any

from bst_jax import train
from bst_jax.elastic import FULL, Submodel
from bst_jax.host import processor
from bst_jax.learn import sharding
from bst_jax.report import scoring
from bst_jax.run import experiment
from bst_jax.scores import main as main_score
from bst_jax.scores import numbers
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
from configs import up_fashion
import jax


def programs(output: pathlib.Path) -> None:
  """Keeps compiled programs there: the seeds of one variant share them.

  The first that a benchmark does with jax.
  """
  processor.tune()
  jax.config.update('jax_compilation_cache_dir', str(
      output.absolute() / 'programs'))


def trained(workdir: pathlib.Path, config: Any) -> pathlib.Path:
  """The workdir, once a config was trained in it; nothing is evaluated."""
  if not (workdir / 'done').exists():
    config.evaluate_at_end = False
    train.run(config, workdir)
    (workdir / 'done').touch()
  return workdir


def parser(doc: str) -> argparse.ArgumentParser:
  """Options of all benchmarks of a parent and what is cut out of it."""
  found = argparse.ArgumentParser(
      description=doc, formatter_class=argparse.RawTextHelpFormatter)
  found.add_argument('--output', type=pathlib.Path, required=True)
  found.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
  found.add_argument('--parent_steps', type=int, default=1000)
  found.add_argument('--steps', type=int, default=400)
  found.add_argument('--manual_dir', default='',
                     help="Folder of Fashion-MNIST's four files.")
  return found


def of_fashion(folder: str, variant: str, args: argparse.Namespace, seed: int,
               **changes: Any) -> pathlib.Path:
  """The workdir of a variant of configs/up_fashion.py, trained in `folder`."""
  config = up_fashion.get_config(variant)
  config.seed, config.data.manual_dir = seed, args.manual_dir
  config.save_every = 10 ** 6
  if 'model' in changes:  # Whole: what was cut has sizes of its own.
    config.model = changes.pop('model')
  config.update(changes)
  return trained(args.output / folder, config)


def scored(workdir: pathlib.Path, subs: Sequence[Submodel] = (FULL,),
           step: int | None = None) -> list[dict[str, Any]]:
  """For every submodel on the test split: `accuracy`, `params` and `macs`.

  `accuracy` is the main number, and `numbers` has all of them by name.

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
        {'accuracy': main_score(row), 'numbers': numbers(row),
         'params': row['params'], 'macs': row['macs']}
        for row in found['rows']]})
  return workdirs.read_json(workdir, name, {'rows': list})['rows']


def space_of(workdir: pathlib.Path) -> Sequence[Submodel]:
  """The submodels that a workdir was trained with."""
  return experiment.load(workdir).space.submodels


def spread(values: Sequence[float]) -> str:
  """Mean and range."""
  return (f'{sum(values) / len(values):.1f} '
          f'({min(values):.1f} to {max(values):.1f})')
