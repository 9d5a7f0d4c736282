"""The way in: a data set, by its name, as batches and vocabularies."""
from collections.abc import Mapping
import os
from typing import Any

from bst_jax.data import augment as augment_lib
from bst_jax.data import batches as batches_lib
from bst_jax.data import forms, pipeline, prefetch, splits
from bst_jax.data import kinds as kinds_lib
from bst_jax.data import options as options_lib
from bst_jax.data import vocabularies as vocabularies_lib
from bst_jax.data.making import data_sets, preparing
from bst_jax.elastic import check_name
import grain
import numpy as np


def load(config: Mapping, vocab_dir: str | os.PathLike | None = None,
         batch: int | None = None, shard_index: int = 0,
         shard_count: int = 1) -> 'Data':
  """Opens a data set, and makes it first if it is not on disk.

  Args:
    config: some or all of the `Options` of the form that it names, or that the
      records of the data set have.
    vocab_dir: where `save_vocab` wrote the vocabularies; they are made from
      the training split where this is None or holds none.
    batch: instead of config's, rows of a batch over all hosts.
    shard_index: this host.
    shard_count: number of hosts.

  Raises:
    ValueError: anything in config that cannot be, before a data set is made
      where its name alone tells.
  """
  config = dict(config)
  if batch is not None:
    config['batch'] = batch
  _check_options(config)
  builder = preparing.prepare(
      *(config.get(key, getattr(options_lib.Options, key))
        for key in ('name', 'data_dir', 'manual_dir', 'max_bad')),
      config.get('max_missing', 1.0),
      store_dtype=config.get('store_dtype', ''),
      position=config.get('position', ''),
      check_videos=config.get('check_videos', 'all'),
      check=lambda builder: splits.opened(builder, config))
  return Data(splits.opened(builder, config), vocab_dir, shard_index,
              shard_count)


def check(config: Mapping) -> splits.Opened:
  """What `load` knows before it makes or reads any data.

  Raises:
    ValueError: no such data set, form, option or, where it is made, split.
  """
  config = dict(config)
  _check_options(config)
  builder = data_sets.builder_of(*(
      config.get(key, getattr(options_lib.Options, key))
      for key in ('name', 'data_dir', 'manual_dir')))
  opened = splits.opened(builder, config)
  if data_sets.is_whole(builder):
    splits.Splits(opened).check()
  return opened


def _check_options(config):
  """Raises where no form that could be meant has an option."""
  known = forms.arguments() | forms.arguments(config.get('form', 'auto'))
  for key in config:
    check_name(key, known, 'option of config.data')


class Data:
  """A data set's batches, with what a model needs to be built for it.

  A batch is a dict of numpy arrays for P pictures and B rows; where a picture
  has Q rows, row q of picture p stands in row p Q + q; where a row has two
  pictures, those of row i are 2 i and 2 i + 1:
    regions: float32[P, N, F] and boxes: float32[P, N, 4], x1 y1 x2 y2 as
      shares of the picture; zero rows are padding. For the input 'regions'.
    image: uint8[P, H, W, 3]. For the input 'image'.
    mask: bool[B], false for padding.
    Everything else is said in the file of the form, see `forms`.

  Attributes:
    form: its name, a file of `forms`.
    vocab: words of the training texts, or word pieces; None without texts.
    answers: what is told apart: answers, the most frequent first, or classes.
    types: types of rows, sorted; by them they are scored.
    vocabularies: {what: names} that models of the data agree on.
    floor, unit: what `prior` is, and what is counted, for tables.
    sizes: what models need to know: 'vocab_size', 'num_answers', 'max_tokens',
      'num_regions', 'feature_size', 'image_size', 'clip_size', as there are.
    epoch: batches, not whole, in which training sees every row once, or every
      picture where several rows of one stand in a batch.
    steps_per_epoch: the whole ones of them, at least one.
    batch: rows of a training step, over all hosts.
    rule: how answers compare, a name in `answers.RULES`.
    example: a training batch of this host, filled with zeros.
    num_shapes: how many shapes training batches have, a program each.
  """

  def __init__(self, opened: splits.Opened,
               vocab_dir: str | os.PathLike | None = None,
               shard_index: int = 0, shard_count: int = 1):
    self.form, self._form, self._options = opened.name, opened.form, (
        opened.options)
    self._builder = opened.builder
    self._splits, self._numbers = splits.Splits(opened), {}
    self._measured = {}  # Threads by split.
    form, options = self._form, self._options
    self.unit, self.floor = form.unit, form.floor
    self.batch = options.batch
    self._recipe = getattr(options, 'recipe', augment_lib.Recipe())
    self._shape, self._eval_shape = batches_lib.shapes(
        options, form.unit, shard_index, shard_count)
    self._recipe.check(self._shape.groups * shard_count, self._shape.groups)

    self._splits.check()
    self._context = self._splits.context
    self.rule = self._context.rule
    self._names = vocabularies_lib.agreed(
        vocab_dir, form, self._context, self._splits.extractor)
    self.vocab, self.answers, self.types = self._names.words, *(
        names or () for names in (self._names.answers, self._names.types))
    lacks = form.lacks(self.split(options.train).rows)
    if lacks:
      raise ValueError(
          f'Split {options.train!r} of {options.name} was to be trained on, but '
          f'{lacks}. Give config.data.train a split that has.')

    batches = self._batches(options.train, self._shape, training=True)
    self.epoch = batches.epoch()
    self.steps_per_epoch = max(1, int(self.epoch))
    batches.check_room()
    self._batches(options.train, self._eval_shape).check_room()
    self.example = batches.empty()
    self.num_shapes = max(1, len(options.canvases))
    self.sizes = self._names.sizes() | (
        form.sizes(self._names) if form.sizes else {})
    labels = form.labels(self._context) if form.labels else {}
    for name, kind in (kinds_lib.KINDS | labels).items():
      if name in self.example:
        self.sizes |= kind.sizes(self.example[name][0])
    if options.canvases:  # Pictures have another size in evaluation.
      self.sizes |= kinds_lib.image_sizes(self._splits.size())

  @property
  def builder(self) -> Any:
    """The data set's builder, of TFDS."""
    return self._builder

  @property
  def vocabularies(self) -> dict[str, object]:
    """What a model that is gone on with must have been trained with."""
    known = {'words': self.vocab, 'answers': tuple(self.answers),
             'attributes': self._names.attributes}
    return {name: names for name, names in known.items()
            if getattr(self._names, name) is not None}

  def save_vocab(self, folder: str | os.PathLike) -> None:
    """Writes the vocabularies, for `load` to read as `vocab_dir`."""
    self._names.save(folder)
    vocabularies_lib.save_extractor(folder, self._splits.extractor)

  def split(self, name: str) -> splits.Split:
    """Rows and pictures of a split, read when it is first asked for."""
    return self._splits.of(name)

  def numbers(self, split: str = '') -> Any:
    """Rows of a split as numbers, as the form's `encode` gives them.

    Args:
      split: its name; '' is training's.
    """
    split = split or self._options.train
    self._batches(split, self._shape)
    return self._numbers[split]

  def train(self, split: str = '') -> grain.DatasetIterator:
    """Endless training batches; has `get_state` and `set_state`.

    Args:
      split: its name; '' is the one that config names as `train`.
    """
    split = split or self._options.train
    return pipeline.train(
        self._batches(split, self._shape, training=True), self._options.seed,
        self._threads(split, bool(self._recipe or self._options.canvases)),
        self._most)

  def evaluation(self, split: str = '') -> pipeline.Evaluation:
    """Batches with each row of a split once; has a length.

    Args:
      split: its name; '' is the one that config names as `eval`.
    """
    split = split or self._options.eval
    self._splits.check_unseen(split)
    return pipeline.Evaluation(self._batches(split, self._eval_shape),
                               self._threads(split), most=self._most)

  def calibration(self, split: str = '', limit: int = 0,
                  groups: np.ndarray | None = None) -> pipeline.Evaluation:
    """Batches as of evaluation, of any split, also of training's own; of a
    video one clip.

    Args:
      split: its name; '' is training's.
      limit: if positive, this many pictures at most, at equal distances.
      groups: int[n], the numbers of the pictures to take; None for all.
    """
    split = split or self._options.train
    return pipeline.Evaluation(
        self._batches(split, self._eval_shape, once=True),
        self._threads(split), limit, self._most, groups)

  def of_each_class(self, count: int, split: str = '', seed: int = 0
                    ) -> np.ndarray:
    """int[classes x count], pictures of each class by chance, for `calibration`.

    Args:
      count: pictures of a class.
      split: its name; '' is training's.
      seed: of the chance.

    Raises:
      ValueError: the data have no classes, or one of them too few pictures.
    """
    split = split or self._options.train
    labels = getattr(self.split(split).rows, 'labels', None)
    if labels is None or not self.answers or len(labels) != len(
        self.split(split).pictures):
      raise ValueError(
          f'{count} pictures of each class were asked for, but '
          f'{self._options.name} has {self._form.what}; ask for a number of '
          'pictures in all.')
    self._batches(split, self._eval_shape)  # Numbers classes as the model does.
    labels, rng = self._numbers[split].labels, np.random.default_rng(seed)
    found, few = [], []
    for i, name in enumerate(self.answers):
      places = np.flatnonzero(labels == i)
      if len(places) < count:
        few.append(f'{name} ({len(places)})')
      found.append(rng.permutation(places)[:count])
    if few:
      more = f' and {len(few) - 5} more' if len(few) > 5 else ''
      raise ValueError(
          f'{count} pictures of each class were asked for, but split {split!r} '
          f'of {self._options.name} has fewer of {", ".join(few[:5])}{more}. '
          'Ask for fewer, or for a number of pictures in all.')
    return np.sort(np.concatenate(found))

  def prior(self, split: str = '') -> dict[str, float]:
    """What is reached without a look at the pictures, in the measure's units.

    Args:
      split: as in `evaluation`.

    Returns:
      {name: number}, as 'overall' and then each type of rows -> percent.
    """
    split = split or self._options.eval
    asked = self.split(split).rows
    lacks = self._form.lacks(asked)
    if lacks:
      raise ValueError(
          f'Split {split!r} of {self._options.name} was to be scored, but '
          f'{lacks}. Where an evaluation server has them, write files of '
          'results: python -m bst_jax.evaluate --results')
    return self._form.prior(self.split(self._options.train).rows, asked,
                            self._names, self._context)

  def ceiling(self, split: str = '') -> dict[str, float]:
    """The most that can be reached, as of `prior`; {} where that is all."""
    if self._form.ceiling is None:
      return {}
    return self._form.ceiling(self.split(split or self._options.eval).rows)

  def has_answers(self, split: str) -> bool:
    """Whether a split can be scored, not only predicted."""
    return not self._form.lacks(self.split(split).rows)

  def ids(self, split: str) -> list[str]:
    """Ids of a split's rows, in the order of `Evaluation.rows`."""
    name = self._options.name
    if self._form.ids is None:
      raise ValueError(
          f'Files for an evaluation server were asked for, but {split} of '
          f'{name} has {self._form.what}, no questions; leave out --results.')
    ids = self._form.ids(self.split(split).rows)
    if not all(ids):
      raise ValueError(
          f'Ids of the questions of {name} were asked for, but it has none. '
          'Use a data set of an evaluation server.')
    return ids

  def written(self) -> dict[str, str]:
    """{answer of the list: as it is written for a server} where they differ."""
    return self._form.written(self._context) if self._form.written else {}

  def _batches(self, name: str, shape: batches_lib.Shape,
               training: bool = False,
               once: bool = False) -> batches_lib.Batches:
    """Batches of a split with its rows as numbers."""
    split = self.split(name)
    if name not in self._numbers:
      self._numbers[name] = self._form.encode(split.rows, self._names,
                                              self._context)
    return batches_lib.Batches(
        self._form, self._numbers[name],
        split.pictures.once() if once else split.pictures, shape, training,
        self._recipe.repeats if training else 1,
        self._options.canvases)

  @property
  def _most(self) -> int:
    """Bytes of batches that are made ahead."""
    return self._options.prefetch_mib << 20

  def _threads(self, name: str, changing: bool = False) -> int:
    """How many threads make batches ahead; `changing`: they draw something."""
    pictures, key = self.split(name).pictures, (name, changing)
    if self._options.threads:
      return self._options.threads
    if pictures.in_memory and not changing:
      # Gathering rows is quicker than handing them over.
      return 1
    if key not in self._measured:
      draw = (self._options.seed, 0)
      self._measured[key] = prefetch.measured(
          lambda numbers: pictures(
              numbers, [draw] * len(numbers) if changing else None),
          len(pictures))
    return self._measured[key]
