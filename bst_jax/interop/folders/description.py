"""What files beside the weights say of a model, read key by key."""
from collections.abc import Collection, Mapping, Sequence
import dataclasses
from typing import Any

from absl import logging
from bst_jax.elastic import typed

# Pixels of a side; more is a mistake.
LARGEST = 4096
# Activations of ours by their foreign names.
ACTIVATIONS = {
    'gelu': 'gelu', 'gelu_python': 'gelu', 'gelu_new': 'gelu_tanh',
    'gelu_fast': 'gelu_tanh', 'gelu_accurate': 'gelu_tanh',
    'gelu_pytorch_tanh': 'gelu_tanh', 'gelu_python_tanh': 'gelu_tanh',
    'quick_gelu': 'quick_gelu', 'relu': 'relu', 'silu': 'silu',
    'swish': 'silu'}


@dataclasses.dataclass(frozen=True)
class Description:
  """A model as the files beside its weights describe it.

  Attributes:
    where: the file.
    model: arguments of the model, `name` among them.
    sizes: what data decide: num_answers, image_size or clip_size.
    labels: names of the classes.
    fit: how pictures come to their size, of `image.FITS`.
    resize: how places are resized to another size, of `tokens.RESIZES`.
    grid: rows and columns of patches that the places are of; None where nothing
      says it.
    part: it is of a part of models, whose other sizes it does not say.
  """

  where: str
  model: Mapping[str, Any]
  sizes: Mapping[str, Any]
  labels: tuple[str, ...] = ()
  fit: str = 'crop'
  resize: str = 'bicubic'
  grid: tuple[int, int] | None = None
  part: bool = False


class Keys:
  """Settings of a file, of which every one that is read is noted."""

  def __init__(self, values: Mapping[str, Any], where: str,
               harmless: Collection[str] = ()):
    """Takes the settings.

    Args:
      values: by key.
      where: the file, for errors.
      harmless: keys that change nothing of what a trained model computes.
    """
    self._values, self.where = values, where
    self._read = set(harmless)

  def get(self, key: str, default: Any = None) -> Any:
    """A setting, or what holds where the file is silent."""
    self._read.add(key)
    value = self._values.get(key)
    return default if value is None else value

  def count(self, key: str, default: int | None = None,
            most: int = 10 ** 6) -> int:
    """A setting that is a whole number from 1 to `most`."""
    value = self.get(key, default)
    if type(value) is not int or not 1 <= value <= most:
      raise ValueError(
          f'{self.where}: {key} is {value!r}, but it is a whole number from 1 '
          f'to {most:,}. Fetch the file again.')
    return value

  def number(self, key: str, default: float) -> float:
    """A setting that is a number above zero."""
    value = self.get(key, default)
    if not _is_number(value) or value <= 0:
      raise ValueError(f'{self.where}: {key} is {value!r}, but it is a number '
                       'above zero. Fetch the file again.')
    return float(value)

  def flag(self, key: str, default: bool) -> bool:
    """A setting that is true or false."""
    value = self.get(key, default)
    if not isinstance(value, bool):
      raise ValueError(f'{self.where}: {key} is {value!r}, but it is true or '
                       'false. Fetch the file again.')
    return value

  def flags(self, key: str, default: Sequence[bool]) -> tuple[bool, ...]:
    """A setting that is a list of as many true and false as there are usually.
    """
    value = self.get(key, default)
    if not isinstance(value, (list, tuple)) or len(value) != len(
        default) or not all(isinstance(x, bool) for x in value):
      raise ValueError(
          f'{self.where}: {key} is {value!r}, but it is a list of '
          f'{len(default)} of true and false. Fetch the file again.')
    return tuple(value)

  def numbers(self, key: str, default: Sequence[float], least: float,
              count: int | None = None, whole: bool = False) -> tuple:
    """A setting that is a list of numbers.

    Args:
      key: of the setting.
      default: what holds where the file is silent.
      least: that each of them is.
      count: of them; any if None.
      whole: they have no fractions.
    """
    value = self.get(key, default)
    kind = int if whole else (int, float)
    if not isinstance(value, (list, tuple)) or not value or not all(
        _is_number(x) and isinstance(x, kind) and x >= least for x in value):
      raise ValueError(
          f'{self.where}: {key} is {value!r}, but it is a list of '
          f'{"whole " if whole else ""}numbers of at least {least}. Fetch the '
          'file again.')
    if count is not None and len(value) != count:
      raise ValueError(f'{self.where}: {key} is {value!r}, but the model needs '
                       f'{count} numbers. Fetch the file again.')
    return tuple(value)

  def inner(self, key: str, where: str) -> 'Keys':
    """Settings inside of a setting; none where there is no such."""
    value = self.get(key, {})
    if not isinstance(value, Mapping):
      raise ValueError(f'{self.where}: {key} is {value!r}, but it holds '
                       'settings. Fetch the file again.')
    return Keys(value, where)

  def only(self, key: str, possible: Any, default: Any = None,
           why: str = '') -> None:
    """Raises where a setting is another than the one that can be built.

    Args:
      key: of the setting.
      possible: what the model can be.
      default: what holds where the file is silent; `possible` if None.
      why: a word more for the error.
    """
    value = self.get(key, possible if default is None else default)
    if value != possible:
      raise ValueError(
          f'{self.where}: {key} is {value!r}, but this model can only be '
          f'converted with {possible!r}{why and ": " + why}.')

  def activation(self, key: str = 'hidden_act', default: str = 'gelu') -> str:
    """Our name of an activation."""
    value = self.get(key, default)
    if not isinstance(value, str) or value not in ACTIVATIONS:
      raise ValueError(
          f'{self.where}: {key} is {value!r}, but the model can only have '
          f'{", ".join(sorted(ACTIVATIONS))}. Write a backbone of your own for '
          'it: docs/own_backbone.md.')
    return ACTIVATIONS[value]

  def side(self, key: str, default: int) -> int:
    """Pixels of a side: one number, or the same for height and width."""
    value = self.get(key, default)
    if isinstance(value, list) and value and all(x == value[0] for x in value):
      value = value[0]
    if type(value) is not int or not 1 <= value <= LARGEST:
      raise ValueError(
          f'{self.where}: {key} is {value!r}, but the model can only have '
          f'squares: one whole number up to {LARGEST}.')
    return value

  def heads(self, width: int, heads: int, key: str) -> int:
    """A number of heads that divides the channels."""
    if heads < 1 or width % heads:
      raise ValueError(
          f'{self.where}: {key} is {heads}, which does not divide the {width} '
          'channels. Fetch the file again.')
    return heads

  def tell_unread(self) -> None:
    """Logs the settings that nobody read."""
    unread = sorted(self._values.keys() - self._read)
    if unread:
      logging.warning(
          '%s has settings that are not read here; if one of them changes what '
          'the model computes, its answers are others: %s.', self.where,
          ', '.join(f'{key}={self._values[key]!r:.40}' for key in unread))


def _is_number(value):
  return typed.fits(value, float)  # Finite.


def labels(keys: Keys, classes: int | None) -> tuple[str, ...]:
  """Names of the classes, in order.

  Args:
    keys: of config.json, with `id2label`.
    classes: how many the weights have; None where they have no head.

  Raises:
    ValueError: a number is without a name, or their count is another.
  """
  found = keys.get('id2label')
  if found in (None, {}):
    count = classes or keys.count('num_labels', 2)
    return tuple(f'LABEL_{i}' for i in range(count))
  try:
    by_number = {int(number): str(name) for number, name in found.items()}
  except (AttributeError, ValueError):
    by_number = {}
  if not by_number or sorted(by_number) != list(range(len(found))):
    raise ValueError(
        f'{keys.where}: id2label does not name the classes 0, 1, 2, …, one '
        'each. Fetch the file again.')
  if classes is not None and classes != len(by_number):
    raise ValueError(
        f'{keys.where}: id2label names {len(by_number):,} classes, but the '
        f'head of the weights has {classes:,}. Put the config.json beside them that '
        'they came with.')
  return tuple(by_number[i] for i in range(len(by_number)))
