"""Batch dicts of given pictures and questions."""
import dataclasses

from bst_jax.data import tables
import numpy as np


@dataclasses.dataclass(frozen=True)
class Shape:
  """What a batch is made of.

  Attributes:
    pictures: P, pictures of a host's batch.
    questions: Q, questions of each picture.
    shard_index: this host.
    shard_count: number of hosts; the global batch has P times as many.
  """

  pictures: int
  questions: int
  shard_index: int = 0
  shard_count: int = 1

  def mine(self, everyone: np.ndarray) -> np.ndarray:
    """This host's share of what belongs to a global batch."""
    first = self.shard_index * self.pictures
    return everyone[first:first + self.pictures]


def shape(batch: int, questions: int, index: int, count: int,
          what: str = 'questions') -> Shape:
  """Shape of this host's share of a batch.

  Args:
    batch: questions over all hosts.
    questions: of each picture.
    index, count: this host, and how many there are.
    what: a batch is of, for errors.
  """
  if not 0 <= index < count:
    raise ValueError(
        f'Shard {index} of {count} was asked for, but shards are numbered '
        f'from 0; use 0 to {count - 1}.')
  step = count * questions
  if batch <= 0 or batch % step:
    fits = max(step, round(batch / step) * step)
    each = f' with {questions} questions a picture' if (
        what == 'questions') else ''
    raise ValueError(
        f'A batch of {batch} {what} was asked for, but {count} hosts{each} '
        f'need a multiple of {step}. The closest is {fits}.')
  return Shape(batch // step, questions, index, count)


class Batches:
  """Makes batch dicts of pictures and questions, by number."""

  def __init__(self, rows: tables.Rows, pictures, shape: Shape):
    """Takes `pictures(int[P]) -> dict of arrays`."""
    self.rows, self._pictures, self.shape = rows, pictures, shape
    self.start, self.repeats, self.views = rows.start, 1, 1

  def __call__(self, pictures: np.ndarray, questions: np.ndarray,
               mask: np.ndarray, draws: object = None,
               ) -> dict[str, np.ndarray]:
    """A batch.

    Args:
      pictures: int[P], negative for padding.
      questions: int[P, Q].
      mask: bool[P, Q], false for padding.
      draws: not used: nothing here is random.
    """
    rows, real = questions.reshape(-1), mask.reshape(-1)
    batch = self._pictures(pictures)
    batch['tokens'] = self.rows.tokens[rows]  # [B, T]
    batch['target'] = self.rows.dense(self.rows.target, rows)  # [B, A]
    batch['score'] = self.rows.dense(self.rows.score, rows)
    batch['type'] = self.rows.type[rows]
    batch['mask'] = real
    if not real.all():
      for key in ('tokens', 'target', 'score', 'type'):
        batch[key] = np.where(
            real.reshape(-1, *[1] * (batch[key].ndim - 1)), batch[key], 0
        ).astype(batch[key].dtype)
    return batch

  def units(self) -> np.ndarray:
    """int[n], the pictures of what an epoch goes over.

    With one question a picture these are the owners of all questions in
    order, else the pictures that have questions.
    """
    counts = np.diff(self.start)
    if self.shape.questions == 1:
      return np.repeat(np.arange(len(counts)), counts)
    return np.flatnonzero(counts)

  def epoch(self) -> float:
    """Global batches of an epoch; the last one may be a part."""
    return len(self.units()) / (self.shape.pictures * self.shape.shard_count)

  def empty(self) -> dict[str, np.ndarray]:
    """A batch of zeros."""
    shape = self.shape.pictures, self.shape.questions
    return self(np.full(shape[0], -1), np.zeros(shape, int),
                np.zeros(shape, bool))
