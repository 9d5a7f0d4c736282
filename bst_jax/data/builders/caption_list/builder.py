"""Pictures of one's own and lists of their captions as a TFDS data set."""
import hashlib
import os
import pathlib
from urllib import parse

from absl import logging
from bst_jax.data.builders import captioned, found, pictures, splitting
from bst_jax.data.builders.caption_list import lists
from bst_jax.data.builders.located import Located
from bst_jax.data.builders.problems import Unusable
from bst_jax.data.making import plan
import tensorflow_datasets as tfds

_SHARE = 0.1  # of the pictures is for evaluation where nobody says which.


class CaptionList(captioned.Captioned):
  """Pictures with captions, as lists of names or addresses tell them."""

  VERSION = tfds.core.Version('1.0.0')
  BY_FOLDER = True
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(
      name='images', description='Raw pictures with captions.')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  manual_dir holds pictures, in any folders, and lists of captions: .tsv, .json
  or .jsonl, as Conceptual Captions, SBU, Open Images and COCO publish them; see
  README.md in bst_jax/data/builders/caption_list. Pictures are not fetched:
  those that have no file are counted and left out.
  """

  def splits(self, folder: pathlib.Path, problems):
    files = [path for path in sorted(folder.iterdir())
             if path.suffix in lists.SUFFIXES and path.name != captioned.TAGS
             and path.is_file() and not found.is_stray(path.name)]
    if not files:
      return {}
    tags, by_list = captioned.tags_of(folder, problems), splitting.lists(folder)
    told = {path: splitting.of_file(path.name) for path in files}
    places, pictures_, split_of, lacking = _Places(folder), {}, {}, {}
    for path in files:
      for entry in lists.read(path, problems):
        try:
          place = places(entry.picture)
        except Unusable as error:
          problems.add(error.kind, str(error))
          continue
        if place is None:
          lacking.setdefault(entry.picture, path.name)
          continue
        key = os.path.relpath(place, folder)
        split = _split(entry, key, told, path, by_list)
        if split_of.setdefault(key, split) != split:
          raise ValueError(
              f'{folder} was to be sorted into splits, but {key} is in '
              f'{split_of[key]} and in {split}: what one measures the other '
              'would have shown. Leave it in one list.')
        name = splitting.stem(key)
        pictures_[key] = _joined(pictures_.get(key), entry.told, tags.get(name))
    self._tell(lacking, len(pictures_), folder)
    every = {split: [key for key in pictures_ if split_of[key] == split]
             for split in sorted({*split_of.values()})}
    return {split: [(keys[i], os.path.join(folder, keys[i]), pictures_[keys[i]])
                    for i in plan.by_hash(keys, split)]  # Sources are mixed.
            for split, keys in every.items()}

  def _tell(self, lacking, there, folder):
    """Says how many pictures have no file."""
    total = there + len(lacking)
    named = '; '.join(f'{name} of {file}' for name, file in [
        *lacking.items()][:5])
    if not there:
      raise ValueError(
          f'{self.name} was to be made from {folder}, but none of the {total} '
          f'pictures of its lists has a file there, as {named}. A file has the '
          'name that the list gives, the last part of the address, or the MD5 '
          'of the address in hexadecimal digits.')
    self.info.metadata['missing'] = len(lacking)
    if lacking:
      logging.warning(
          '%s: %d of %d pictures of the lists have no file and are left out, '
          'as %s.', self.name, len(lacking), total, named)


class _Places:
  """The files of pictures by what lists call them."""

  def __init__(self, folder):
    self._located = Located(folder)
    self._found = found.Found([folder], pictures.SUFFIXES)
    self._address = {}  # Path -> the address that it was found for.

  def __call__(self, name: str) -> str | None:
    """Path of a picture, None if there is none.

    Raises:
      Unusable: several files could be meant, or a file by several addresses.
    """
    if not lists.is_address(name):
      return self._named(name)
    last = os.path.basename(parse.unquote(parse.urlsplit(name).path))
    path = self._found(hashlib.md5(name.encode()).hexdigest())
    if path is None and last:
      path = self._named(last)
      if path is not None and self._address.setdefault(path, name) != name:
        raise Unusable(
            'several addresses of a file', f'{path} could be '
            f'{self._address[path]} or {name}; name files by the MD5 of the '
            'address')
    return path

  def _named(self, name):
    try:
      return self._located(name)
    except Unusable as error:
      if error.kind != 'missing picture':
        raise
    return self._found(name)


def _split(entry, key, told, path, by_list):
  """The split of a picture.

  Raises:
    ValueError: nothing tells it, but it is told of others.
  """
  split = (splitting.NAMES.get(entry.split.lower(), entry.split) or told[path]
           or splitting.listed(by_list, key, -1))
  if split:
    return split
  if any(told.values()) or by_list:
    raise ValueError(
        f'{path} was to be sorted into splits, but nothing tells the split of '
        f'{key}, while it is told of others. Name the file train_{path.name}, '
        'or one of the splits val and test.')
  return splitting.by_share(key, _SHARE)


def _joined(first, told, tags):
  """What two entries tell of a picture; tags of a tagger are its own."""
  if first is None:
    return told if tags is None else told._replace(
        tags=told.tags + tags[0], tag_version=tags[1])
  return first._replace(captions=first.captions + told.captions)
