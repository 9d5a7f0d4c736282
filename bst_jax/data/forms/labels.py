"""Classes of pictures or videos: one row a picture.

A batch has, for B pictures or videos:
  image: uint8[B, H, W, 3], of pictures.
  clip: uint8[B, T, H, W, 3], of videos; in evaluation [B V, T, H, W, 3]: the V
    clips of a video, config.data's views x crops, stand together.
  label: int32[B]; float32[B, A] shares of the classes where training mixes
    pictures or smooths labels.
"""
from collections.abc import Collection, Iterable, Mapping, Sequence
import dataclasses
from typing import Any

from bst_jax.data import augment as augment_lib
from bst_jax.data import class_names, video
from bst_jax.data import options as options_lib
from bst_jax.data.forms import Context, Form, Place
from bst_jax.data.vocabularies import Vocabularies
from bst_jax.elastic import check_name
import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options_lib.Options):
  """config.data of pictures with classes."""

  name: str = 'fashion_mnist'
  batch: int = 128
  image_fit: str = 'crop'  # Of pictures outside of training.
  augment: Any = None  # Of training pictures, see `augment.Recipe`.

  def __post_init__(self):
    super().__post_init__()
    augment_lib.Recipe.of(self.augment)

  @property
  def recipe(self) -> augment_lib.Recipe:
    """What training does to pictures and their labels."""
    return augment_lib.Recipe.of(self.augment)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Videos(Options):
  """config.data of videos with classes."""

  frames: int = 8  # Of a clip.
  sampling: str = 'uniform'  # Or 'dense', see `frame_sampling.Sampling`.
  stride: int = 1  # Of dense sampling, in frames.
  views: int = 1  # Clips of a video in evaluation, at different times.
  crops: int = 1  # Of each view: 1, the middle, or 3 along the longer side.
  short: str = 'error'  # Or 'repeat': the last frame of videos with too few.
  shuffle_frames: bool = False  # In evaluation, to see whether order is needed.
  max_missing: float = 1.0  # Share of a split's videos that may not be there.
  check_videos: str = 'all'  # Frames that are tried when made; or 'ends'.

  def __post_init__(self):
    super().__post_init__()
    check_name(self.check_videos, video.CHECKS, 'config.data.check_videos')
    if self.recipe.mixes:
      raise ValueError(
          'config.data.augment.mixup and cutmix mix pictures, but '
          f'{self.name} has videos; leave both at 0.')
    if self.canvases:
      raise ValueError('config.data.canvases are sizes of pictures, but '
                       f'{self.name} has videos; leave it out.')

  @property
  def clips(self) -> int:
    """Clips of a video in evaluation."""
    return self.views * self.crops


@dataclasses.dataclass
class Labels:
  """Classes of a split.

  Attributes:
    labels: int32[n].
    start: int64[n + 1]: a row a picture.
    recipe: what training does to them; None as they are read.
    classes: how many there are; 0 as they are read.
  """

  labels: np.ndarray
  recipe: augment_lib.Recipe | None = None
  classes: int = 0
  pictures = None

  @property
  def start(self) -> np.ndarray:
    return np.arange(len(self.labels) + 1)


def read(records: Iterable[Mapping], lengths: Sequence[int] = (),
         context: Context | None = None) -> Labels:
  """The classes of records; negative where a record's is not known."""
  del lengths, context
  return Labels(np.array([record['label'] for record in records], np.int32))


def beside(records) -> Labels:
  """The same, which lie beside the records once they were read."""
  return Labels(records.column('label').astype(np.int32))


def encode(rows: Labels, names: Vocabularies, context: Context) -> Labels:
  """Classes as numbers of the model's, with what training does to them."""
  own = names.answers  # As in a form of a user's own, without such a feature.
  if 'label' in context.features:
    own = context.features['label'].names
  places = np.array(class_names.places(
      own, names.answers, context.options.name, 'the model'), np.int32)
  labels = np.where(rows.labels < 0, rows.labels,
                    places[np.maximum(rows.labels, 0)])
  return dataclasses.replace(rows, labels=labels, recipe=context.options.recipe,
                             classes=len(names.answers))


def make(rows: Labels, place: Place, pictures: dict) -> dict:
  """The classes of a batch; training may mix its pictures."""
  mask = place.mask.reshape(-1) & (place.groups >= 0)
  labels = np.where(mask, rows.labels[np.maximum(place.groups, 0)], 0)
  labels, recipe = labels.astype(np.int32), rows.recipe
  if place.training and recipe.labels:
    labels = recipe.soft(labels, rows.classes)
    if place.draws is not None and recipe.mixes:
      pixels, labels = recipe.mix(pictures['image'], labels, place.draws)
      pictures = pictures | {'image': pixels}
  return pictures | {'label': labels, 'mask': mask}


def types(sizes: Mapping, options: Options, training: bool) -> dict:
  """The class of a picture, or its shares."""
  if training and options.recipe.labels:
    return {'label': np.zeros(sizes['num_answers'], np.float32)}
  return {'label': np.int32(0)}


def prior(train: Labels, asked: Labels, names: Vocabularies,
          context: Context) -> dict[str, float]:
  """{'overall': percent of a split that is of training's commonest class}."""
  del names, context
  return {'overall': 100 * float(np.mean(
      asked.labels == np.bincount(train.labels).argmax()))}


def _lacks(rows):
  return '' if (rows.labels >= 0).all() else 'not all of it has classes'


def form(features: Collection[str]) -> Form:
  """Classes of pictures, or of videos where the records have these."""
  video = bool({'video', 'strip'} & set(features))
  kind = 'clip' if video else 'image'
  unit = 'videos' if video else 'pictures'
  return Form(
      what=f'{unit} with classes', unit=unit, floor='most frequent class',
      parts=('label',), options=Videos if video else Options,
      kinds=lambda options, features: (kind,), names=('answers',), read=read,
      beside=beside, vocabularies=lambda context: Vocabularies(
          answers=tuple(context.features['label'].names)),
      encode=encode, make=make, types=types, lacks=_lacks, prior=prior)
