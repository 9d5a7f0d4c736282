"""A trained detector as what makes region features of pictures."""
from collections.abc import Mapping, Sequence
import dataclasses
import functools
import hashlib
import json
import os
from typing import Any

from bst_jax import elastic
from bst_jax.data import image as image_lib
from bst_jax.data import kinds, region_store
from bst_jax.data.frame import Frame
from bst_jax.run import loaded
import jax
from jax.sharding import NamedSharding, PartitionSpec
import numpy as np

# What of `config.data` says how a picture comes onto the canvas.
_FITTED = 'image_fit', 'image_shorter'
_NEEDED = 'boxes', 'scores', 'found', 'valid', 'features'


@dataclasses.dataclass(frozen=True)
class Found:
  """Regions of a picture, the surest first.

  Attributes:
    regions: float32[n, F], their features.
    boxes: float32[n, 4], x1 y1 x2 y2 as shares of the picture.
    found: int32[n], classes.
    scores: float32[n], of the classes.
  """

  regions: np.ndarray
  boxes: np.ndarray
  found: np.ndarray
  scores: np.ndarray


class Extractor:
  """Finds regions in pictures, as many pictures at once as `batch` says.

    extractor = Extractor('runs/tee')
    first, = extractor([pixels])

  Attributes:
    classes: names of what it finds.
    feature_size: of a region.
    num_regions: of a picture at most.
    batch: pictures of a run; fewer are filled up.
    size: height and width of its canvas.
    fingerprint: of all that decides what comes out but for the number of
      regions, of 12 letters.
  """

  def __init__(self, workdir: str | os.PathLike, step: int | None = None,
               batch: int = 1, regions: int = 0):
    """Loads a detector.

    Args:
      workdir: of task regions, as configs/tee_scenes.py leaves it.
      step: checkpoint; the newest if None.
      batch: pictures of a run, a multiple of the devices of this process.
      regions: of a picture at most; 0 for as many as the model says.

    Raises:
      ValueError: it is no detector, or one without classes or features.
    """
    self.workdir, self.batch = os.fspath(workdir), batch
    net = loaded.load(workdir, step=step)
    self._config, self._params = net.experiment.config, net.params
    self._model = net.model.clone(regions=regions) if regions and hasattr(
        net.model, 'regions') else net.model
    self._check(net)
    self.classes = tuple(net.answers)
    self.feature_size = self._model.hidden
    self.num_regions = self._model.regions
    self.size = image_lib.sides(net.experiment.sizes['image_size'])
    about = {
        'model': elastic.fingerprint(net.experiment.shapes),
        'parameters': elastic.checksum(net.params),
        'options': {key: value for key, value in self._config.model.items()
                    if key != 'regions'}, 'size': self.size} | {
            key: self._config.data.get(key) for key in _FITTED}
    self.fingerprint = hashlib.sha256(json.dumps(
        about, sort_keys=True, default=dict).encode()).hexdigest()[:12]

  def _check(self, net):
    name = self._config.model.name
    if net.experiment.task.form != 'objects' or not hasattr(
        self._model, 'hidden'):
      raise ValueError(
          f'{self.workdir} was to find regions in pictures, but it holds '
          f'{name} for task {self._config.task.name}, which has no features of '
          'regions. Give a workdir of a detector, as configs/tee_scenes.py '
          'makes it.')
    if not net.answers:
      raise ValueError(
          f'{self.workdir} was to find regions in pictures, but it has no '
          'vocab/answers.json, which names its classes; copy it from where the '
          'detector was trained.')
    count = jax.local_device_count()
    if self.batch % count:
      raise ValueError(
          f'{self.batch} pictures at a time were asked for, which {count} '
          f'devices cannot share; give a multiple of {count}.')

  def framed(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What is read of a picture uint8[h, w, 3]: image, extent and place."""
    frame = Frame(pixels.shape[:2], self.size,
                  kinds.image_fit(self._config.data),
                  shorter=self._config.data.get('image_shorter', 0))
    return {'image': frame.draw(pixels),
            'extent': np.array(frame.extent, np.int32), 'place': frame.place}

  def __call__(self, pictures: Sequence[np.ndarray]) -> list[Found]:
    """Regions of pictures uint8[h, w, 3], `batch` at most."""
    return self.of_framed([self.framed(pixels) for pixels in pictures])

  def of_framed(self, pictures: Sequence[Mapping[str, np.ndarray]]
                ) -> list[Found]:
    """The same of pictures that are `framed` already."""
    filled = [*pictures, *[pictures[-1]] * (self.batch - len(pictures))]
    batch = {key: np.stack([one[key] for one in filled])
             for key in ('image', 'extent')}
    params, run, split = self._program
    outputs = jax.device_get(run(params, jax.device_put(batch, split)))
    return [self._found(i, one['place'], outputs)
            for i, one in enumerate(pictures)]

  def _found(self, i, place, outputs):
    """The regions of picture i of a run."""
    there = outputs['valid'][i]
    pick = lambda key: outputs[key][i][there]
    height, width = self.size
    shares = pick('boxes') / np.array([width, height] * 2, np.float32)
    low, sides = np.tile(place[:2], 2), np.tile(place[2:] - place[:2], 2)
    return Found(pick('features'), ((shares - low) / sides).clip(0, 1),
                 pick('found'), pick('scores'))

  @functools.cached_property
  def _program(self):
    """Parameters on all devices, what runs, and how a batch is split."""
    mesh = jax.sharding.Mesh(np.array(jax.local_devices()), ('data',))
    whole, split = (NamedSharding(mesh, PartitionSpec(*axes))
                    for axes in ((), ('data',)))

    def call(params, batch):
      outputs = self._model.apply({'params': params}, batch)
      return {name: outputs[name] for name in _NEEDED}

    return jax.device_put(self._params, whole), jax.jit(call), split

  def record(self, path: str | os.PathLike) -> dict[str, Any]:
    """Regions, boxes and tags of a picture file, as the record of a data set.

    Tags are the classes that were found, the surest first.
    """
    pixels = kinds.pixels(kinds.KINDS['image'].file(path, ''), str(path))
    found, = self([pixels])
    if not len(found.boxes):
      raise ValueError(f'no region was found in {path} by {self.workdir}; lower '
                       'config.model.threshold of the extractor.')
    return {'regions': found.regions, 'boxes': found.boxes,
            'tags': region_store.tags(self.classes, found.found, found.scores)}

  def encoded(self, found: Found | None, dtype: str) -> bytes:
    """A record of `region_store`; None is of a picture without regions."""
    if found is None:
      found = Found(np.zeros((0, self.feature_size)), np.zeros((0, 4)),
                    np.zeros(0, int), np.zeros(0))
    return region_store.encoded(found.regions, found.boxes, found.found,
                                found.scores, dtype)
