"""Record files of a data set: made once, then read at random."""
import bisect
from collections.abc import Callable, Iterator, Sequence
import contextlib
import importlib
import itertools
import json
import os
import pathlib
import shutil

from absl import logging
from bst_jax.data import manual
from bst_jax.data.builders import found
from bst_jax.elastic import by_name, check_name
from bst_jax.host import files
import numpy as np
import tensorflow_datasets as tfds
import tqdm

try:
  import fcntl
except ImportError:  # Not a POSIX system: two processes are not kept apart.
  fcntl = None

# Data set -> module and class of its builder. A name with a dot in it is a
# module of a user's own, whose `Builder` is used.
BUILDERS = {
    'digit_scenes': ('bst_jax.data.builders.digit_scenes.builder',
                     'DigitScenes'),
    'vqa_v2': ('bst_jax.data.builders.vqa_v2.builder', 'VqaV2'),
    'gqa': ('bst_jax.data.builders.gqa.builder', 'Gqa'),
    'folder': ('bst_jax.data.builders.folder.builder', 'Folder'),
    'fashion_mnist': ('bst_jax.data.builders.fashion_mnist.builder',
                      'FashionMnist'),
    'class_folders': ('bst_jax.data.builders.class_folders.builder',
                      'ClassFolders'),
    'kinetics': ('bst_jax.data.builders.kinetics.builder', 'Kinetics'),
    'motion8': ('bst_jax.data.builders.motion8.builder', 'Motion8'),
}
# Data sets that TFDS has builders for, which need TensorFlow to make them.
OF_TFDS = ('imagenet2012',)


def data_dir(given: str = '') -> pathlib.Path:
  """Home of all data sets: as given, else BST_JAX_DATA, else a cache."""
  return pathlib.Path(
      given or os.environ.get('BST_JAX_DATA')
      or '~/.cache/bst_jax/datasets').expanduser().absolute()


def names() -> list[str]:
  """Names of all data sets, as 'digit_scenes/easy'."""
  configs = {name: _class(name).builder_configs for name in BUILDERS}
  return [*(f'{name}/{config}' for name in BUILDERS for config in configs[name]),
          *(name for name in BUILDERS if not configs[name]), *OF_TFDS]


def prepare(name: str, home: str = '', manual_dir: str = '',
            max_bad: int = 0, max_missing: float = 1.0,
            check: Callable[[tfds.core.DatasetBuilder], object] | None = None,
            ) -> tfds.core.DatasetBuilder:
  """TFDS builder of a data set that is on disk; makes it if it is not.

  Two processes may ask for the same set at the same time: one makes it, the
  other waits. What a killed process left behind is removed and made anew.

  Args:
    name: such as 'digit_scenes/easy'; 'vqa_v2' alone is its first config.
    home: folder of all data sets; '' as in `data_dir`.
    manual_dir: folder of the files that the set is made from, if it is made
      from any; '' where it is made already.
    max_bad: how many bad records may be left out while it is made.
    max_missing: share of a split's videos whose files may be missing.
    check: raises what is wrong with the data set before it is made.
  """
  base, config = _whole_name(name)
  cls, build = _class(base), lambda: builder_of(name, home, manual_dir)
  builder = build()
  if check:
    check(builder)
  if is_whole(builder):
    manual.check_source(builder, manual_dir)
    return builder
  usual = getattr(cls, 'DEFAULT_MANUAL_DIR', '')
  if not manual_dir and os.path.isdir(usual):
    manual_dir = usual
  if base in OF_TFDS:
    raise ValueError(
        f'{base} is read where tensorflow-datasets has made it, but there is '
        f'none in {builder.data_dir}. Make it once, on a machine with '
        f'TensorFlow: tfds build {base} --file_format=array_record '
        f'--data_dir={data_dir(home)} --manual_dir=DIR. Or read the unpacked '
        'pictures as config.data.name=class_folders.')
  made_as = getattr(builder.builder_config, 'name', '')
  data_dir(home).mkdir(parents=True, exist_ok=True)
  with _alone(data_dir(home) / f'.{base}_{made_as}.lock'):
    folder = pathlib.Path(builder.data_dir)
    if not is_whole(builder):
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


def builder_of(name: str, home: str = '',
               manual_dir: str = '') -> tfds.core.DatasetBuilder:
  """TFDS builder of a data set, on disk or not; the arguments of `prepare`."""
  base, config = _whole_name(name)
  cls, home = _class(base), data_dir(home)
  place = home / base / config
  if getattr(cls, 'BY_FOLDER', False):  # One data set a folder.
    config = manual.config_of(cls.builder_configs[config], manual_dir)
  try:
    return cls(config=config or None, data_dir=os.fspath(home),
               file_format='array_record')
  except Exception as error:  # It reads what the folder says of itself.
    raise ValueError(
        f'The data set {name!r} was to be opened in {place}, but what is there '
        f'cannot be read ({error}). Delete that folder; the data set is then '
        'made anew.') from error


def region_reader(name: str):
  """The data set's own `image -> (features, boxes)`; None if it has none."""
  return getattr(_class(name.partition('/')[0]), 'read_regions', None)


def parts_of(builder: tfds.core.DatasetBuilder, split: str) -> list[str]:
  """The splits on disk that 'a+b' is, or a name that stands for several."""
  aliases = getattr(builder, 'ALIASES', {})
  known = [*builder.info.splits,
           *(a for a, of in aliases.items() if set(of) & set(
               builder.info.splits))]
  parts = []
  for name in split.split('+'):
    check_name(name, known, f'split of {builder.info.full_name}')
    parts += [part for part in aliases.get(name, (name,))
              if part in builder.info.splits]
  twice = sorted({p for p in parts if parts.count(p) > 1})
  if twice:
    raise ValueError(f'The split {split!r} was asked for, but {twice} would be '
                     'in it twice. Name each once.')
  return parts


def read(builder: tfds.core.DatasetBuilder, split: str, parts: Sequence[str],
         limit: int = 0) -> 'Records | Joined':
  """The records of a split, or of several as in 'a+b'; as `Records`."""
  opened = [Records(builder, part, parts, limit)
            for part in parts_of(builder, split)]
  return opened[0] if len(opened) == 1 else Joined(opened, limit)


class Records(Sequence):
  """The records of a split, as dicts; a damaged file is named in the error."""

  def __init__(self, builder: tfds.core.DatasetBuilder, split: str,
               parts: Sequence[str], limit: int = 0):
    """Opens a split.

    Args:
      builder: as `prepare` returns it.
      split: its name.
      parts: the features to read; pictures come as encoded bytes.
      limit: if positive, how many records at most.
    """
    self.name = f'{builder.info.full_name} {split}'
    check_name(split, builder.info.splits, f'split of {builder.info.name}')
    info = builder.info.splits[split]
    self._folder, self._split = builder.data_dir, split
    self._files = list(zip(info.filenames, info.shard_lengths))
    self._length = min(info.num_examples, limit or info.num_examples)
    # Only these are parsed: TFDS's own partial decoding needs TensorFlow.
    self._features = tfds.features.FeaturesDict(
        {k: builder.info.features[k] for k in parts})
    self._raw = {k: tfds.decode.SkipDecoding() for k in parts
                 if k in ('image', 'strip')}
    with self._explained(0):
      self._source = builder.as_data_source(
          split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, i: int) -> dict:
    if not 0 <= i < self._length:  # Also ends a `for` over the records.
      raise IndexError(f'Record {i} of {self._length} of {self.name}.')
    with self._explained(i):
      return self._features.deserialize_example_np(
          self._source[i], decoders=self._raw)

  @property
  def lengths(self) -> list[int]:
    """Records of the splits that these are joined of."""
    return [self._length]

  def column(self, name: str) -> np.ndarray:
    """int64[n], a number that each record has.

    All columns lie beside the records once they were asked for, as records of
    videos and photographs take minutes to go through.
    """
    path = found.column(self._folder, self._split, name)
    try:
      kept = np.load(path)
      if kept.shape == (sum(length for _, length in self._files),):
        return kept[:self._length]
    except (OSError, ValueError, EOFError):
      pass  # Not there, or damaged: read anew.
    values = np.array([record[name] for record in progress(self)], np.int64)
    if self._length == sum(length for _, length in self._files):
      with contextlib.suppress(OSError), files.beside(path) as place:
        np.save(place, values)
    return values

  def questions(self) -> list[list[dict]] | None:
    """Questions of each record where they also lie beside the records."""
    path = found.beside(self._folder, self._split)
    if not os.path.exists(path):
      return None
    try:
      with open(path, encoding='utf-8') as file:
        lines = [json.loads(x) for x in itertools.islice(file, self._length)]
    except ValueError as error:
      lines = error
    if not isinstance(lines, list) or len(lines) < self._length:
      raise ValueError(
          f'{path} was to be read, but it is damaged or cut short. Delete the '
          f'folder {self._folder}; the data set is then made anew.')
    return lines

  @contextlib.contextmanager
  def _explained(self, i: int):
    """Names the file in whatever a reader of record i raises."""
    try:
      yield
    except Exception as error:
      ends = itertools.accumulate(length for _, length in self._files)
      file = next((name for (name, _), end in zip(self._files, ends)
                   if i < end), '')
      raise ValueError(
          f'Record {i} of {self.name} was to be read from '
          f'{os.path.join(self._folder, file)}, but the file is damaged or cut '
          f'short ({error}). Delete the folder {self._folder}; the data set is '
          'then made anew.') from error


class Joined(Sequence):
  """Records of several splits, one behind the other."""

  def __init__(self, splits: Sequence[Records], limit: int = 0):
    self._splits = splits
    self._ends = list(itertools.accumulate(map(len, splits)))
    self._length = min(self._ends[-1], limit or self._ends[-1])
    self.name = ' + '.join(s.name for s in splits)

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, i: int) -> dict:
    if not 0 <= i < self._length:
      raise IndexError(f'Record {i} of {self._length} of {self.name}.')
    which = bisect.bisect_right(self._ends, i)
    return self._splits[which][i - (self._ends[which - 1] if which else 0)]

  @property
  def lengths(self) -> list[int]:
    """As of `Records`; the last may be longer than what is left of it."""
    return [len(split) for split in self._splits]

  def column(self, name: str) -> np.ndarray:
    """As of `Records`."""
    return np.concatenate(
        [split.column(name) for split in self._splits])[:self._length]

  def questions(self) -> list[list[dict]] | None:
    """As of `Records`; None unless all splits have them."""
    each = [split.questions() for split in self._splits]
    if any(lines is None for lines in each):
      return None
    return list(itertools.chain(*each))[:self._length]


def progress(records: Records | Joined) -> Iterator[dict]:
  """The records in order, behind a progress bar where it takes a while."""
  return tqdm.tqdm(records, desc=f'reading {records.name}', leave=False,
                   delay=2, disable=None)


def _whole_name(name: str) -> tuple[str, str]:
  """Data set and config of a name; raises ValueError where there is none."""
  base, _, config = name.partition('/')
  configs = (_class(base).builder_configs if '.' in base or base in BUILDERS
             else {})
  if configs and not config:
    config = next(iter(configs))
  if '.' not in base:
    check_name(f'{base}/{config}' if config else base, names(), 'data set')
  elif config:
    check_name(config, configs, f'config of data set {base}')
  return base, config


def _class(name: str):
  """The builder class of a data set."""
  if '.' in name:
    return by_name(name, 'bst_jax.data.builders', 'data set', 'Builder').Builder
  if name in OF_TFDS:
    return tfds.builder_cls(name)
  module, cls = BUILDERS[name]
  return getattr(importlib.import_module(module), cls)


def is_whole(builder) -> bool:
  """Whether the builder's folder is all there: TFDS moves it into place."""
  return pathlib.Path(builder.data_dir, 'dataset_info.json').exists()


@contextlib.contextmanager
def _alone(path: pathlib.Path):
  """Holds a lock file; the system frees it even if the process is killed."""
  with open(path, 'w') as file:
    if fcntl:
      fcntl.flock(file, fcntl.LOCK_EX)
    yield
