"""A data set that is there when it is asked for: opened, or made first."""
from collections.abc import Callable
import contextlib
import os
import pathlib
import shutil

from absl import logging
from bst_jax.data import manual
from bst_jax.data.builders import found
from bst_jax.data.making import data_sets
import tensorflow_datasets as tfds

try:
  import fcntl
except ImportError:  # Not a POSIX system: two processes are not kept apart.
  fcntl = None


def prepare(name: str, home: str = '', manual_dir: str = '',
            max_bad: int = 0, max_missing: float = 1.0,
            check: Callable[[tfds.core.DatasetBuilder], object] | None = None,
            ) -> tfds.core.DatasetBuilder:
  """TFDS builder of a data set that is on disk; makes it if it is not.

  Two processes may ask for the same set at the same time: one makes it, the
  other waits. What a killed process left behind is removed and made anew.

  Args:
    name: such as 'digit_scenes/easy'; 'vqa_v2' alone is its first config.
    home: folder of all data sets; '' as in `data_sets.data_dir`.
    manual_dir: folder of the files that the set is made from, if it is made
      from any; '' where it is made already.
    max_bad: how many bad records may be left out while it is made.
    max_missing: share of a split's videos whose files may be missing.
    check: raises what is wrong with the data set before it is made.
  """
  base, config = data_sets.whole_name(name)
  cls = data_sets.class_of(base)
  build = lambda: data_sets.builder_of(name, home, manual_dir)
  builder = build()
  if check:
    check(builder)
  if data_sets.is_whole(builder):
    manual.check_source(builder, manual_dir)
    return builder
  usual = getattr(cls, 'DEFAULT_MANUAL_DIR', '')
  if not manual_dir and os.path.isdir(usual):
    manual_dir = usual
  if base in data_sets.OF_TFDS:
    raise ValueError(
        f'{base} is read where tensorflow-datasets has made it, but there is '
        f'none in {builder.data_dir}. Make it once, on a machine with '
        f'TensorFlow: tfds build {base} --file_format=array_record '
        f'--data_dir={data_sets.data_dir(home)} --manual_dir=DIR. Or read '
        'the unpacked pictures as config.data.name=class_folders.')
  made_as = getattr(builder.builder_config, 'name', '')
  data_sets.data_dir(home).mkdir(parents=True, exist_ok=True)
  with _alone(data_sets.data_dir(home) / f'.{base}_{made_as}.lock'):
    folder = pathlib.Path(builder.data_dir)
    if not data_sets.is_whole(builder):
      for rest in folder.parent.glob('incomplete.*'):
        shutil.rmtree(rest, ignore_errors=True)
      if folder.exists():  # A folder without its last file is of no use.
        shutil.rmtree(folder)
      download = tfds.download.DownloadConfig(
          compute_stats=tfds.download.ComputeStatsMode.SKIP)
      if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        manual.check_there(builder, manual_dir)
        download.manual_dir = os.path.abspath(os.path.expanduser(manual_dir))
        builder.most_bad, builder.most_missing = max_bad, max_missing
        builder.source = found.fingerprint(download.manual_dir)
      logging.info('Making %s in %s', f'{base}/{config}'.rstrip('/'), folder)
      builder.download_and_prepare(download_config=download)
  return build()


@contextlib.contextmanager
def _alone(path: pathlib.Path):
  """Holds a lock file; the system frees it even if the process is killed."""
  with open(path, 'w') as file:
    if fcntl:
      fcntl.flock(file, fcntl.LOCK_EX)
    yield
