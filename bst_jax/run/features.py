"""Region features of many pictures: by files, which a kill leaves whole."""
import itertools
import pathlib

from absl import logging
from bst_jax.data import picture_source, prefetch, region_store
from bst_jax.data.making import shards
from bst_jax.host import alive, files, lock, processes
from bst_jax.run.extractor import Extractor
import jax

EACH = 512  # Pictures of a file.
_THREADS = 4  # That decode pictures while others run.
_MOST = 1 << 30  # Bytes of pictures that are decoded ahead.
_NAMED = 5  # Unreadable pictures that are told.


def write(extractor: Extractor, source: picture_source.Source,
          output: pathlib.Path, dtype: str = 'float16', each: int = EACH
          ) -> tuple[region_store.About, dict[str, str]]:
  """Writes the features of all pictures, see `region_store`.

  Files that are there already stay: the same call goes on where another was
  stopped. Several processes share the files. A picture that cannot be read is
  kept as one without regions.

  Args:
    extractor: makes them.
    source: the pictures.
    output: folder to write; new, or of the same features.
    dtype: of `region_store.DTYPES`.
    each: pictures of a file.

  Returns:
    What is known of all, and {id of an unreadable picture: why}.

  Raises:
    ValueError: the folder holds something else.
  """
  about = region_store.About(
      extractor.fingerprint, extractor.feature_size, extractor.num_regions,
      dtype, extractor.classes, source.about,
      {name: len(split.items) for name, split in source.splits.items()}, each)
  processes.check_same({'extractor': about.extractor, 'source': about.source})
  with lock.held(output), processes.together():
    processes.check_shared(output)
    with processes.together():
      if jax.process_index() == 0:
        _check(output, about)
        about.save(output)
    parts = [*about.shards()]
    mine = parts[jax.process_index()::jax.process_count()]
    with alive.counted(
        'finding regions', sum(end - first for *_, first, end in mine),
        'pictures') as count:
      for stem, split, first, end in mine:
        if region_store.is_whole(output / stem):
          count(end - first, made_before=True)
          continue
        _write_part(extractor, source.splits[split], output / stem, first, end,
                    dtype, count)
  processes.barrier('features')
  bad = {}
  for stem, *_ in parts:
    bad |= region_store.unreadable(output / stem)
  if bad:
    logging.warning(
        '%d of %d pictures cannot be read, and have no regions: %s.', len(bad),
        sum(about.splits.values()), '; '.join(
            f'{name}: {why}' for name, why in itertools.islice(
                bad.items(), _NAMED)))
  return about, bad


def _check(output, about):
  """Raises where the folder holds anything but these features."""
  if not (output / region_store.FILE).exists():
    files.check_new(output, leave=(lock.FILE,))
    return
  there = region_store.about(output)
  if there != about:
    named = {'extractor': 'another extractor, or another step of it',
             'source': 'other pictures', 'splits': 'other splits',
             'num_regions': f'{there.num_regions} regions, not '
                            f'{about.num_regions}',
             'dtype': f'{there.dtype}, not {about.dtype}'}
    what = next((words for key, words in named.items()
                 if getattr(there, key) != getattr(about, key)),
                'another form')
    raise ValueError(
        f'{output} was to be written or gone on with, but it has features of '
        f'{what}: {there.extractor} of {there.source}, and '
        f'{about.extractor} of {about.source} were asked for. Nothing is '
        'overwritten; choose another --output.')


def _write_part(extractor, split, stem, first, end, dtype, count):
  """One file of records, and the ids of its pictures."""
  names, bad = [], {}

  def records():
    for batch in _read(extractor, split, first, end):
      readable = [one for _, one, _ in batch if one]
      found = iter(extractor.of_framed(readable) if readable else ())
      for name, one, why in batch:
        names.append(name)
        if one is None:
          bad[name] = why
        yield extractor.encoded(next(found) if one else None, dtype)

  shards.write(
      f'{stem}{region_store.SUFFIX}', shards.Shard(first, end), records(), False,
      lambda pictures, size: count(pictures), place='--output')
  region_store.save_ids(stem, names, bad)


def _read(extractor, split, first, end):
  """Yields batches of (id, framed picture or None, why there is none)."""
  def of_picture(i):
    item = split.items[i]
    name = split.id(i, item)
    try:
      return name, extractor.framed(split.pixels(item)), ''
    except (OSError, ValueError) as error:
      return name, None, str(error)

  height, width = extractor.size
  return prefetch.ahead(
      lambda start: [of_picture(i) for i in range(
          start, min(end, start + extractor.batch))],
      range(first, end, extractor.batch),
      3 * height * width * extractor.batch, _THREADS, _MOST)
