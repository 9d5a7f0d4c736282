"""Word vectors in GloVe's text form -> the word table of models/mcan.py.

Every line is a word and its numbers, parted by single spaces; the file may be
packed by gzip or zip, and may be far larger than memory. A word is found as it
is written or, failing that, in lower case; words that are not there are zero.
PAD, UNK and CLS are words like the others. All other parameters keep the values
that they start from.

Reference: Pennington et al., "GloVe: Global Vectors for Word Representation",
  EMNLP 2014. BST, MCAN and OpenVQA start from the vectors of glove.840B.300d.
Differs: they take them from spaCy's package en_vectors_web_lg 2.1.0, which has
  a part of these words, and parts some as its tokenizer does ("dont" into "do"
  and "nt"), to take the mean.
"""
from collections.abc import Iterator, Sequence
import contextlib
import gzip
import os
import pathlib
from typing import Any
import zipfile
import zlib

from absl import logging
from bst_jax.elastic import flatten
from bst_jax.host import alive
from bst_jax.interop.core import COPY
import numpy as np

_OURS = 'words/table'

TABLE = (('vectors', _OURS, COPY),)
IGNORED = RENAMES = ()
PARTIAL = True

_DAMAGE = (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile)


def load(path: str | os.PathLike, words: Sequence[str],
         target: Any) -> dict[str, np.ndarray]:
  """The tensor of TABLE, with a row for every word of a vocabulary.

  Args:
    path: text, .gz, or a .zip that has one .txt, or one named after the size,
      as glove.6B.300d.txt.
    words: of the vocabulary, in the order of their ids.
    target: parameters of the model, or their shapes.

  Raises:
    ValueError: the model has no word table, or the file is none of vectors of
      its size; the line is named.
  """
  path, table = pathlib.Path(path), flatten(target).get(_OURS)
  if table is None:
    raise ValueError(
        f'{path.name} was to fill the word table of a model that has none: '
        'GloVe is for MCAN. BERT fills word pieces (--table bert).')
  if not path.is_file():
    raise ValueError(f'there is no file {path} of word vectors.')
  vectors = _read(path, {*words, *map(str.lower, words)}, table.shape[1])
  rows = [vectors.get(w, vectors.get(w.lower())) for w in words]
  lacking = [w for w, row in zip(words, rows) if row is None]
  if len(lacking) == len(rows):
    raise ValueError(
        f'{path} has a vector of none of the {len(rows):,} words of the '
        f'vocabulary, as {list(words[3:6])}; is it of another language?')
  logging.info(
      'Of the %s words of the vocabulary %s have a vector in %s; %s start at '
      'zero%s.', f'{len(rows):,}', f'{len(rows) - len(lacking):,}', path,
      f'{len(lacking):,}', f', as {", ".join(lacking[:8])}' if lacking else '')
  zero = np.zeros(table.shape[1], np.float32)
  return {'vectors': np.stack([zero if r is None else r for r in rows])}


def _read(path, wanted, size) -> dict[str, np.ndarray]:
  """{word: float32[size]} of the words that the file has, the first of each."""
  words, found = {w.encode(): w for w in wanted}, {}
  for number, line in _lines(path, size):
    line = line.rstrip(b'\r\n ')
    if line and line.count(b' ') != size:
      _check_spaced(line, size, f'line {number:,} of {path}', number == 1)
      continue  # No word of a vocabulary has spaces in it.
    word = words.get(line.partition(b' ')[0])
    if word is not None and word not in found:
      found[word] = _numbers(line.split(b' ')[1:], f'line {number:,} of {path}')
  return found


def _check_spaced(line, size, where, first):
  """Raises unless the word has spaces in it, as a few of glove.840B have."""
  count = 0
  for part in line.split(b' ')[:0:-1]:
    if not _is_number(part):
      break
    count += 1
  if count != size:
    raise ValueError(
        f'{where} has {count} numbers behind its word, where config.model.word '
        f'wants {size}. ' + (
            'Give vectors of that size, without a heading, or another '
            '--config.model.word.' if first else
            'The file is damaged; fetch it again.'))


def _is_number(part):
  try:
    float(part)
  except ValueError:
    return False
  return True


def _numbers(parts, where):
  """float32 of a line's numbers."""
  bad = [part for part in parts if not _is_number(part)]
  row = np.array([] if bad else [float(part) for part in parts], np.float32)
  if bad or not np.isfinite(row).all():
    raise ValueError(
        f'{where} was to be read as a word and its numbers, but has '
        f'{bad[0] if bad else "one that is not finite"!r} among them. The file '
        'is damaged; fetch it again.')
  return row


def _lines(path, size) -> Iterator[tuple[int, bytes]]:
  """(number, line) of the text, behind a progress bar of the bytes on disk."""
  number = 0
  try:
    with open(path, 'rb') as disk, alive.counted(
        f'reading {path.name}', path.stat().st_size, 'bytes',
        unit_scale=True) as count:
      done = 0
      with _unpacked(disk, path, size) as text:
        for number, line in enumerate(text, 1):
          if number % 5000 == 0:
            count(disk.tell() - done)
            done = disk.tell()
          yield number, line
  except _DAMAGE as error:
    raise ValueError(
        f'{path} cannot be read beyond line {number:,} ({error}); it is '
        'damaged or cut short. Fetch it again.') from error


def _unpacked(disk, path, size):
  """The text in an open file, as a context of lines."""
  if path.suffix == '.gz':
    return gzip.GzipFile(fileobj=disk)
  if path.suffix != '.zip':
    return contextlib.nullcontext(disk)
  packed = zipfile.ZipFile(disk)
  names = [name for name in packed.namelist() if name.endswith('.txt')]
  if len(names) > 1:  # glove.6B.zip has four sizes.
    names = [name for name in names if f'.{size}d.' in name]
  if len(names) != 1:
    raise ValueError(
        f'{path} was to hold one .txt of vectors, or one with .{size}d. in its '
        f'name as config.model.word is {size}, but holds '
        f'{packed.namelist()[:8]}. Unpack it, and name the file that is meant.')
  return packed.open(names[0])
