"""The records of a data set, streamed into shards that are whole one by one.

The builder, its info and its features are TFDS's, and so is what is on disk.
Only the writer is ours: TFDS's sorts the records of a split in temporary files,
by TensorFlow where they are more than 1,000 MiB.
"""
from collections.abc import Callable, Iterator, Mapping
import contextlib
import hashlib
import inspect
import json
import os
import pathlib
import shutil
from typing import Any

from absl import logging
from bst_jax.data.builders.problems import Problems, TooMany
from bst_jax.data.making import shards as shards_lib
from bst_jax.data.making.half import Half
from bst_jax.data.making.plan import look_on, Plan, SHARD_BYTES
from bst_jax.data.making.shards import Shard
from bst_jax.data.making.workers import Workers, workers
from bst_jax.host import alive
import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_builder

_FORMAT = 1  # of what a half-made data set and an index hold
_SMALL = 1 << 27  # bytes that one process makes before others have started
_MOST_PROCESSES = 16
_RESERVE = 1 << 28  # bytes of a disk that are left free


def make(builder: tfds.core.GeneratorBasedBuilder, manual_dir: str = '',
         source: str = '', processes: int = 0, shard_bytes: int = 0) -> None:
  """Makes the data set of a builder; goes on where a maker was killed.

  Args:
    builder: gives a generator or a `Plan` for each split.
    manual_dir: folder of the files that it is made from, if any.
    source: changes when those files do.
    processes: that make shards of plans; 0: as many as there are cores, and
      none but this one for little. The files do not depend on it.
    shard_bytes: about how large a shard is at most; 0: 1 GiB.

  Raises:
    ValueError: nothing can be made of the files, or the disk is full.
  """
  shard_bytes = shard_bytes or SHARD_BYTES
  half = Half(builder.data_dir)
  with written_to(builder, half.path), shards_lib.named_if_full(half.path):
    splits, downloaded = split_generators(builder, manual_dir)
    half.begin(_head(builder, source, shard_bytes, splits))
    planned = {name: of.shards(shard_bytes) for name, of in splits.items()
               if isinstance(of, Plan)}
    left = _check_disk(half, splits, planned)
    number = _processes(processes, planned, left)
    with workers(number) as pool, _progress(builder, splits) as tell:
      whole, later = {}, dict(splits)
      for name, of in splits.items():
        del later[name]
        try:
          whole[name] = _planned(
              half, name, of, planned[name], encoder(builder), pool, tell
          ) if isinstance(of, Plan) else _streamed(
              half, name, of, encoder(builder), shard_bytes, tell)
        except TooMany as error:
          look_on(error, (p for p in later.values() if isinstance(p, Plan)))
    _publish(builder, half, whole, shard_bytes, downloaded)


def encoder(builder: tfds.core.DatasetBuilder) -> shards_lib.Encoder:
  """How the examples of a builder become records."""
  return shards_lib.Encoder(builder.info.features,
                            getattr(builder, 'COMPRESSED', True))


def split_generators(builder: tfds.core.GeneratorBasedBuilder, manual_dir: str
                     ) -> tuple[dict[str, Any], int]:
  """What each split is made of, and how many bytes were downloaded for it."""
  config = tfds.download.DownloadConfig(
      compute_stats=tfds.download.ComputeStatsMode.SKIP)
  if manual_dir:
    config.manual_dir = os.path.abspath(os.path.expanduser(manual_dir))
  manager = builder._make_download_manager(None, config)
  if 'pipeline' in inspect.signature(builder._split_generators).parameters:
    raise ValueError(
        f'{builder.info.full_name} was to be made, but its builder asks for a '
        'pipeline of Apache Beam. Make it with tfds build; it is then read.')
  splits = builder._split_generators(manager)
  if isinstance(splits, list):  # As old builders have it.
    splits = {each.name: builder._generate_examples(**each.gen_kwargs)
              for each in splits}
  return dict(splits), manager.downloaded_size


@contextlib.contextmanager
def written_to(builder: tfds.core.DatasetBuilder, path: os.PathLike
               ) -> Iterator[None]:
  """Has the builder's data_dir be another folder."""
  before, builder._data_dir = builder._data_dir, os.fspath(path)
  try:
    yield
  finally:
    builder._data_dir = before


def _head(builder, source, shard_bytes, splits) -> dict[str, Any]:
  """What the shards of a half-made data set depend on."""
  code = hashlib.sha256()
  for cls in type(builder).__mro__:  # With those that it is made from.
    if issubclass(cls, tfds.core.DatasetBuilder) and not (
        cls.__module__.startswith('tensorflow_datasets.')):
      code.update(pathlib.Path(inspect.getsourcefile(cls)).read_bytes())
  features = json.dumps(builder.info.features.to_json(), sort_keys=True)
  return dict(
      format=_FORMAT, shard_bytes=shard_bytes, code=code.hexdigest(),
      source=source, options={name: getattr(builder, name) for name in getattr(
          builder, 'OPTIONS', ())},
      features=hashlib.sha256(features.encode()).hexdigest(),
      records={name: len(of.items) if isinstance(of, Plan) else None
               for name, of in splits.items()})


def _check_disk(half: Half, splits: Mapping[str, Any],
                planned: Mapping[str, list[tuple[int, int]]]) -> int:
  """Bytes that are still to be made, as far as they are known.

  Raises:
    ValueError: there is no room for them.
  """
  left = 0
  for name, edges in planned.items():
    left += sum(int(sum(splits[name].sizes[first:end]))
                for number, (first, end) in enumerate(edges)
                if half.kept(name, number) is None)
  free = shutil.disk_usage(half.path).free
  if left + _RESERVE > free and left > 0:
    raise ValueError(
        f'{half.whole} was to be made, for which about {left / 1e9:,.1f} GB '
        f'are still to be written, but {free / 1e9:,.1f} GB of that disk are '
        'free. Make room, or give another place as config.data.data_dir.')
  return left


def _processes(wanted: int, planned: Mapping[str, list], left: int) -> int:
  """How many other processes to start."""
  if wanted:
    return wanted if wanted > 1 else 0
  cores = len(os.sched_getaffinity(0)) if hasattr(
      os, 'sched_getaffinity') else os.cpu_count() or 1
  most = min(cores, _MOST_PROCESSES, max(map(len, planned.values()), default=0))
  return most if left > _SMALL and most > 1 else 0


@contextlib.contextmanager
def _progress(builder, splits) -> Iterator[Callable]:
  """Tells (records, their bytes), of which none have bytes that were there."""
  total = sum(len(of.items) for of in splits.values() if isinstance(of, Plan))
  written = 0
  with alive.counted(f'making {builder.info.full_name}', total or None,
                     'examples') as count:
    def tell(records, payload):
      nonlocal written
      written += payload
      count(records, not payload, f'{written / 1e9:.2f} GB')
    yield tell


def _planned(half: Half, split: str, plan: Plan, edges: list[tuple[int, int]],
             encoded: shards_lib.Encoder, pool: Workers, tell) -> list[Shard]:
  """Makes the shards of a plan that are not there, in any order."""
  shards = [half.kept(split, number) for number in range(len(edges))]
  todo = [number for number, shard in enumerate(shards) if shard is None]
  tell(sum(s.end - s.first for s in shards if s), 0)
  noted = Problems(plan.problems.most)
  noted.merge(plan.problems.report())
  for shard in filter(None, shards):
    noted.merge(shard.problems)
  jobs = (shards_lib.Job(
      half.records(split, number), Shard(*edges[number]),
      plan.items[slice(*edges[number])], plan.read, encoded,
      plan.problems.most) for number in todo)
  for place, shard in pool.make(jobs, tell):
    noted.merge(shard.problems)  # One with too many is not whole.
    half.keep(split, todo[place], shard)
    shards[todo[place]] = shard
  for shard in shards:  # In order, whatever was ready first.
    plan.problems.merge(shard.problems)
    shard.notes, shard.problems = [], {}
  plan.finish(half.notes(split, len(shards)))
  return shards


def _streamed(half: Half, split: str, generator, encoded: shards_lib.Encoder,
              shard_bytes: int, tell) -> list[Shard]:
  """Makes the shards of a generator, one behind the other."""
  examples, shards, done = (e for _, e in generator), [], 0
  while (shard := half.kept(split, len(shards))) is not None:
    shards.append(shard)
  for _ in range(sum(shard.records for shard in shards)):
    if next(examples, None) is None:
      raise ValueError(
          f'{half.whole} was made halfway, but its builder gives fewer '
          f'examples now. Delete {half.path}; the data set is then made anew.')
  tell(sum(shard.records for shard in shards), 0)
  records = encoded(examples)
  while True:
    more, records = shards_lib.has_more(records)
    if not more:
      break
    done = shards[-1].end if shards else 0
    shard = shards_lib.write(
        half.records(split, len(shards)), Shard(done, done),
        shards_lib.up_to(shard_bytes, records), encoded.compressed, tell)
    shard.end = shard.first + shard.records
    half.keep(split, len(shards), shard)
    shards.append(shard)
  if not shards:
    raise ValueError(f'Split {split} of {half.whole} was to be made, but its '
                     'builder gives no examples. Leave the split out.')
  return shards


def _publish(builder, half: Half, whole: Mapping[str, list[Shard]],
             shard_bytes: int, downloaded: int) -> None:
  """Writes what TFDS knows of a data set, and moves it to its place."""
  infos, named = [], {}
  for split, shards in whole.items():
    template = builder._get_filename_template(split_name=split)
    kept = [(n, s) for n, s in enumerate(shards) if s.records]
    infos.append(tfds.core.SplitInfo(
        name=split, shard_lengths=[s.records for _, s in kept],
        num_bytes=sum(s.payload for _, s in kept), filename_template=template))
    named[split] = [
        (template.sharded_filepath(shard_index=i, num_shards=len(kept)).name,
         number, shard) for i, (number, shard) in enumerate(kept)]
  builder.info.set_splits(tfds.core.SplitDict(infos))
  builder.info.download_size = downloaded
  builder.info.write_to_directory(half.path)
  if builder.BUILDER_CONFIGS:  # Read by TFDS where there is no code.
    dataset_builder._save_default_config_name(
        builder.data_path.parent.parent,
        default_config_name=builder.get_default_builder_config().name)
  half.publish(named, dict(format=_FORMAT, shard_bytes=shard_bytes))
  logging.info('Made %s: %s records, %.2f GB', half.whole, ', '.join(
      f'{name} {sum(s.records for s in shards):,}'
      for name, shards in whole.items()), sum(
          s.payload for shards in whole.values() for s in shards) / 1e9)
