"""Configs of workdirs whose model is one that files beside weights describe."""
from absl import logging
from bst_jax.host import config_flag
from bst_jax.interop.folders.description import Description
from bst_jax.interop.folders.source import Source
import ml_collections


def configured(config: ml_collections.ConfigDict | None,
               described: Description | None,
               source: Source) -> ml_collections.ConfigDict:
  """The config of a converted workdir.

  Args:
    config: that a user gave; None for one that the package makes.
    described: the model that files describe; None where there are none.
    source: the checkpoint.

  Raises:
    ValueError: nothing says what model it is, or the two say different ones.
  """
  if described is None:
    if config is None:
      raise ValueError(
          f'{source.weights.name} is to be converted, but nothing says which '
          f'model it is of: there is no {source.where.name} of transformers or '
          'timm beside it. Give --config and --table.')
    return config
  if described.part:
    if config is None:
      raise ValueError(
          f'{described.where} is of BERT, which fills the text side of a model'
          ': give its config, as --config configs/bst_uniter_vqa.py.')
    _check_part(config, described)
    return config
  return _made(described) if config is None else _filled(config, described)


def _made(described):
  """The package's own config, with all that files describe."""
  videos = 'clip_size' in described.sizes
  config = config_flag.load_config(
      f'configs/converted.py{":videos" if videos else ""}')
  config.unlock()
  config.model = dict(described.model)
  config.data.sizes = dict(described.sizes)
  config.data.image_fit = described.fit
  size = described.sizes.get('image_size')
  if videos:
    config.data.frames, *size = described.sizes['clip_size']
  with config.ignore_type():
    config.data.image_size = tuple(size) if isinstance(size, list) else size
  return config


def _filled(config, described):
  """A user's config, with the model and the sizes that files describe."""
  name, given = described.model['name'], config.model.get('name')
  if given != name:
    raise ValueError(f'config.model.name is {given!r}, but {described.where} '
                     f'describes a model of {name!r}; give a config of that, '
                     'or none.')
  config = config.copy_and_resolve_references()
  config.unlock()
  plain = lambda value: tuple(value) if isinstance(value, list) else value
  with config.ignore_type():
    for key, value in described.model.items():
      if key == 'ats':  # Which tokens are sampled is the user's to say.
        continue
      before = config.model.get(key, value)
      if plain(before) != value:
        logging.info('config.model.%s=%s becomes %s, as %s says.', key, before,
                     value, described.where)
      config.model[key] = value
    sizes = dict(config.data.get('sizes') or {})
    # Places are resized to the size of pictures that a user asks for.
    kept = {key: sizes[key] for key in ('image_size',) if key in sizes}
    config.data.sizes = dict(described.sizes) | kept
  return config


def _check_part(config, described):
  """Raises where a config has other sizes than a part that fills its model."""
  for key, value in described.model.items():
    asked = config.model.get(key, value)
    if asked != value:
      raise ValueError(
          f'config.model.{key} is {asked}, but {described.where} says {value}; '
          f'give --config.model.{key}={value}.')
