"""The best checkpoint of a workdir: which it is, by what, and that it stays.

  <workdir>/best.json   its step, its score and what was scored

The file is written once the checkpoint is complete, and the one before is
deleted after that only: whenever a run ends, the file names one that is there.
"""
from collections.abc import Sequence
import dataclasses
import math
import os
import pathlib
from typing import Any

from absl import logging
from bst_jax.store import steps
from bst_jax.store import workdir as workdirs

FILE = 'best.json'
_FIELDS = {'step': int, 'score': float, 'of': str}
STEP_HELP = ('Checkpoint: its step, or best for the one that --config.keep_best '
             'kept; the newest if left out.')


@dataclasses.dataclass(frozen=True)
class Best:
  """A checkpoint and how good it is.

  Attributes:
    step: of it.
    score: of it; more is better.
    of: what was scored, for people.
  """

  step: int
  score: float
  of: str

  def __str__(self) -> str:
    return f'step {self.step} ({self.of}: {self.score:.4g})'


def read(workdir: str | os.PathLike) -> Best | None:
  """The best checkpoint; None where none was kept, or it is there no more."""
  if not (pathlib.Path(workdir) / FILE).exists():
    return None
  known = workdirs.read_json(workdir, FILE, _FIELDS)
  best = Best(*(known[key] for key in _FIELDS))
  if best.step not in steps.steps(steps.folder(workdir)):
    logging.warning('The best checkpoint of %s was that of %s, which is there '
                    'no more.', workdir, best)
    return None
  return best


def write(workdir: str | os.PathLike, best: Best) -> None:
  """Notes a checkpoint, which is complete, as the best."""
  workdirs.write_json(workdir, FILE, dataclasses.asdict(best))


def is_better(score: float, than: Best | None) -> bool:
  """Whether a score beats the best; of equal ones the first stays."""
  return math.isfinite(score) and (than is None or score > than.score)


def step_of(workdir: str | os.PathLike, text: str | None) -> int | None:
  """The step that a --step names; None for the newest.

  Raises:
    ValueError: it is neither a number nor `best`, or no best one was kept.
  """
  if text is None:
    return None
  if text.isdecimal():
    return int(text)
  known = steps.steps(steps.folder(workdir))
  there = f'There are the steps {steps.listed(known)}.' if known else ''
  if text != 'best':
    raise ValueError(f'--step={text} is neither the step of a checkpoint nor '
                     f'best. {there}')
  best = read(workdir)
  if best is None:
    raise ValueError(
        f'--step=best was asked for, but {workdir} has kept no best checkpoint; '
        f'train with --config.keep_best, or give another --step. {there}')
  logging.info('The best checkpoint is that of %s.', best)
  return best.step


class Policy:
  """Keeps one checkpoint whatever else is deleted, as orbax asks for it.

  Attributes:
    step: of that; None for none.
  """

  def __init__(self, step: int | None):
    self.step = step

  def should_preserve(self, checkpoints: Sequence[Any], *,
                      context: Any) -> Sequence[bool]:
    """Which of the checkpoints stay."""
    del context
    return [known.step == self.step for known in checkpoints]
