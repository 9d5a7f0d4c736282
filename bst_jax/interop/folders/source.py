"""Where weights are, and the files that lie beside them."""
from collections.abc import Mapping
import dataclasses
import json
import pathlib
import re
from typing import Any

from bst_jax.interop import files
from bst_jax.interop.folders import hub
import numpy as np

CONFIG = 'config.json'
_PICTURES = ('preprocessor_config.json', 'video_preprocessor_config.json')
_PROCESSOR = 'processor_config.json'
# The names by which folders hold their weights, the first that is there.
WEIGHTS = 'model.safetensors'
_WEIGHTS = (WEIGHTS, 'model.safetensors.index.json',
            'pytorch_model.bin', 'pytorch_model.bin.index.json')
_INDEX = '.index.json'
# Of the hub's cache: models--ORGANISATION--NAME/snapshots/REVISION.
_CACHED = re.compile(r'models--([\w.-]+?)--([\w.-]+)')
_ADVICE = (f'A folder has {CONFIG} and one of {", ".join(_WEIGHTS)}; or name '
           'the file of the weights.')


@dataclasses.dataclass(frozen=True)
class Source:
  """A checkpoint and what describes it.

  Attributes:
    weights: the file of weights, or the index of several.
    config: what config.json says; None where there is none of a model.
    pictures: what says how pictures are prepared; None where nothing does.
  """

  weights: pathlib.Path
  config: Mapping[str, Any] | None = None
  pictures: Mapping[str, Any] | None = None

  @property
  def where(self) -> pathlib.Path:
    """The file that describes the model."""
    return self.weights.parent / CONFIG

  def load(self, key: str | None = None) -> dict[str, np.ndarray]:
    """All tensors; see `files.load`."""
    if not self.weights.name.endswith(_INDEX):
      return files.load(self.weights, key)
    tensors = {}
    for name in _parts(self.weights):
      tensors |= files.load(self.weights.parent / name, key)
    return tensors


def find(checkpoint: str | pathlib.Path) -> Source:
  """The files of a checkpoint.

  Args:
    checkpoint: a folder, a file of weights, or hf:ORGANISATION/NAME for what
      the Hugging Face hub has of that name.

  Raises:
    ValueError: there are no weights, several, or a file that cannot be read.
  """
  if str(checkpoint).startswith(hub.PREFIX):
    checkpoint = hub.fetch(str(checkpoint))
  path = pathlib.Path(checkpoint)
  weights = _weights(path) if path.is_dir() else path
  config = _json(weights.parent / CONFIG)
  # Workdirs of ours have a config.json too.
  if config is not None and not {'model_type', 'architecture',
                                 'architectures'} & config.keys():
    config = None
  return Source(weights, config, _pictures(weights.parent))


def name_of(checkpoint: str | pathlib.Path) -> str:
  """What a checkpoint is called, for others: hf:…, or the name of a file.

  Where it lies on this machine is nobody else's matter.
  """
  if str(checkpoint).startswith(hub.PREFIX):
    return str(checkpoint)
  path = pathlib.Path(checkpoint).resolve()
  cached = (_CACHED.fullmatch(part) for part in reversed(path.parts))
  match = next((match for match in cached if match), None)
  return hub.PREFIX + '/'.join(match.groups()) if match else path.name


def _weights(folder):
  """The file of a folder that has the weights."""
  for name in _WEIGHTS:
    if (folder / name).is_file():
      return folder / name
  there = sorted(path.name for path in folder.iterdir()
                 if path.suffix in ('.safetensors', *files.TORCH))
  if len(there) != 1:
    raise ValueError(
        f'{folder} is to be converted, but it holds '
        f'{"several files" if there else "no file"} of weights'
        f'{": " + ", ".join(there[:8]) if there else ""}. {_ADVICE}')
  return folder / there[0]


def _parts(index):
  """Names of the files that an index lists, which are all there."""
  found = _json(index) or {}
  names = found.get('weight_map')
  if not isinstance(names, Mapping) or not names:
    raise ValueError(f'{index} lists no files: it has no weight_map. Fetch it '
                     'again.')
  names = sorted(set(names.values()))
  for name in names:
    if not isinstance(name, str) or pathlib.PurePath(name).name != name:
      raise ValueError(f'{index} names the file {name!r}, which is not of its '
                       'folder. Fetch it again.')
  missing = [name for name in names if not (index.parent / name).is_file()]
  if missing:
    raise ValueError(
        f'{index.parent} holds {len(names) - len(missing)} of the {len(names)} '
        f'files that {index.name} lists; fetch {", ".join(missing[:5])} too.')
  return names


def _pictures(folder):
  """What prepares pictures, from the first file that says it."""
  for name in _PICTURES:
    found = _json(folder / name)
    if found is not None:
      return found
  found = _json(folder / _PROCESSOR) or {}
  return found.get('image_processor') or found.get('video_processor')


def _json(path):
  """A file's dict; None where there is no such file."""
  if not path.is_file():
    return None
  try:
    found = json.loads(path.read_text('utf-8-sig'))
  except ValueError as error:  # Not JSON, or not UTF-8.
    raise ValueError(f'{path} is no readable JSON ({error}); fetch it again.'
                     ) from error
  if not isinstance(found, dict):
    raise ValueError(f'{path} holds a {type(found).__name__} and no names of '
                     'settings; fetch it again.')
  return found
