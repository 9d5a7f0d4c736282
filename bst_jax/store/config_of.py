"""The config file that `train --from WORKDIR` reads: what a workdir was made by.

It stands where a file of configs/ does, so that --config.KEY=VALUE overrides
its keys too.
"""
from bst_jax.store import workdir as workdirs
import ml_collections


def get_config(workdir: str) -> ml_collections.ConfigDict:
  """A workdir's config, to train on from its parameters."""
  config = workdirs.read_config(workdir)
  # Workdirs written before these keys were there can override them too.
  for key in ('choice', 'ema', 'teacher_from'):
    config[key] = config.get(key)
  # What it started from itself, and who taught it, is in its parameters.
  config.init_from, config.teacher = None, None
  config.start = dict(workdir=str(workdir), take={}, fresh=())
  return config
