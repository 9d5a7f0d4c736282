"""A data set that is there when it is asked for: opened, or made first."""
from collections.abc import Callable
import contextlib
import os
import pathlib
import shutil

from absl import logging
from bst_jax.data import buckets, fetched, manual
from bst_jax.data.builders import found
from bst_jax.data.making import data_sets, maker, mending
import tensorflow_datasets as tfds

try:
  import fcntl
except ImportError:  # Not a POSIX system: two processes are not kept apart.
  fcntl = None


def prepare(name: str, home: str = '', manual_dir: str = '',
            max_bad: int = 0, max_missing: float = 1.0,
            check: Callable[[tfds.core.DatasetBuilder], object] | None = None,
            *, store_dtype: str = '', position: str = '',
            check_videos: str = 'all', processes: int = 0, shard_bytes: int = 0,
            ) -> tfds.core.DatasetBuilder:
  """TFDS builder of a data set that is on disk; makes it if it is not.

  Two processes may ask for the same set at the same time: one makes it, the
  other waits. One that is killed loses the shards that it was at; the next one
  makes the rest. Shards of a whole set that are missing are made again.

  Args:
    name: such as 'digit_scenes/easy'; 'vqa_v2' alone is its first config.
    home: folder of all data sets; '' as in `data_sets.data_dir`.
    manual_dir: folder of the files that the set is made from, if it is made
      from any; '' where it is made already.
    max_bad: how many bad records may be left out while it is made.
    max_missing: share of a split's videos whose files may be missing.
    check: raises what is wrong with the data set before it is made.
    store_dtype, position: of region features that are made; see
      `data_sets.builder_of`.
    check_videos: how videos are tried when they are made, see `video.check`.
    processes: as of `maker.make`.
    shard_bytes: as of `maker.make`.
  """
  base, config = data_sets.whole_name(name)
  build = lambda: data_sets.builder_of(name, home, manual_dir, store_dtype,
                                       position)
  builder = build()
  if check:
    check(builder)
  usual = getattr(type(builder), 'DEFAULT_MANUAL_DIR', '')
  if data_sets.is_whole(builder):
    manual.check_source(builder, manual_dir)
    if not (files := mending.broken(builder.data_dir)):
      return builder
    if not manual_dir and os.path.isdir(usual):
      manual_dir = usual
    mending.check(builder, files, manual_dir)
  elif not manual_dir and os.path.isdir(usual):
    manual_dir = usual
  _check_place(builder, base, home)
  made_as = getattr(builder.builder_config, 'name', '')
  lock = data_sets.data_dir(home) / f'.{base}_{made_as}.lock'
  lock.parent.mkdir(parents=True, exist_ok=True)
  with _alone(lock, builder.data_dir):
    if data_sets.is_whole(builder):
      if mending.broken(builder.data_dir):
        mending.mend(builder, _on_disk(manual_dir, home))
    else:
      logging.info('Making %s in %s', f'{base}/{config}'.rstrip('/'),
                   builder.data_dir)
      builder.check_videos = check_videos
      _make(builder, _on_disk(manual_dir, home), max_bad, max_missing,
            processes, shard_bytes)
  return build()


def _on_disk(manual_dir, home):
  """The folder of the user's files, fetched where they are in a bucket."""
  if not buckets.is_remote(manual_dir):
    return manual_dir
  return fetched.fetch(manual_dir, data_sets.data_dir(home))


def _check_place(builder, base, home):
  """Raises where records cannot be made by us, or not there."""
  if base in data_sets.OF_TFDS:
    raise ValueError(
        f'{base} is read where tensorflow-datasets has made it, but there is '
        f'none in {builder.data_dir}. Make it once, on a machine with '
        f'TensorFlow: tfds build {base} --file_format=array_record '
        f'--data_dir={data_sets.data_dir(home)} --manual_dir=DIR. Or read '
        'the unpacked pictures as config.data.name=class_folders.')
  if buckets.is_remote(builder.data_dir):
    raise ValueError(buckets.refusal_to_make(
        builder.info.full_name, os.fspath(data_sets.data_dir(home)),
        getattr(builder, 'BY_FOLDER', False)))


def _make(builder, manual_dir, max_bad, max_missing, processes, shard_bytes):
  """Makes a data set; it is known that nobody else does."""
  folder, source = pathlib.Path(builder.data_dir), ''
  for rest in folder.parent.glob('incomplete.*'):  # Of TFDS's own writer.
    shutil.rmtree(rest, ignore_errors=True)
  if folder.exists():  # A folder without its last file is of no use.
    shutil.rmtree(folder)
  if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
    manual.check_there(builder, manual_dir)
    manual_dir = os.path.abspath(os.path.expanduser(manual_dir))
    builder.most_bad, builder.most_missing = max_bad, max_missing
    builder.source, source = found.fingerprints(manual_dir)
  maker.make(builder, manual_dir, source, processes, shard_bytes)


@contextlib.contextmanager
def _alone(path: pathlib.Path, folder: str):
  """Holds a lock file; the system frees it even if the process is killed."""
  with open(path, 'w') as file:
    if fcntl:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        logging.info('Another process makes %s: waiting for it.', folder)
        fcntl.flock(file, fcntl.LOCK_EX)
    yield
