"""Pictures or videos with one class each, as batches; the same interface as
`source`.
"""
from collections.abc import Mapping
import os
import pathlib
from typing import Any

from bst_jax.data import augment as augment_lib
from bst_jax.data import batches as batches_lib
from bst_jax.data import clips as clips_lib
from bst_jax.data import image as image_lib
from bst_jax.data import pipeline, text
from bst_jax.data import records as records_lib
from bst_jax.elastic import check_name
import grain
import numpy as np

DEFAULTS = dict(
    name='fashion_mnist',  # Data set.
    train='train',  # Split to train on; several as 'a+b'.
    eval='test',  # Split to evaluate at the end.
    watch='',  # Split to evaluate while training.
    batch=128,  # Examples of a training step, over all hosts.
    eval_batch=0,  # Of an evaluation batch; 0: four times as many.
    image_size=0,  # Of pictures: height and width, or a side; 0: their own.
    image_fit='crop',  # Of pictures outside of training, see `image.FITS`.
    augment=None,  # Of training pictures, see `augment.Recipe`; None: none.
    allow_overlap=False,  # Evaluate on a split that is trained on?
    data_dir='',  # Home of data sets; '': BST_JAX_DATA or a cache.
    manual_dir='',  # Files of yours that the data set is made from.
    max_bad=0,  # Bad records that may be left out while it is made.
    seed=0,  # Of the order of training, and of what augments it.
    limit=0,  # If positive, pictures of a split at most.
    cache='auto',  # Decoded in memory: True, False or, if small, 'auto'.
    sizes=None,  # For commands that build a model without its data.
    threads=0,  # That make batches ahead; 0: chosen by the kind of pictures.
)
CLASSES = 'answers.json'  # As models call what they tell apart.
_SMALL = 2 << 30  # bytes
_EVAL_BATCHES = 4  # of training make one of evaluation


class Labels:
  """A data set of pictures or videos with classes.

  A batch is a dict of numpy arrays for B pictures or videos:
    image: uint8[B, H, W, 3], of pictures.
    clip: uint8[B, T, H, W, 3], of videos; in evaluation [B V, T, H, W, 3]: the
      V clips of a video, config.data's views x crops, stand together.
    label: int32[B]; float32[B, A] shares of the classes where training mixes
      pictures or smooths labels.
    mask: bool[B], false for padding.

  Attributes:
    answers: names of the classes, in their order.
    sizes: {'num_answers', 'image_size'}, or 'clip_size' (T, H, W) of videos.
    floor, unit: what `prior` is, and what is counted, for tables.
    vocabularies: {what: names} that models of the data agree on.
    epoch, steps_per_epoch, example, types, rule: as of `source.Data`.
  """

  types, rule = (), 'exact'
  floor = 'most frequent class'

  def __init__(self, config: dict, builder: Any,
               vocab_dir: str | os.PathLike | None = None,
               shard_index: int = 0, shard_count: int = 1):
    self._video = next((part for part in ('video', 'strip')
                        if part in builder.info.features), '')
    self.unit = 'videos' if self._video else 'pictures'
    known = DEFAULTS | (clips_lib.OPTIONS if self._video else {})
    for key in config:
      check_name(key, known, f'option of config.data of {self.unit} with '
                 'classes')
    self._config = config = known | config
    self._builder, self._splits = builder, {}
    self.answers = tuple(builder.info.features['label'].names)
    if vocab_dir is not None and pathlib.Path(vocab_dir, CLASSES).exists():
      had = tuple(text.load_list(pathlib.Path(vocab_dir, CLASSES)))
      if had != self.answers:
        raise ValueError(
            f'The {len(had)} classes of {vocab_dir} are not the '
            f'{len(self.answers)} of {config["name"]}, or stand in another '
            'order. Evaluate on data with the same classes.')
    check_name(config['image_fit'], image_lib.FITS, 'way to fit a picture')
    self._recipe = augment_lib.Recipe.of(config['augment'])
    self._shape = batches_lib.shape(config['batch'], 1, shard_index,
                                    shard_count, 'examples')
    if self._video and self._recipe.mixes:
      raise ValueError(
          'config.data.augment.mixup and cutmix mix pictures, but '
          f'{config["name"]} has videos; leave both at 0.')
    clips = config.get('views', 1) * config.get('crops', 1)
    many = max(1, _EVAL_BATCHES // max(1, clips)) * self._shape.pictures
    self._eval_shape = batches_lib.shape(
        config['eval_batch'] or many * shard_count, 1, shard_index,
        shard_count, 'examples')
    self._recipe.check(self._shape.pictures * shard_count,
                       self._shape.pictures)
    records_lib.parts_of(builder, config['train'])
    for key in ('eval', 'watch'):
      if config[key]:
        self._check_unseen(config[key])
    batches = self._batches(config['train'], self._shape, self._recipe)
    if (batches.pictures.labels < 0).any():
      raise ValueError(f'Split {config["train"]!r} of {config["name"]} was to be '
                       'trained on, but not all of it has classes.')
    self.epoch = batches.epoch()
    self.steps_per_epoch = max(1, int(self.epoch))
    self.example = batches.empty()
    self.sizes = dict(num_answers=len(self.answers))
    if self._video:
      self.sizes['clip_size'] = self.example['clip'].shape[1:4]
    else:
      height, width = self.example['image'].shape[1:3]
      self.sizes['image_size'] = (height if height == width
                                  else (height, width))

  @property
  def vocabularies(self) -> dict[str, tuple[str, ...]]:
    return {'answers': self.answers}

  def save_vocab(self, folder: str | os.PathLike) -> None:
    """Writes the names of the classes."""
    text.save_list(pathlib.Path(folder, CLASSES), self.answers)

  def train(self) -> grain.DatasetIterator:
    """Endless training batches; has `get_state` and `set_state`."""
    batches = self._batches(self._config['train'], self._shape, self._recipe)
    return pipeline.train(batches, self._config['seed'], self._threads(batches))

  def evaluation(self, split: str = '') -> pipeline.Evaluation:
    """Batches with each picture of a split once; has a length."""
    split = split or self._config['eval']
    self._check_unseen(split)
    batches = self._batches(split, self._eval_shape, augment_lib.Recipe())
    return pipeline.Evaluation(batches, self._threads(batches))

  def calibration(self, split: str = '', limit: int = 0) -> pipeline.Evaluation:
    """Batches as of evaluation, of any split, also of training's own; of a
    video one clip.

    Args:
      split: its name; '' is training's.
      limit: if positive, this many pictures at most, at equal distances.
    """
    split = split or self._config['train']
    batches = self._batches(split, self._eval_shape, augment_lib.Recipe(),
                            limit, once=True)
    return pipeline.Evaluation(batches, self._threads(batches))

  def prior(self, split: str = '') -> dict[str, float]:
    """{'overall': percent of a split that is of training's commonest class}."""
    split = split or self._config['eval']
    train = self._read(self._config['train']).labels
    asked = self._read(split).labels
    if (asked < 0).any():
      raise ValueError(f'Split {split!r} of {self._config["name"]} was to be '
                       'scored, but not all of it has classes.')
    return {'overall': 100 * float(np.mean(
        asked == np.bincount(train).argmax()))}

  def has_answers(self, split: str) -> bool:
    """Whether a split can be scored."""
    return bool((self._read(split).labels >= 0).all())

  def ids(self, split: str) -> list[str]:
    """No data set of classes here has an evaluation server."""
    raise ValueError(
        f'Files for an evaluation server were asked for, but {split} of '
        f'{self._config["name"]} has classes, no questions; leave out '
        '--results.')

  def _check_unseen(self, name: str):
    parts = records_lib.parts_of(self._builder, name)
    both = set(parts) & set(records_lib.parts_of(
        self._builder, self._config['train']))
    if both and not self._config['allow_overlap']:
      raise ValueError(
          f'Split {name!r} was to be evaluated, but training shows '
          f'{sorted(both)}: the accuracy would say too much. Use another '
          'split, or config.data.allow_overlap (evaluate: --allow_overlap) if '
          'that is meant.')

  def _read(self, name: str) -> 'Pictures | clips_lib.Clips':
    """The split, read when it is first asked for."""
    if name not in self._splits:
      parts = ['label', self._video or 'image']
      if self._video == 'video':
        parts.append('frames')
      records = records_lib.read(self._builder, name, parts,
                                 self._config['limit'])
      strip = (self._builder.info.metadata or {}).get('strip', 0)
      size = self._size(strip)
      self._splits[name] = (
          clips_lib.Clips(records, self._config, size, strip) if self._video
          else Pictures(records, self._config, size))
    return self._splits[name]

  def _size(self, strip: int) -> tuple[int, int]:
    """Height and width of a picture or frame of a batch."""
    size = self._config['image_size']
    if size not in (0, (0,), [0]):
      return image_lib.sides(size)
    feature = self._builder.info.features[self._video or 'image']
    height, width = (*feature.shape, None, None)[:2]
    if not height or not width:
      raise ValueError(
          f'The {self.unit} of {self._config["name"]} were asked for as they '
          'are, but they have many sizes and a batch has one. Give '
          'config.data.image_size.')
    return height // max(strip, 1), width

  def _batches(self, name, shape, recipe, limit=0, once=False):
    pictures = self._read(name)
    if once:
      pictures = pictures.once()
    chosen = np.arange(len(pictures.labels))
    if limit and limit < len(chosen):
      chosen = np.linspace(0, len(chosen) - 1, limit).round().astype(int)
    return LabelBatches(pictures, chosen, shape, recipe, len(self.answers))

  def _threads(self, batches) -> int:
    """How many threads make batches ahead."""
    quick = batches.pictures.in_memory and not batches.recipe
    return self._config['threads'] or (1 if quick else 16)


class Pictures:
  """The pictures of a split by number, decoded once where they are few.

  Attributes:
    labels: int32[n].
    row: (H, W, 3), the shape of a picture.
    rows: of a picture in evaluation: one.
    in_memory: all pictures are decoded, and of one size.
  """

  key, rows = 'image', 1

  def __init__(self, records: records_lib.Records | records_lib.Joined,
               config: Mapping[str, Any], size: tuple[int, int]):
    self._records, self._config = records, config
    self._size, self.row = size, (*size, 3)
    first = image_lib.decode(records[0]['image'], name=records.name)
    cache = config['cache']
    if cache == 'auto':
      cache = len(records) * first.nbytes < _SMALL and self.row == first.shape
    self.in_memory = bool(cache)
    self.labels = records.column('label').astype(np.int32)
    self._kept = np.stack([
        image_lib.decode(record['image'], size, records.name,
                         config['image_fit'])
        for record in records_lib.progress(records)]) if cache else None

  def once(self) -> 'Pictures':
    """The same: a picture is in a batch of evaluation once."""
    return self

  def plain(self, numbers: np.ndarray) -> np.ndarray:
    """uint8[B, H, W, 3] of int[B], brought to size as evaluation has it."""
    if self.in_memory:
      return self._kept[numbers]
    return np.stack([image_lib.decode(
        self._records[n]['image'], self._size, self._records.name,
        self._config['image_fit']) for n in numbers.tolist()])

  def drawn(self, numbers: np.ndarray, recipe: augment_lib.Recipe,
            draws: list[tuple[int, ...]]) -> np.ndarray:
    """uint8[B, H, W, 3] of int[B], as training has them by seeds `draws`."""
    if not recipe.pictures:
      return self.plain(numbers)
    return np.stack([
        recipe.picture(self._own(n), self._size, np.random.default_rng(draw),
                       self._config['image_fit'])
        for n, draw in zip(numbers.tolist(), draws)])

  def _own(self, number: int) -> np.ndarray:
    """uint8[h, w, 3], of its own size where it is not kept in memory."""
    if self.in_memory:
      return self._kept[number]
    return image_lib.decode(self._records[number]['image'],
                            name=self._records.name)


class LabelBatches:
  """Makes batch dicts of pictures by number, as `batches.Batches` does."""

  def __init__(self, pictures: Pictures | clips_lib.Clips, chosen: np.ndarray,
               shape: batches_lib.Shape, recipe: augment_lib.Recipe,
               classes: int):
    """Takes the numbers of the pictures that there are to be."""
    self.pictures, self.shape, self.recipe = pictures, shape, recipe
    self._chosen, self._classes = chosen, classes
    self.start = np.arange(len(chosen) + 1)
    self.repeats, self.views = recipe.repeats, pictures.rows

  def units(self) -> np.ndarray:
    """int[n], the pictures of what an epoch goes over."""
    return np.arange(len(self._chosen))

  def epoch(self) -> float:
    """Global batches of an epoch; the last one may be a part.

    It has as many examples as there are pictures. With R repeats these are
    those of an R-th of the pictures, as in DeiT.
    """
    return len(self._chosen) / (self.shape.pictures * self.shape.shard_count)

  def empty(self) -> dict[str, np.ndarray]:
    """A training batch of zeros."""
    count, recipe = self.shape.pictures, self.recipe
    label = np.zeros(count, np.int32)
    return {
        self.pictures.key: np.zeros((count, *self.pictures.row), np.uint8),
        'label': recipe.soft(label, self._classes) if recipe.labels else label,
        'mask': np.zeros(count, bool)}

  def __call__(self, pictures: np.ndarray, questions: np.ndarray,
               mask: np.ndarray, draws: list[tuple[int, ...]] | None = None,
               ) -> dict[str, np.ndarray]:
    """A batch.

    Args:
      pictures: int[B], negative for padding.
      questions: not used: each picture has one class.
      mask: bool[B, 1], false for padding.
      draws: seeds of what augments each picture; None for evaluation.
    """
    real = mask.reshape(-1) & (pictures >= 0)
    numbers = self._chosen[np.maximum(pictures, 0)]
    labels = np.where(real, self.pictures.labels[numbers], 0).astype(np.int32)
    recipe = self.recipe
    pixels = self.pictures.plain(numbers) if draws is None else (
        self.pictures.drawn(numbers, recipe, draws))
    pixels[np.repeat(~real, len(pixels) // len(real))] = 0
    if recipe.labels:
      labels = recipe.soft(labels, self._classes)
      if draws is not None:
        pixels, labels = recipe.mix(pixels, labels, draws)
    return {self.pictures.key: pixels, 'label': labels, 'mask': real}
