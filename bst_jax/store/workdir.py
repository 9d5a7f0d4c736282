"""The files of a workdir that are not arrays: config.json and choice.json."""
from collections.abc import Mapping
import difflib
import json
import os
import pathlib
import tempfile
from typing import Any

from bst_jax.elastic import typed
from bst_jax.host import files
import ml_collections

CONFIG = 'config.json'
CHOICE = 'choice.json'

# Keys that change what is printed, kept or measured, or where it is computed,
# never what is learnt.
_HARMLESS = ('log_every', 'save_every', 'eval_every', 'keep', 'keep_best',
             'keep_every', 'profile', 'rules', 'data.cache', 'data.threads',
             'data.prefetch_mib')
# Where the same data lie now, and how long training goes on: these may differ
# too, and are told.
_TOLD = ('data.data_dir', 'data.manual_dir', 'teacher.data.data_dir',
         'teacher.data.manual_dir', 'steps', 'epochs')


def write_config(workdir: str | os.PathLike,
                 config: ml_collections.ConfigDict) -> None:
  """Writes `config` to the workdir's config.json, whole or not at all.

  Raises:
    ValueError: a value is not JSON; the message names its key.
  """
  write_json(workdir, CONFIG, config)


def read_config(workdir: str | os.PathLike) -> ml_collections.ConfigDict:
  """The config that `write_config` wrote; tuples come back as lists.

  Raises:
    ValueError: the workdir has no config.json, or a damaged one.
  """
  return ml_collections.ConfigDict(read_json(workdir, CONFIG))


def check_same(workdir: str | os.PathLike,
               config: ml_collections.ConfigDict) -> list[str]:
  """Raises ValueError if the workdir was made by a config that differs.

  Keys that only say how often to log, save, evaluate or profile, or which
  devices hold what, may differ, and a key that is None may as well be absent.
  So may the place of the data and the number of steps. A workdir without a
  config.json passes.

  Returns:
    What differs in the place of the data or the number of steps, to be told.
  """
  if not (pathlib.Path(workdir) / CONFIG).exists():
    return []
  old, new = _flat(read_json(workdir, CONFIG)), flat(config)
  none = lambda key: old.get(key) is None and new.get(key) is None
  differ = {key: f'{key}: {_text(old, key)} there, {_text(new, key)} now'
            for key in sorted(old.keys() | new.keys())
            if not (_is_harmless(key) or none(key))
            and _text(old, key) != _text(new, key)}
  told = [differ.pop(key) for key in _TOLD if key in differ]
  lines = [f'  {line}' for line in differ.values()]
  if lines:
    raise ValueError(
        f'Training was to go on in {workdir}, but its {CONFIG} is of another '
        'config:\n' + '\n'.join(lines)
        + '\nUse a new --workdir, or give these keys their values there.')
  return told


def check_writable(workdir: str | os.PathLike) -> None:
  """Raises where this process cannot write to the workdir, which it makes.

  Raises:
    ValueError: it is an address, not a folder; or a file cannot be made there,
      and why.
  """
  if '://' in os.fspath(workdir):
    raise ValueError(
        f'{workdir} is the address of a bucket, and a workdir is a folder, to '
        'whose files lines are added. Mount the bucket (Cloud Storage FUSE, '
        'for one: gcsfuse BUCKET /mnt/runs) and give --workdir=/mnt/runs/NAME.')
  try:
    pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=workdir) as f:
      f.write(b'1')
      f.flush()
  except OSError as error:
    raise ValueError(
        f'{workdir} was to be the workdir, but no file can be written there '
        f'({error}). Give a --workdir that this user may write to, on a disk '
        'with room.') from error


def write_choice(workdir: str | os.PathLike, choice: dict[str, Any]) -> None:
  """Writes `choice`, a plain dict, to the workdir's choice.json."""
  write_json(workdir, CHOICE, choice)


def _is_harmless(key: str) -> bool:
  return key in _HARMLESS or key.startswith(
      ('profile.', 'profile_', 'mesh.', 'rules.'))


def _plain(value: Any, key: str = '') -> Any:
  """`value` as JSON types: dicts, lists, numbers, strings, bools and None."""
  if isinstance(value, ml_collections.ConfigDict):
    value = dict(value.items())
  if isinstance(value, dict):
    return {str(name): _plain(item, f'{key}.{name}' if key else str(name))
            for name, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(item, f'{key}[{i}]') for i, item in enumerate(value)]
  if value is None or isinstance(value, (bool, int, float, str)):
    return value
  if getattr(value, 'ndim', None) == 0 and hasattr(value, 'item'):
    return value.item()  # A numpy number.
  raise ValueError(
      f"'{key}' is a {type(value).__name__}, which config.json cannot hold; "
      'use numbers, text, lists, dicts or None.')


def flat(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """{'model.width': 64, ...} of a config, as JSON holds it.

  Raises:
    ValueError: a value is not JSON; the message names its key.
  """
  return _flat(_plain(config))


def _flat(tree: Any, key: str = '') -> dict[str, Any]:
  """{'a.b': leaf} of nested dicts; an empty dict is a leaf."""
  if not isinstance(tree, dict) or not tree:
    return {key: tree}
  flat = {}
  for name, item in tree.items():
    flat.update(_flat(item, f'{key}.{name}' if key else name))
  return flat


def _text(flat: dict[str, Any], key: str) -> str:
  return json.dumps(flat[key]) if key in flat else 'absent'


def write_json(workdir: str | os.PathLike, name: str, value: Any) -> None:
  """Writes a file of JSON beside its place, then renames: never half a file.

  Raises:
    ValueError: a value is not JSON; the message names its key.
  """
  path, value = pathlib.Path(workdir) / name, _plain(value)
  with files.beside(path) as place:
    place.write_text(json.dumps(value, indent=2) + '\n', 'utf-8')


def read_json(workdir: str | os.PathLike, name: str,
              fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
  """The dict of a file that `write_json` wrote.

  Args:
    workdir: that holds it.
    name: of the file.
    fields: {key: type} of what it must have, see `typed.fits`.

  Raises:
    ValueError: the workdir has no such file, or a damaged one.
  """
  path = pathlib.Path(workdir) / name
  if not path.exists():
    raise ValueError(_not_there(pathlib.Path(workdir), name))
  try:
    value = json.loads(path.read_text(encoding='utf-8-sig'))
  except (ValueError, RecursionError) as error:
    raise ValueError(
        f'{path} is not JSON ({error}); restore it from a copy, or use '
        'another workdir.') from error
  if not isinstance(value, dict):
    raise ValueError(
        f'{path} holds a {type(value).__name__}, not a dict; restore it from '
        'a copy, or use another workdir.')
  for key, kind in (fields or {}).items():
    if key not in value or not typed.fits(value[key], kind):
      raise ValueError(
          f'{path} has {key} = {repr(value.get(key))[:80]}, which must be '
          f'{typed.word(kind)}; restore it from a copy, or use another workdir.')
  return value


def read_table(workdir: str | os.PathLike, name: str) -> dict[str, Any]:
  """A table of evaluate: `data`, `split` and a dict a submodel in `rows`.

  Raises:
    ValueError: there is no such file, or a damaged one.
  """
  table = read_json(workdir, name, {'data': str, 'split': str})
  rows = table.get('rows')
  if not isinstance(rows, list) or not all(
      isinstance(row, dict) and isinstance(row.get('submodel'), str)
      and all(typed.fits(row.get(key), float) for key in ('params', 'macs'))
      for row in rows):
    raise ValueError(
        f'{pathlib.Path(workdir) / name} is no table of evaluate, with a row '
        'for each submodel; delete it, and evaluate again.')
  return table


def _not_there(workdir: pathlib.Path, name: str) -> str:
  """Message: what was asked, why it cannot be, which folders would do."""
  if not workdir.exists():
    why = 'that folder does not exist'
  elif not workdir.is_dir():
    why = 'that is a file'
  else:
    held = sorted(path.name for path in workdir.iterdir())
    more = ', ...' if len(held) > 8 else ''
    why = 'it is empty'
    if held:
      why = f'it holds only {", ".join(held[:8])}{more}'
  near = _nearby(workdir, name)
  remedy = (f'Workdirs nearby: {", ".join(near)}.' if near
            else 'Give a workdir that bst_jax.train, extract or convert wrote.')
  return f'{name} was looked for in {workdir}, but {why}. {remedy}'


def _nearby(workdir: pathlib.Path, name: str, most: int = 5) -> list[str]:
  """Folders around `workdir` that hold a file `name`, most alike first."""
  around = workdir.parent
  while not around.is_dir():
    around = around.parent
  found = set()
  for root in {around, around.parent, workdir}:
    for pattern in (name, f'*/{name}'):
      found.update(str(path.parent) for path in root.glob(pattern))
  alike = lambda path: difflib.SequenceMatcher(None, path, str(workdir)).ratio()
  return sorted(found, key=lambda path: (-alike(path), path))[:most]
