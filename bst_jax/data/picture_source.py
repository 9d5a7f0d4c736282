"""Pictures of a folder or of a data set, by split and number."""
from collections.abc import Mapping, Sequence
import hashlib
import os
import pathlib
from typing import Any, NamedTuple

from bst_jax.data import image, kinds, picture_file, records, region_store
from bst_jax.data.builders import found
from bst_jax.data.making import data_sets, preparing
from bst_jax.elastic import check_name
import numpy as np


class Split(NamedTuple):
  """Pictures of a split, by number.

  Attributes:
    ids: of the pictures, by which other files name them; None: see `name`.
    items: paths of files, or records of a data set.
    name: of the split; picture 3 of `train` without ids is `train/3`.
  """

  ids: Sequence[str] | None
  items: Sequence[Any]
  name: str

  def id(self, i: int, item: Any) -> str:
    """Id of a picture.

    Args:
      i: its number.
      item: what `items` has of it.
    """
    if self.ids is not None:
      return self.ids[i]
    return item.get('image_id', b'').decode() or f'{self.name}/{i}'

  def pixels(self, item: Any) -> np.ndarray:
    """uint8[h, w, 3] of a picture.

    Raises:
      ValueError: it is damaged.
      OSError: its file cannot be read.
    """
    if isinstance(item, Mapping):
      return kinds.pixels(item, self.name)
    return image.decode(pathlib.Path(item).read_bytes(), name=item)


class Source(NamedTuple):
  """Where pictures come from.

  Attributes:
    about: what they are, told apart from any others.
    splits: by name.
  """

  about: str
  splits: dict[str, Split]


def of(images: str, data_dir: str = '', manual_dir: str = '',
       splits: Sequence[str] = ()) -> Source:
  """Pictures of a folder, or of a data set of that name.

  Args:
    images: folder with picture files, anywhere below it; or a name, as
      'digit_scenes/easy'.
    data_dir, manual_dir: of a data set, see `preparing.prepare`.
    splits: of a data set; () for all.

  Raises:
    ValueError: there is no such folder or data set, or it has no pictures.
  """
  if os.path.isdir(images):
    return _of_folder(images)
  if images.startswith(('.', '/', '~')) or images.endswith('/'):
    raise ValueError(f'Pictures of {images} were asked for, but there is no such '
                     'folder. Give one with pictures, or the name of a data set.')
  builder = preparing.prepare(images, data_dir, manual_dir)
  features = builder.info.features
  if 'image' not in features:
    raise ValueError(
        f'Pictures of {images} were asked for, but its records have '
        f'{sorted(features)} and no image. Use a config of it with images: '
        f'{", ".join(data_sets.names())}.')
  parts = [part for part in ('image', 'image_id') if part in features]
  for split in splits:
    check_name(split, builder.info.splits, f'split of {images}')
  return Source(builder.info.full_name, {
      split: Split(None, records.read(builder, split, parts), split)
      for split in splits or builder.info.splits})


def _of_folder(folder):
  """A source of all picture files below a folder."""
  paths = [path for path in found.files(folder)
           if path.lower().endswith(picture_file.SUFFIXES)]
  if not paths:
    raise ValueError(
        f'Pictures below {folder} were asked for, but there are none; files of '
        f'pictures end in {", ".join(picture_file.SUFFIXES)}.')
  # Endings stay where names without them would be twice the same.
  whole = [os.path.relpath(path, folder) for path in paths]
  names = [os.path.splitext(name)[0] for name in whole]
  ids = names if len({*names}) == len(names) else whole
  digest = hashlib.sha256('\n'.join(whole).encode(
      'utf-8', 'surrogateescape')).hexdigest()[:12]
  return Source(f'{len(paths)} pictures of a folder, {digest}', {
      region_store.PICTURES: Split(ids, paths, region_store.PICTURES)})
