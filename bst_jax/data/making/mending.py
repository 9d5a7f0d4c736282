"""A file of records that is missing or cut short, made again alone."""
import dataclasses
import itertools
import json
import os
import pathlib
import sys

from absl import logging
from bst_jax.data import buckets
from bst_jax.data.making import maker
from bst_jax.data.making import shards as shards_lib
from bst_jax.data.making.half import INDEX
from bst_jax.data.making.plan import Plan
from bst_jax.data.making.shards import Shard

_SAME = 'records', 'payload', 'checksum'


def broken(folder: str | os.PathLike) -> list[str]:
  """Files of records that are missing, or are not as long as they were.

  None are known of data sets that have no index: those that others made.
  """
  try:
    index = json.loads(pathlib.Path(folder, INDEX).read_text('utf-8'))
  except (OSError, ValueError):
    return []
  there = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
  return [about['file'] for each in index['splits'].values() for about in each
          if there.get(about['file']) != about['size']]


def remedy(folder: str | os.PathLike, file: str) -> str:
  """What to do about a file of records that is damaged, as sentences."""
  if buckets.is_remote(folder):
    return buckets.remedy(os.fspath(folder), file)
  if not file or not os.path.exists(os.path.join(folder, INDEX)):
    return buckets.again(folder)
  return (f'Delete that file alone, {os.path.join(folder, file)}, and open the '
          'data set again, with config.data.manual_dir if it is made of files '
          'of yours: it is then made anew, and nothing else.')


def check(builder, files: list[str], manual_dir: str) -> None:
  """Raises where broken files cannot be made again."""
  if not builder.MANUAL_DOWNLOAD_INSTRUCTIONS or os.path.isdir(
      os.path.expanduser(manual_dir or ' ')) or buckets.is_remote(manual_dir):
    return
  why = (f'{manual_dir} is no folder' if manual_dir
         else 'config.data.manual_dir is empty')
  raise ValueError(
      f'{builder.info.full_name} was to be opened in {builder.data_dir}, but '
      f'{len(files)} of its files are missing or cut short, as {files[0]}. '
      'Copy them there again. Or give the files that the data set was made '
      'from: those records alone are then made anew. At the moment '
      f'{why}.')


def mend(builder, manual_dir: str) -> None:
  """Makes the broken files of a data set again, and nothing else.

  Raises:
    ValueError: they would not hold what they held.
  """
  folder, files = pathlib.Path(builder.data_dir), broken(builder.data_dir)
  index = json.loads((folder / INDEX).read_text('utf-8'))
  builder.most_bad, builder.most_missing = sys.maxsize, 1.0
  splits, _ = maker.split_generators(builder, manual_dir)
  encoder = maker.encoder(builder)
  for split, each in index['splits'].items():
    for about in each:
      if about['file'] not in files:
        continue
      logging.warning('%s is missing or cut short: it is made again.',
                      folder / about['file'])
      fields = {f.name for f in dataclasses.fields(Shard)}
      old = Shard(**{k: v for k, v in about.items() if k in fields})
      place = folder / f'.{about["file"]}'
      new = _made(place, old, splits.get(split), encoder)
      if any(getattr(old, name) != getattr(new, name) for name in _SAME):
        place.unlink()
        raise ValueError(
            f'{folder / about["file"]} was to be made again, but its records '
            'would not be what they were: the files that they are made from, '
            'or the code, changed since. Copy it from another place, or delete '
            f'the folder {folder}; the data set is then made anew.')
      os.replace(place, folder / about['file'])


def _made(place, old: Shard, split, encoder) -> Shard:
  """Makes a shard of the same items at another place."""
  new, quiet = Shard(old.first, old.end), lambda records, payload: None
  if isinstance(split, Plan):
    return shards_lib.make(shards_lib.Job(
        os.fspath(place), new, split.items[old.first:old.end], split.read,
        encoder, sys.maxsize), quiet)
  examples = (example for _, example in split or ())
  return shards_lib.write(
      os.fspath(place), new,
      encoder(itertools.islice(examples, old.first, old.end)),
      encoder.compressed, quiet)
