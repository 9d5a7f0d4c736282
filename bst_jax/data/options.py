"""Options of config.data: what all forms share; each form adds its own."""
from collections.abc import Mapping
import dataclasses
from typing import Any, Self

from bst_jax.data import augment as augment_lib
from bst_jax.data import image as image_lib
from bst_jax.data import kinds as kinds_lib
from bst_jax.elastic import check_name, typed

# Beyond these it is a mistake, and nothing would tell what takes so long.
_MOST = {'batch': 1 << 20, 'eval_batch': 1 << 20, 'threads': 1024}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
  """What config.data may say of any data set."""

  name: str = 'digit_scenes/easy'  # Data set and its config.
  form: str = 'auto'  # What a row is; 'auto': questions or labels.
  train: str = 'train'  # Split to train on; several as 'train+vg'.
  eval: str = 'test'  # Split to evaluate at the end.
  watch: str = ''  # Split to evaluate while training.
  held_out: str = ''  # Split that methods with such a stream learn from, too.
  batch: int = 64  # Rows of a training step, over all hosts.
  eval_batch: int = 0  # The same in evaluation; 0: four times the pictures.
  image_size: Any = 0  # Height and width, or a side; 0: the data set's own.
  image_fit: str = 'stretch'  # How pictures come to size, see `image.FITS`.
  image_shorter: int = 0  # With 'corner', of the shorter side at most; 0: any.
  canvases: tuple = ()  # Sizes of training pictures, of which a step has one.
  allow_overlap: bool = False  # Evaluate on pictures that training shows?
  data_dir: str = ''  # Home of data sets; '': BST_JAX_DATA or a cache.
  manual_dir: str = ''  # Files of yours that the data set is made from.
  max_bad: int = 0  # Bad records that may be left out while it is made.
  # Of region features that are made: 'float16', 'float32'; '': the data set's.
  store_dtype: str = ''
  # Of region features that are made: what a row has behind them, a name in
  # `regions.POSITIONS`; '': nothing.
  position: str = ''
  seed: int = 0  # Of the order of training, and of all that it draws.
  limit: int = 0  # If positive, pictures of a split at most.
  cache: Any = 'auto'  # Decoded in memory: True, False or, if small, 'auto'.
  sizes: Any = None  # For commands that build a model without its data.
  threads: int = 0  # That make batches ahead; 0: as measured at first use.
  prefetch_mib: int = 1024  # Of batches made ahead, all of a process together.

  @classmethod
  def of(cls, config: Mapping[str, Any], what: str) -> Self:
    """The options of a `config.data` whose rows are called `what` in errors."""
    for key in config:
      check_name(key, names(cls), f'option of config.data of {what}')
    return cls(**{key: tuple(value) if isinstance(value, list) else value
                  for key, value in config.items()})

  def __post_init__(self):
    typed.check(self, 'config.data')
    check_name(self.image_fit, image_lib.FITS, 'way to fit a picture')
    if self.image_size in ((0,), [0], None):  # As flags give a number.
      object.__setattr__(self, 'image_size', 0)
    if self.image_size != 0:
      image_lib.sides(self.image_size)
    if self.cache not in (True, False, 'auto'):
      raise ValueError(f'config.data.cache is {self.cache!r}; it is True, False '
                       "or 'auto'.")
    for size in self.canvases:
      image_lib.sides(size)
    if self.image_shorter and self.image_fit != 'corner':
      raise ValueError(
          f'config.data.image_shorter is {self.image_shorter}, but pictures come '
          f"to their size by image_fit={self.image_fit!r}; with 'corner' they "
          'have sides of their own.')
    for key in ('image_shorter', 'eval_batch', 'limit', 'threads', 'max_bad', 'prefetch_mib'):
      if getattr(self, key) < 0:
        raise ValueError(f'config.data.{key} is {getattr(self, key)}; it is '
                         'positive, or 0 for none.')
    for key, most in _MOST.items():
      if getattr(self, key) > most:
        raise ValueError(f'config.data.{key} is {getattr(self, key):,}; at most '
                         f'{most:,} can be.')

  @property
  def per_group(self) -> tuple[int, int]:
    """Rows that stand together in a batch, in training and in evaluation."""
    return 1, 1

  @property
  def shown(self) -> int:
    """Groups of pictures that training has for one of rows: some draw more."""
    return 1

  @property
  def clips(self) -> int:
    """Inputs of a row in evaluation: of a video, each crop of each view."""
    return 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictured(Options):
  """Options of data whose pictures are read as regions or as they are."""

  inputs: tuple[str, ...] = ('regions',)  # Of 'regions', with boxes, 'image'.
  blank_regions: bool = False  # Fill up with regions that models attend to.
  num_regions: int = 0  # Of a picture in a batch; 0: the data set's own.
  features: str = ''  # Folder of bst_jax.features; '': regions of the data set.
  augment: Any = None  # Of training pictures, see `augment.Recipe`.

  def __post_init__(self):
    super().__post_init__()
    for name in self.inputs:
      check_name(name, kinds_lib.INPUTS, 'input')
    if 'extent' in self.inputs and 'image' not in self.inputs:
      raise ValueError("config.data.inputs has 'extent', the part of an image "
                       "that is picture, but no image; put 'image' there, too.")
    if self.features and 'regions' not in self.inputs:
      raise ValueError(
          'config.data.features are of regions, but config.data.inputs is '
          f"{self.inputs}; put 'regions' there, or leave features out.")
    if self.recipe.labels:
      raise ValueError(
          'config.data.augment may change pictures here, by crop, flip, '
          'rand_augment, erase and repeats; mixup, cutmix and smoothing are of '
          'pictures with one class each. Leave them out.')
    if self.recipe.pictures and 'regions' in self.inputs:
      raise ValueError(
          'config.data.augment changes pictures, but regions are features of '
          "whole ones. Use inputs=('image',), or leave augment out.")
    if self.canvases and 'image' not in self.inputs:
      raise ValueError(
          'config.data.canvases are sizes of pictures, but config.data.inputs '
          f"is {self.inputs}; put 'image' there, or leave canvases out.")


  @property
  def recipe(self) -> augment_lib.Recipe:
    """What training does to pictures."""
    return augment_lib.Recipe.of(self.augment)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Texts(Pictured):
  """Options of data that have texts beside the pictures."""

  # BERT's vocab.txt or RoBERTa's vocab.json, with merges.txt beside it; '':
  # words of the training texts.
  word_pieces: str = ''
  max_tokens: int = 14  # Longer texts are cut off.
  words_from: str = ''  # Split whose texts give the words; '': training's.
  # Forms whose texts have the words, so that one training may go on with
  # another's; (): the form's own.
  words_of: tuple[str, ...] = ()


def names(options: type[Options]) -> tuple[str, ...]:
  """Names of the options that a form has."""
  return tuple(field.name for field in dataclasses.fields(options))
