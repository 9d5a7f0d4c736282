"""What files beside the weights say of a model, read key by key."""
from collections.abc import Collection, Mapping
import dataclasses
from typing import Any

from absl import logging

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
    part: it is of a part of models, whose other sizes it does not say.
  """

  where: str
  model: Mapping[str, Any]
  sizes: Mapping[str, Any]
  labels: tuple[str, ...] = ()
  fit: str = 'crop'
  resize: str = 'bicubic'
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

  def count(self, key: str, default: int | None = None) -> int:
    """A setting that is a whole number above zero."""
    value = self.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
      raise ValueError(f'{self.where}: {key} is {value!r}, but it is a whole '
                       'number above zero. Fetch the file again.')
    return value

  def number(self, key: str, default: float) -> float:
    """A setting that is a number."""
    value = self.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
      raise ValueError(f'{self.where}: {key} is {value!r}, but it is a number. '
                       'Fetch the file again.')
    return float(value)

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
    if value not in ACTIVATIONS:
      raise ValueError(
          f'{self.where}: {key} is {value!r}, but the model can only have '
          f'{", ".join(sorted(ACTIVATIONS))}. Write a backbone of your own for '
          'it: docs/own_backbone.md.')
    return ACTIVATIONS[value]

  def side(self, key: str, default: int) -> int:
    """A setting that is one number, or the same for height and width."""
    value = self.get(key, default)
    if isinstance(value, list) and len(set(value)) == 1:
      value = value[0]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
      raise ValueError(
          f'{self.where}: {key} is {value!r}, but the model can only have '
          'squares: one whole number.')
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


def labels(keys: Keys, classes: int | None) -> tuple[str, ...]:
  """Names of the classes, in order.

  Args:
    keys: of config.json, with `id2label`.
    classes: how many the weights have; None where they have no head.

  Raises:
    ValueError: a number is without a name, or their count is another.
  """
  found = keys.get('id2label')
  if not found:
    count = classes or keys.get('num_labels', 2)
    return tuple(f'LABEL_{i}' for i in range(count))
  try:
    by_number = {int(number): str(name) for number, name in found.items()}
  except (AttributeError, ValueError):
    by_number = {}
  if sorted(by_number) != list(range(len(found))):
    raise ValueError(
        f'{keys.where}: id2label does not name the classes 0 to '
        f'{len(found) - 1}, one each. Fetch the file again.')
  if classes is not None and classes != len(by_number):
    raise ValueError(
        f'{keys.where}: id2label names {len(by_number):,} classes, but the head '
        f'of the weights has {classes:,}. Put the config.json beside them that '
        'they came with.')
  return tuple(by_number[i] for i in range(len(by_number)))
