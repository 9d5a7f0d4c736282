"""Many texts as numbers at once."""
from collections.abc import Sequence
from typing import Any

from absl import logging
from bst_jax.data import coded, pieces, text
from bst_jax.data import words as words_lib
import numpy as np


def encode(texts: Sequence[str], words: words_lib.Words, length: int,
           what: str = 'questions') -> np.ndarray:
  """int32[m, T] of m texts; logs how many say more than a model reads.

  Args:
    texts: of which many may be equal.
    words: the vocabulary.
    length: T; longer texts are cut off.
    what: the texts are, for the log.
  """
  different, numbers = coded.different(texts)
  ids, counts, unknown = words.encode_all(different, length)
  unknown, long = int(unknown.sum()), int((counts > length).sum())
  if unknown or long:
    logging.info('Of %d different %s %d have words that training lacks, '
                 'and %d have more than %d words and are cut off.',
                 len(different), what, unknown, long, length)
  return ids[numbers]


def numbered(texts: Sequence[str], words: words_lib.Words, length: int) -> np.ndarray:
  """int32[m, length], an opening word, the text, a closing word, and zeros.

  What does not fit is cut off, the closing word first; the log says how often.

  Args:
    texts: m of them.
    words: the vocabulary.
    length: words that a model reads, both of these among them.
  """
  different, numbers = coded.different(texts)
  first, last = words.special[1], words.special[-1]
  if isinstance(words, pieces.Pieces):
    found = encode(different, words, length + 1, 'captions')[:, :length]
  else:
    found = np.zeros((len(different), length + 1), np.int32)
    found[:, 0] = first
    found[:, 1:] = encode(different, words, length, 'captions')
    ends = (found != 0).sum(1)
    there = np.flatnonzero(ends <= length)
    found[there, ends[there]] = last
    found = found[:, :length]
  open_ = int(((found[:, -1] != 0) & (found[:, -1] != last)).sum())
  if open_:
    logging.info(
        '%d of %d different captions are longer than %d tokens, so that they '
        'teach no end; raise config.data.max_tokens for more.', open_,
        len(different), length)
  return found[numbers]


def behind(texts: Sequence[str], words: words_lib.Words, length: int,
           what: str) -> np.ndarray:
  """int32[m, G] of texts that stand behind others: they have no opening token.

  Args:
    texts: m of them; an empty one has no closing token either.
    words: the vocabulary.
    length: G; longer texts are cut off.
    what: the texts are, for the log.
  """
  opened = isinstance(words, pieces.Pieces)
  found = encode(texts, words, length + opened, what)[:, opened:]
  there = np.array([bool(text.strip()) for text in texts], bool)
  return np.where(there[:, None], found, 0).astype(np.int32)


def vocabulary(context: Any) -> words_lib.Words:
  """The words of a data set's texts.

  Args:
    context: a `forms.Context` whose options are `options.Texts`. They name a
      checkpoint's vocabulary, or the split, and the forms, whose texts have the words.
  """
  options = context.options
  if options.word_pieces:
    return words_lib.read(options.word_pieces)
  split = options.words_from or options.train
  if options.words_of:
    return text.Vocabulary.build(context.texts(split, options.words_of))
  return text.Vocabulary.build(coded.different(context.rows(split).texts)[0])


def blank(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """The array with zeros in the rows where the mask bool[B] is false."""
  if mask.all():
    return array
  shown = mask.reshape(-1, *[1] * (array.ndim - 1))
  return np.where(shown, array, 0).astype(array.dtype)
