"""The data sets that there are: their names, builders and places on disk."""
import functools
import importlib
import os
import pkgutil

from bst_jax.data import buckets, manual, shards
from bst_jax.elastic import by_name, check_name
from etils import epath
import tensorflow_datasets as tfds

# A folder for each data set. The class in its builder.py is named after it, as
# TFDS wants: VqaV2 of vqa_v2. A name with a dot in it is a module of a user's
# own, whose `Builder` is used.
_FOLDERS = 'bst_jax.data.builders'
# Data sets that TFDS has builders for, which need TensorFlow to make them.
OF_TFDS = ('imagenet2012',)


def data_dir(given: str = '') -> epath.Path:
  """Home of all data sets: as given, else BST_JAX_DATA, else a cache."""
  path = epath.Path(given or os.environ.get('BST_JAX_DATA')
                    or '~/.cache/bst_jax/datasets').expanduser()
  return path if buckets.is_remote(path) else path.absolute()


def names() -> list[str]:
  """Names of all data sets, as 'digit_scenes/easy'."""
  configs = {name: class_of(name).builder_configs for name in ours()}
  return [*(f'{name}/{config}' for name in configs for config in configs[name]),
          *(name for name in configs if not configs[name]), *OF_TFDS]


@functools.cache
def ours() -> tuple[str, ...]:
  """Names of the data sets that have a builder here."""
  folders = importlib.import_module(_FOLDERS).__path__
  return tuple(found.name for found in pkgutil.iter_modules(folders)
               if found.ispkg)


def builder_of(name: str, home: str = '', manual_dir: str = '',
               store_dtype: str = '', position: str = ''
               ) -> tfds.core.DatasetBuilder:
  """TFDS builder of a data set, on disk or not.

  Args:
    name: as of `preparing.prepare`, as are `home` and `manual_dir`.
    home: folder of all data sets.
    manual_dir: of what files it is made, where that tells data sets apart.
    store_dtype: of region features where they are made: 'float16' or
      'float32'; '' is the data set's own. One on disk is read as it is.
    position: what rows of region features that are made have behind them, a
      name in `regions.POSITIONS`; '' is nothing. One on disk must have been
      made so.
  """
  base, config = whole_name(name)
  cls, home = class_of(base), data_dir(home)
  place = home / base / config
  if buckets.is_remote(home):
    buckets.check(os.fspath(home))
  if getattr(cls, 'BY_FOLDER', False):  # One data set a folder.
    config = manual.config_of(cls.builder_configs[config], manual_dir)
  more = {key: value for key, value in (
      ('store_dtype', store_dtype), ('position', position))
          if value and hasattr(cls, key)}
  try:
    return cls(config=config or None, data_dir=os.fspath(home),
               file_format='array_record', **more)
  except Exception as error:  # It reads what the folder says of itself.
    if many := shards.advice(error):
      raise ValueError(f'The data set {name!r} was to be opened in {place}, but '
                       f'{many}') from error
    raise ValueError(
        f'The data set {name!r} was to be opened in {place}, but what is there '
        f'cannot be read ({error}). {buckets.again(place)}') from error


def region_reader(name: str):
  """The data set's own `image -> (features, boxes)`; None if it has none."""
  return getattr(class_of(name.partition('/')[0]), 'read_regions', None)


def whole_name(name: str) -> tuple[str, str]:
  """Data set and config of a name; raises ValueError where there is none."""
  if not isinstance(name, str):
    raise ValueError(f'config.data.name is {name!r}, not the name of a data set '
                     f'as text. There are: {", ".join(names())}.')
  base, _, config = name.partition('/')
  configs = (class_of(base).builder_configs if '.' in base or base in ours()
             else {})
  if configs and not config:
    config = next(iter(configs))
  if '.' not in base:
    check_name(f'{base}/{config}' if config else base, names(), 'data set')
  elif config:
    check_name(config, configs, f'config of data set {base}')
  return base, config


def class_of(name: str):
  """The builder class of a data set."""
  if '.' in name:
    return by_name(name, _FOLDERS, 'data set', 'Builder').Builder
  if name in OF_TFDS:
    return tfds.builder_cls(name)
  module = importlib.import_module(f'{_FOLDERS}.{name}.builder')
  return getattr(module, ''.join(map(str.capitalize, name.split('_'))))


def is_whole(builder) -> bool:
  """Whether the builder's folder is all there: TFDS moves it into place."""
  return epath.Path(builder.data_dir, 'dataset_info.json').exists()
