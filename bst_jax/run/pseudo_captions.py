"""Captions of a folder's pictures by a model, as a list that data are made of."""
from collections.abc import Iterator
import itertools
import json
import os
import pathlib

from absl import logging
from bst_jax.data import picture_file
from bst_jax.data.builders import found
from bst_jax.host import alive
from bst_jax.run.captioner import Captioner

_NAMED = 5  # Unreadable pictures that are told.


def write(captioner: Captioner, images: str | os.PathLike,
          output: str | os.PathLike) -> tuple[int, dict[str, str]]:
  """Writes a line of JSON for each picture below a folder.

  A line is {"image": path below the folder, "caption": text, "caption_version":
  fingerprint of the captioner} and, of an extractor, "tags" and "tag_version".
  Put into the folder, the file makes the data set `caption_list`. A run that
  was stopped goes on where it was; a picture that cannot be read is told.

  Args:
    captioner: writes.
    images: folder of pictures.
    output: file to write, .jsonl.

  Returns:
    Lines of the file, and {picture that cannot be read: why}.

  Raises:
    ValueError: the folder has no pictures, or the file holds the captions of
      another captioner.

  Reference: MiniVLM, arXiv 2012.06946, learns from such captions of Open Images.
  """
  output, version = pathlib.Path(output), captioner.fingerprint
  if output.suffix != '.jsonl':
    raise ValueError(f'captions were to be written to {output}, but a list of '
                     'them ends in .jsonl, by which data sets know it.')
  paths = sorted(path for path in found.files(images)
                 if path.lower().endswith(picture_file.SUFFIXES))
  if not paths:
    raise ValueError(
        f'pictures below {images} were to get captions, but there are none; '
        f'files of pictures end in {", ".join(picture_file.SUFFIXES)}.')
  done = _done(output, version)
  names = [os.path.relpath(path, images) for path in paths]
  todo = [(name, path) for name, path in zip(names, paths) if name not in done]
  output.parent.mkdir(parents=True, exist_ok=True)
  lines, bad = len(done), {}
  with open(output, 'a', encoding='utf-8') as file, alive.counted(
      'writing captions', len(todo), 'pictures') as count:
    for start in range(0, len(todo), captioner.batch):
      some = todo[start:start + captioner.batch]
      read = [*_read(captioner, some, bad)]
      told = captioner.of_read([one for _, one in read]) if read else ()
      for (name, _), one in zip(read, told):
        file.write(json.dumps(_line(captioner, version, name, one),
                              ensure_ascii=False) + '\n')
      file.flush()
      lines += len(read)
      count(len(some))
  if bad:
    logging.warning('%d of %d pictures cannot be read, and have no caption: %s.',
                    len(bad), len(todo), '; '.join(
                        f'{name}: {why}' for name, why in itertools.islice(
                            bad.items(), _NAMED)))
  return lines, bad


def _line(captioner, version, name, told):
  """The entry of a picture."""
  entry = {'image': name, 'caption': told.caption, 'caption_version': version}
  if captioner.extractor is not None:
    entry |= {'tags': [[tag, round(confidence, 4)]
                       for tag, confidence in told.tags],
              'tag_version': captioner.extractor.fingerprint}
  return entry


def _read(captioner, some, bad) -> Iterator[tuple[str, tuple]]:
  """Yields (name, what is read of it); puts others into `bad`."""
  for name, path in some:
    try:
      yield name, captioner.read(path)
    except (OSError, ValueError) as error:
      bad[name] = str(error)


def _done(output, version):
  """Names of the pictures that the file has, without what a kill tore off."""
  if not output.exists():
    return set()
  text = output.read_bytes()
  whole = text[:text.rfind(b'\n') + 1]
  try:
    entries = [json.loads(line) for line in whole.splitlines() if line.strip()]
    versions = {entry['caption_version'] for entry in entries}
    names = {entry['image'] for entry in entries}
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
        f'captions were to be written to {output}, but it holds something else '
        f'({error!r}). Nothing is overwritten; choose another file.') from error
  if versions - {version}:
    raise ValueError(
        f'captions of {version} were to be written to {output}, but it has '
        f'those of {", ".join(sorted(versions - {version}))}: another model, '
        'checkpoint or search. Nothing is overwritten; choose another file.')
  if len(whole) < len(text):
    with open(output, 'rb+') as file:
      file.truncate(len(whole))
  return names
