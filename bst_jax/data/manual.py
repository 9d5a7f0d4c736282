"""Data sets that are made from files of the user's own."""
import dataclasses
import hashlib
import os

from bst_jax.data import buckets
from bst_jax.data.builders import found


def config_of(config, manual_dir: str):
  """The config of a folder's own data set: its name tells folders apart."""
  path = manual_dir.rstrip('/') if buckets.is_remote(manual_dir) else (
      os.path.abspath(os.path.expanduser(manual_dir)))
  last = ''.join(c if c.isalnum() else '_' for c in os.path.basename(path))
  digest = hashlib.sha256(path.encode()).hexdigest()[:8]
  return dataclasses.replace(config, name=f'{config.name}_{last}_{digest}')


def check_there(builder, manual_dir: str):
  """Raises where there is nothing to make a data set from."""
  path = os.path.expanduser(manual_dir)
  if not manual_dir or not os.path.isdir(path) or not os.listdir(path):
    why = (f'{manual_dir} is no folder with files' if manual_dir
           else 'config.data.manual_dir is empty')
    raise ValueError(
        f'The data set {builder.info.full_name} was to be made from files of '
        f'yours, but {why}. {builder.MANUAL_DOWNLOAD_INSTRUCTIONS}')


def check_source(builder, manual_dir: str):
  """Raises where the files changed that the data set was made from."""
  source = (builder.info.metadata or {}).get('source')
  path = os.path.expanduser(manual_dir)
  if source and manual_dir and os.path.isdir(path) and (
      not found.is_fingerprint(source, path)):
    raise ValueError(
        f'{builder.info.full_name} was made from files of {manual_dir}, but '
        f'those are not the same any more. Delete {builder.data_dir}; the data '
        "set is then made anew. Or give config.data.manual_dir='' to use it as "
        'it is.')
