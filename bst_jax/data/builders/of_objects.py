"""What builders of pictures with objects in boxes have in common.

A record is a picture:
  image: its raw file; picture: its number in the file of annotations.
  num_objects, num_crowds: how many of either it has.
  objects: of N, crowds last: boxes float32[N, 4], x1 y1 x2 y2 as shares of the
    picture; label int64[N]; is_crowd bool[N]; area float32[N], in square
    pixels, of the box if the file does not tell; id int64[N], of the
    annotations;
    attribute and attribute_of int64[M]: object attribute_of[i] has
    attribute[i]; size int64[2], height and width of the picture in pixels.
"""
import collections
from collections.abc import Mapping, Sequence
import dataclasses
import functools
import os
import pathlib
from typing import NamedTuple

from absl import logging
from bst_jax.data.builders import found, placed, splitting
from bst_jax.data.builders.annotations import Annotations, Objects, Picture
from bst_jax.data.builders.located import Located
from bst_jax.data.builders.problems import Problems, Unusable
from bst_jax.data.making import plan
import numpy as np
import tensorflow_datasets as tfds

_MORE_BYTES = 256  # of a record, beside the picture,
_OBJECT_BYTES = 64  # and of each object.


class Sorted(NamedTuple):
  """What there is to make a data set of.

  Attributes:
    classes: names, by the number of a class.
    numbers: of the classes in the files that they are of.
    attributes: names.
    splits: split -> (the objects of all its pictures, paths of these: None for
      one that is left out).
  """

  classes: Sequence[str]
  numbers: Sequence[int]
  attributes: Sequence[str]
  splits: Mapping[str, tuple[Annotations, Sequence[str | None]]]


class OfObjects(tfds.core.GeneratorBasedBuilder):
  """A data set of objects in pictures, made from files of the user's own.

  A subclass fills in `gathered`.

  Attributes:
    most_bad: how many bad records may be left out.
    source: hash of the files that it is made from.
  """

  COMPRESSED = False  # Pictures are.
  CITATION = ''
  most_bad = 0
  source = ''

  def _info(self) -> tfds.core.DatasetInfo:
    f = tfds.features
    return tfds.core.DatasetInfo(
        builder=self, description=self.__doc__, citation=self.CITATION,
        features=f.FeaturesDict({
            'picture': np.int64, 'num_objects': np.int64,
            'num_crowds': np.int64,
            'image': f.Image(shape=(None, None, 3), encoding_format='jpeg'),
            'objects': f.FeaturesDict({
                'boxes': f.Tensor(shape=(None, 4), dtype=np.float32),
                # Named when the files are read.
                'label': f.Sequence(f.ClassLabel()),
                'is_crowd': f.Tensor(shape=(None,), dtype=np.bool_),
                'area': f.Tensor(shape=(None,), dtype=np.float32),
                'id': f.Tensor(shape=(None,), dtype=np.int64),
                'attribute': f.Sequence(f.ClassLabel()),
                'attribute_of': f.Tensor(shape=(None,), dtype=np.int64),
                'size': f.Tensor(shape=(2,), dtype=np.int64)})}),
        metadata=tfds.core.MetadataDict(), disable_shuffling=True)

  def gathered(self, folder: pathlib.Path, problems: Problems) -> Sorted:
    """Everything that the files of a folder tell of their pictures."""
    raise NotImplementedError

  def _split_generators(self, dl_manager):
    folder, problems = pathlib.Path(dl_manager.manual_dir), Problems(
        self.most_bad)
    with problems.gathered():
      all_ = self.gathered(folder, problems)
      if not all_.splits:
        raise ValueError(
            f'{self.name} was to be made from {folder}, but no split has its '
            f'file there. {self.MANUAL_DOWNLOAD_INSTRUCTIONS}')
      check_apart({split: paths for split, (_, paths) in all_.splits.items()},
                  self.name)
    objects = self.info.features['objects']
    objects['label'].feature.names = list(all_.classes)
    objects['attribute'].feature.names = list(all_.attributes)
    self.info.metadata.update(
        source=self.source, files=found.checksums(folder),
        numbers=list(map(int, all_.numbers)), num_regions=1, left_out={},
        changed={})
    return {split: self._plan(split, *of, problems)
            for split, of in all_.splits.items()}

  def _generate_examples(self, *args):
    raise NotImplementedError  # Splits are plans themselves.

  def _plan(self, split, annotations, paths, problems):
    there = [i for i, path in enumerate(paths) if path]
    # Mixed, so that the first ones are of all classes.
    order = [there[i] for i in plan.by_hash(
        (paths[i] for i in there), split)]
    counts = np.diff(annotations.start)
    sizes = [found.size(paths[i]) + _MORE_BYTES + _OBJECT_BYTES * int(counts[i])
             for i in order]
    return plan.Plan(
        Items(annotations, paths, order), sizes, read, functools.partial(
            self._finish, split, problems), problems)

  def _finish(self, split, problems, notes):
    """Writes what is known of a split's pictures beside it, and of all."""
    columns, changed = [], collections.Counter()
    first = {}
    for *numbers, here in notes:
      columns.append(numbers)
      for what, id in here:
        changed[what] += 1
        first.setdefault(what, id)
    if not columns:
      raise ValueError(f'Split {split} of {self.name} was to be made, but none '
                       f'of its pictures can be used.{problems.told()}')
    columns = np.array(columns, np.int64)
    for name, column in zip(('picture', 'num_objects', 'num_crowds'),
                            columns.T):
      np.save(found.column(self.data_dir, split, name), column)
    facts = self.info.metadata
    facts['num_regions'] = max(facts['num_regions'],
                               int(columns[:, 1:].sum(1).max()))
    facts['left_out'] = problems.report()
    facts['changed'][split] = {
        what: {'count': count, 'first': first[what]}
        for what, count in sorted(changed.items())}
    if problems.counts:
      logging.warning('%s: bad records are left out:\n%s', self.name, problems)
    for what, count in sorted(changed.items()):
      logging.warning('%s, split %s: %s: %d boxes, the first of annotation or '
                      'picture %d.', self.name, split, what, count, first[what])


@dataclasses.dataclass(frozen=True)
class Items(Sequence):
  """(picture, its path, its objects) of each record, made when it is asked for.

  Attributes:
    annotations: of a split.
    paths: of its pictures.
    order: int[n], the pictures that become records.
  """

  annotations: Annotations
  paths: Sequence[str | None]
  order: Sequence[int]

  def __len__(self) -> int:
    return len(self.order)

  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    place = self.order[i]
    return (self.annotations.pictures[place], self.paths[place],
            self.annotations.at(place))


def read(item: tuple[Picture, str, Objects]) -> tuple[dict, tuple]:
  """(example, (number, objects, crowds, boxes that were changed)) of a picture.
  """
  picture, path, objects = item
  try:
    data = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise Unusable('unreadable picture', str(error)) from error
  data, size, turned = placed.picture(
      data, os.fspath(path), picture.height, picture.width)
  there = placed.boxes(objects, *size)
  changed = list(there.changed)
  if turned:
    changed.append(('stored sideways as its boxes are; its flag was taken out',
                    picture.id))
  kept, crowd = there.kept, objects.crowd[there.kept]
  # Objects that are left out take their attributes along.
  place = np.full(len(objects.id), -1)
  place[kept] = np.arange(len(kept))
  owner = place[objects.owner]
  return {
      'picture': picture.id, 'num_objects': int((~crowd).sum()),
      'num_crowds': int(crowd.sum()), 'image': data,
      'objects': {
          'boxes': there.boxes, 'label': objects.label[kept].tolist(),
          'is_crowd': crowd, 'area': there.area.astype(np.float32),
          'id': objects.id[kept],
          'attribute': objects.attributes[owner >= 0].tolist(),
          'attribute_of': owner[owner >= 0],
          'size': np.array(size, np.int64)}}, (
              picture.id, int((~crowd).sum()), int(crowd.sum()), changed)


def paths(annotations: Annotations, located: Located, problems: Problems,
          inside: str = '') -> list[str | None]:
  """The file of each picture; None for one that is left out."""
  found = []
  for picture in annotations.pictures:
    try:
      found.append(located(picture.file, inside))
    except Unusable as error:
      problems.add(error.kind, str(error))
      found.append(None)
  return found


def check_apart(paths: Mapping[str, Sequence[str | None]], name: str) -> None:
  """Raises where a picture is in two splits."""
  seen = {}
  for split, each in paths.items():
    for path in each:
      if path and seen.setdefault(path, split) != split:
        raise ValueError(
            f'Splits {seen[path]} and {split} of {name} were to be made, but '
            f'{path} is in both: what one measures the other would have shown. '
            'Leave it in one.')


def of_files(
    files: Mapping[str, tuple[Annotations, Sequence[str | None], Mapping]],
    folder: pathlib.Path, share: float = 0.0
    ) -> dict[str, tuple[Annotations, Sequence[str | None]]]:
  """Splits of files that are of one each, or of which one holds several.

  A picture is of the split that its own field names, else of that whose list
  has it, else of that which the file's name tells.

  Args:
    files: name -> objects, paths of the pictures, and `splitting.lists`.
    folder: of the files, for errors.
    share: of the pictures without a split that is for evaluation; 0: none may
      be without.

  Raises:
    ValueError: a picture has no split, or two files are of one.
  """
  found = {}
  for name, (annotations, paths, lists) in files.items():
    told = splitting.of_file(name)
    splits = [splitting.NAMES.get(one.split.lower()) or splitting.listed(
        lists, one.file, one.id) or told for one in annotations.pictures]
    if share:
      splits = [split or splitting.by_share(one.file, share)
                for split, one in zip(splits, annotations.pictures)]
    lost = [one.file for one, split in zip(annotations.pictures, splits)
            if not split]
    if lost:
      raise ValueError(
          f'{folder / name} was to be read, but of {len(lost)} of its pictures '
          f'no split is known, as of {lost[0]}. Give train.txt and val.txt '
          "beside it, a picture a line, or its images a field 'split', or name "
          'it after its split, as train.json.')
    mine = parted(annotations, paths, splits)
    if twice := sorted({*mine} & {*found}):
      raise ValueError(
          f'{folder / name} was to be read, but it has pictures of split '
          f'{twice[0]}, as another file there has. Leave one of them.')
    found |= mine
  return {split: found[split] for split in splitting.NAMES.values()
          if split in found}


def parted(annotations: Annotations, paths: Sequence[str | None],
           splits: Sequence[str]
           ) -> dict[str, tuple[Annotations, list[str | None]]]:
  """Objects and paths of each split.

  Args:
    annotations: of all pictures.
    paths: of these.
    splits: of these; a picture of '' is left out.
  """
  places = {split: np.flatnonzero(np.array(splits) == split)
            for split in dict.fromkeys(splits) if split}
  return {split: (annotations.only(mine), [paths[i] for i in mine])
          for split, mine in places.items()}
