"""One file of records: written beside, and then whole or not there."""
from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import dataclasses
import errno
import itertools
import os
import time
from typing import Any
import zlib

from array_record.python import array_record_module
from bst_jax.data.builders.problems import Problems, TooMany
from bst_jax.data.making import plan as plan_lib
from bst_jax.host import files
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

# A record a group: records are read in a random order.
_OPTIONS = 'group_size:1'
_TOLD = 0.5  # seconds between two reports of progress
_FULL = errno.ENOSPC, errno.EDQUOT


@dataclasses.dataclass
class Shard:
  """What is known of a file of records.

  Attributes:
    first: item that it begins with; of a generator, the number of a record.
    end: item behind its last.
    records: how many it holds.
    payload: bytes of the records.
    checksum: CRC-32 of the records.
    size: bytes of the file.
    problems: what is unusable of its items, as `Problems.report`.
    notes: of its records, for `Plan.finish`.
  """

  first: int
  end: int
  records: int = 0
  payload: int = 0
  checksum: int = 0
  size: int = 0
  problems: dict[str, Any] = dataclasses.field(default_factory=dict)
  notes: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Encoder:
  """How examples become records.

  Attributes:
    features: of the data set.
    compressed: zstd; that costs more than it saves where the content is
      compressed already, or is numbers of networks.
  """

  features: tfds.features.FeaturesDict
  compressed: bool

  def __call__(self, examples: Iterable[dict]) -> Iterator[bytes]:
    """The serialized records of examples: the same bytes in any process."""
    serializer = example_serializer.ExampleSerializer(
        self.features.get_serialized_info())
    for example in examples:
      # A message's parts have no order by themselves.
      yield serializer.get_tf_example(self.features.encode_example(example)
                                      ).SerializeToString(deterministic=True)


@dataclasses.dataclass(frozen=True)
class Job:
  """A shard to be made of items; it can be sent to another process."""

  path: str
  shard: Shard
  items: Sequence[Any]
  read: Callable
  encoder: Encoder
  most_bad: int


def make(job: Job, tell: Callable[[int, int], None]) -> Shard:
  """Makes the shard of a job.

  Args:
    job: what to make.
    tell: takes the numbers of records and bytes since it was last called.
  """
  noted, notes = Problems(job.most_bad), []

  def examples():
    for example, note in plan_lib.usable(job.read, job.items, noted):
      yield example
      notes.append(note)

  try:
    with noted.gathered():
      shard = write(job.path, job.shard, job.encoder(examples()),
                    job.encoder.compressed, tell)
  except TooMany:  # Who asked counts them with those of other shards.
    shard = job.shard
  shard.problems, shard.notes = noted.report(), notes
  return shard


def write(path: str, shard: Shard, records: Iterable[bytes], compressed: bool,
          tell: Callable[[int, int], None],
          place: str = 'config.data.data_dir') -> Shard:
  """Writes records to a file, which then is whole and on disk.

  Args:
    path: of the file.
    shard: what is known of it so far; is changed.
    records: serialized.
    compressed: see `Encoder`.
    tell: see `make`.
    place: what names its folder, for errors.

  Raises:
    ValueError: the disk is full.
  """
  options = _OPTIONS if compressed else f'{_OPTIONS},uncompressed'
  told, before = (0, 0), time.monotonic()
  with named_if_full(path, place), files.beside(path) as part:
    with contextlib.closing(
        array_record_module.ArrayRecordWriter(os.fspath(part), options)
    ) as file:
      for record in records:
        file.write(record)
        shard.records += 1
        shard.payload += len(record)
        shard.checksum = zlib.crc32(record, shard.checksum)
        if time.monotonic() - before > _TOLD:
          tell(shard.records - told[0], shard.payload - told[1])
          told, before = (shard.records, shard.payload), time.monotonic()
    shard.size = os.path.getsize(part)
  tell(shard.records - told[0], shard.payload - told[1])
  return shard


def up_to(limit: int, records: Iterator[bytes]) -> Iterator[bytes]:
  """Takes records until they are `limit` bytes or more."""
  total = 0
  for record in records:
    yield record
    total += len(record)
    if total >= limit:
      return


def has_more(records: Iterator[bytes]) -> tuple[bool, Iterator[bytes]]:
  """Whether an iterator goes on, and it from there."""
  for record in records:
    return True, itertools.chain([record], records)
  return False, records


@contextlib.contextmanager
def named_if_full(path: str | os.PathLike,
                  place: str = 'config.data.data_dir') -> Iterator[None]:
  """Says it plainly where a disk is full.

  Args:
    path: of the file that is written.
    place: what names its folder.

  Raises:
    ValueError: it is; what is whole already stays.
  """
  try:
    yield
  except (OSError, RuntimeError) as error:
    # array_record raises RuntimeError with the system's words for it.
    if getattr(error, 'errno', None) not in _FULL and not any(
        os.strerror(number) in str(error) for number in _FULL):
      raise
    raise ValueError(
        f'{path} was to be written, but the disk is full. Make room, or give '
        f'another place as {place}, and start again: the shards that are whole '
        'stay.') from error
