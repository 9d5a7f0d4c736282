"""What a workdir's parameters were once converted from: origin.json."""
import os
import pathlib

from bst_jax.store import workdir as workdirs

NAME = 'origin.json'


def write(workdir: str | os.PathLike, checkpoint: str) -> None:
  """Notes the checkpoint: hf:ORGANISATION/NAME, or the name of a file."""
  workdirs.write_json(workdir, NAME, {'checkpoint': checkpoint})


def of(workdir: str | os.PathLike) -> str | None:
  """The checkpoint that a workdir goes back to.

  A trained workdir goes back to where that came from which its training started
  from; None where no checkpoint is known.
  """
  workdir, seen = pathlib.Path(workdir), set()
  while workdir not in seen:
    seen.add(workdir)
    if (workdir / NAME).is_file():
      checkpoint = workdirs.read_json(workdir, NAME).get('checkpoint')
      return checkpoint if isinstance(checkpoint, str) else None
    if not (workdir / workdirs.CONFIG).is_file():
      return None
    config = workdirs.read_config(workdir)
    start = config.get('start') or config.get('init_from')
    start = start.get('workdir') if hasattr(start, 'get') else start
    if not isinstance(start, str):
      return None
    workdir = pathlib.Path(start)
  return None


def copy(workdir: str | os.PathLike, output: str | os.PathLike) -> None:
  """Notes in a workdir what another one goes back to, if that is known."""
  checkpoint = of(workdir)
  if checkpoint is not None:
    write(output, checkpoint)
