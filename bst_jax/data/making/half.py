"""The folder of a data set that is not whole yet.

It lies beside the place of the data set, and holds for each shard a file of
records and one of what is known of it, so that a maker that was killed goes on.
"""
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from typing import Any

from absl import logging
from bst_jax.data.making.shards import Shard
from bst_jax.host import files

ENDING = '.making'  # of the folder's name
INDEX = 'shards.json'  # of a whole data set
_HEAD = 'begun.json'


class Half:
  """A half-made data set.

  Attributes:
    path: its folder.
  """

  def __init__(self, whole: str | os.PathLike):
    """`whole` is the folder of the data set when it is made."""
    self.whole = pathlib.Path(whole)
    self.path = self.whole.with_name(self.whole.name + ENDING)

  def begin(self, head: Mapping[str, Any]) -> None:
    """Goes on with what is there if it was begun alike, or begins anew.

    Args:
      head: what the shards depend on; it goes into JSON.
    """
    head = json.loads(json.dumps(head))
    try:
      begun = json.loads((self.path / _HEAD).read_text('utf-8'))
    except (OSError, ValueError):
      begun = None
    if begun != head:
      if begun is not None:
        differ = sorted(k for k in {*begun, *head}
                        if begun.get(k) != head.get(k))
        logging.warning(
            '%s was made halfway, but since then there was a change of %s: '
            'none of its shards is used, and the data set is made anew.',
            self.whole, ', '.join(differ))
      shutil.rmtree(self.path, ignore_errors=True)
      self.path.mkdir(parents=True)
      self._write(_HEAD, head)
    self._take_back()
    for rest in self.path.glob('*.tmp*'):  # Of a process that was killed.
      rest.unlink(missing_ok=True)

  def records(self, split: str, number: int) -> str:
    """Path of the records of a shard."""
    return os.fspath(self.path / f'{split}-{number:05}.records')

  def keep(self, split: str, number: int, shard: Shard) -> None:
    """Notes that a shard is whole."""
    self._write(f'{split}-{number:05}.json', dataclasses.asdict(shard))

  def kept(self, split: str, number: int) -> Shard | None:
    """What is known of a shard that is whole; None where it is not."""
    try:
      about = (self.path / f'{split}-{number:05}.json').read_text('utf-8')
      shard = Shard(**json.loads(about))
      whole = os.path.getsize(self.records(split, number)) == shard.size
    except (OSError, ValueError, TypeError):
      return None
    return shard if whole else None

  def notes(self, split: str, number: int) -> Iterator[Any]:
    """Notes of the records of the first shards, in order."""
    for shard in range(number):
      yield from self.kept(split, shard).notes

  def publish(self, splits: Mapping[str, Sequence[tuple[str, int, Shard]]],
              facts: Mapping[str, Any]) -> None:
    """Makes it the whole data set.

    Its index is a file of the data set: which items each file of records is
    of, so that one that is lost can be made alone.

    Args:
      splits: of each split (name of the file, number, shard).
      facts: more of the index.
    """
    index = {split: [
        dict(dataclasses.asdict(shard), file=name, number=number, problems={},
             notes=[]) for name, number, shard in each]
             for split, each in splits.items()}
    self._write(INDEX, dict(facts, splits=index))
    for split, each in splits.items():
      for name, number, _ in each:
        os.rename(self.records(split, number), self.path / name)
    shutil.rmtree(self.whole, ignore_errors=True)
    os.rename(self.path, self.whole)
    for rest in (self.whole / _HEAD, *self.whole.glob('*-?????.json')):
      rest.unlink()

  def _take_back(self):
    """Undoes the names of a maker that was killed while it published."""
    with contextlib.suppress(FileNotFoundError):
      index = json.loads((self.path / INDEX).read_text('utf-8'))
      for split, each in index['splits'].items():
        for about in each:
          with contextlib.suppress(FileNotFoundError):
            os.rename(self.path / about['file'],
                      self.records(split, about['number']))

  def _write(self, name, value):
    with files.beside(self.path / name) as place:
      place.write_text(json.dumps(value, ensure_ascii=False), 'utf-8')
