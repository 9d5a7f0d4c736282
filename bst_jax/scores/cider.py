"""CIDEr and CIDEr-D: captions and references as weighted n-grams, compared.

Captions are lists of numbers, of words or of tokens. An n-gram, of one to four,
weighs as often as it stands in the caption, times the logarithm of the pictures
of a corpus over those whose references have it: the n-grams of every caption
weigh nothing, and one picture is no corpus.

  The references of two pictures are (1 2) and (1 3). Word 1 is in both and
  weighs log 2/2 = 0, words 2, 3 and both pairs weigh log 2/1. The caption (1 2)
  of the first picture equals its reference: similarities 1, 1, 0, 0 of n-grams
  of 1, 2, 3 and 4 words, 10 times their mean is 5.

Reference: Vedantam et al., "CIDEr: Consensus-based Image Description
  Evaluation", CVPR 2015, sections 3 and 4 (CIDEr-D), without stemming, as the
  COCO toolkit and pycocoevalcap 1.2, which call CIDEr-D CIDEr.
"""
from collections.abc import Sequence
import itertools
import os
from typing import NamedTuple

from bst_jax.host import files
from bst_jax.scores import ngrams
import numpy as np

_SIGMA = 6.0  # words, of CIDEr-D's penalty of another length
_SCALE = 10.0 / ngrams.MOST


class Frequencies(NamedTuple):
  """How many pictures of a corpus have each n-gram in a reference.

  An n-gram is known by the place of its first n - 1 words among the shorter
  ones, and by its last word.

  Attributes:
    keys: int64[G_n] of n-grams for each n, sorted.
    counts: int64[G_n], pictures that have them.
    pictures: of the corpus.
    closing: number of the token that ends a caption and counts as a word; None
      where none does.
    words: what numbers stand for; None where that is a vocabulary's business.
  """

  keys: tuple[np.ndarray, ...]
  counts: tuple[np.ndarray, ...]
  pictures: int
  closing: int | None = None
  words: tuple[str, ...] | None = None

  def save(self, path: str | os.PathLike) -> None:
    """Writes an .npz for `load`, whole or not at all."""
    arrays = {f'{name}_{n}': array for name, each in (
        ('keys', self.keys), ('counts', self.counts))
              for n, array in enumerate(each)}
    if self.words is not None:
      arrays['words'] = np.frombuffer('\n'.join(self.words).encode(), np.uint8)
    with files.beside(path) as place, open(place, 'wb') as file:
      np.savez_compressed(
          file, pictures=self.pictures, **arrays,
          closing=-1 if self.closing is None else self.closing)

  @classmethod
  def load(cls, path: str | os.PathLike) -> 'Frequencies':
    """Reads what `save` wrote.

    Raises:
      ValueError: there is no such file, or it holds something else.
    """
    try:
      with np.load(os.path.expanduser(path)) as held:
        each = {name: tuple(held[f'{name}_{n}'] for n in range(ngrams.MOST))
                for name in ('keys', 'counts')}
        closing = int(held['closing'])
        words = tuple(held['words'].tobytes().decode().split('\n')) if (
            'words' in held) else None
        return cls(**each, pictures=int(held['pictures']), words=words,
                   closing=None if closing < 0 else closing)
    except (OSError, ValueError, KeyError, EOFError) as error:
      raise ValueError(
          f'{path} was to be read as document frequencies of captions, but it '
          f'holds none ({error}). Write it with Frequencies.save of '
          'bst_jax.scores.cider, from the captions of a training split.'
      ) from error


def frequencies(references: Sequence[Sequence[ngrams.Numbers]],
                closing: int | None = None) -> Frequencies:
  """Document frequencies of a corpus.

  Args:
    references: of each picture, its captions as numbers, without padding.
    closing: number of the token that ends a caption, if it is to count as a
      word: each caption then has it once, at its end, whether it stands there
      or not.

  Raises:
    ValueError: there is no picture, or a number that none can be.
  """
  if not len(references):
    raise ValueError('document frequencies were asked for of no pictures; give '
                     'the captions of a training split.')
  flat = ngrams.Flat.of([*itertools.chain.from_iterable(references)], closing,
                        closed=True)
  picture = _owners(references)
  keys, counts = [], []
  for level in ngrams.levels(flat):
    # Each once a picture. numpy's unique of so many numbers takes minutes.
    pairs = np.sort(picture[level.owner] * len(level.keys) + level.gram)
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    keys.append(level.keys)
    counts.append(np.bincount(pairs % max(1, len(level.keys)),
                              minlength=len(level.keys)))
  return Frequencies(tuple(keys), tuple(counts), len(references), closing)


def cider_d(candidates: Sequence[ngrams.Numbers],
            references: Sequence[Sequence[ngrams.Numbers]],
            frequencies: Frequencies) -> np.ndarray:
  """CIDEr-D of each candidate, from 0 to 10: the reward of captioning.

  Args:
    candidates: C captions as numbers; those of a picture stand together, as
      many for each. Nothing behind the first closing token counts, and one that
      never closes has none.
    references: of the P pictures, one or more each; C is a multiple of P.
    frequencies: of the corpus, by the same numbers. They say whether a closing
      token counts as a word, and then every reference has one.

  Returns:
    float64[C], finite.

  Raises:
    ValueError: the corpus has one picture, a picture has no reference, or C is
      no multiple of P.

  Reference: Vedantam et al., CVPR 2015, section 4; as a reward Rennie et al.,
    "Self-critical Sequence Training for Image Captioning", CVPR 2017.
  """
  return _scores(candidates, references, frequencies, _SIGMA)


def cider(candidates: Sequence[ngrams.Numbers],
          references: Sequence[Sequence[ngrams.Numbers]],
          frequencies: Frequencies) -> np.ndarray:
  """CIDEr of each candidate, from 0 to 10: plain cosines, any length.

  Arguments, result and errors are those of `cider_d`.

  Reference: Vedantam et al., CVPR 2015, section 3.
  """
  return _scores(candidates, references, frequencies, 0.0)


def _weights(level: ngrams.Level, places: np.ndarray, n: int,
             corpus: Frequencies) -> tuple[np.ndarray, np.ndarray]:
  """float64[G], what n-grams weigh; int64[G], where they are in the corpus.

  Args:
    level: of n-grams.
    places: of the n-grams one shorter, negative where the corpus lacks one.
    n: from 0.
    corpus: of all.
  """
  keys, known = level.keys, corpus.keys[n]
  asked = np.arange(len(keys))
  if n:
    head, word = np.divmod(keys, ngrams.WORDS)
    # Without its beginning the corpus has none; what is left is sorted, and so
    # quick to look up.
    asked = np.flatnonzero(places[head] >= 0)
    keys = places[head[asked]] * ngrams.WORDS + word[asked]
  at = np.searchsorted(known, keys)
  there = at < len(known)
  there[there] = known[at[there]] == keys[there]
  found = np.full(len(level.keys), -1)
  found[asked[there]] = at[there]
  counts = np.ones(len(level.keys))
  counts[asked[there]] = corpus.counts[n][at[there]]
  return np.log(corpus.pictures) - np.log(counts), found


def _scores(candidates, references, corpus, sigma):
  _check(candidates, references, corpus)
  each = len(candidates) // max(1, len(references))
  said = ngrams.Flat.of(candidates, corpus.closing, closed=False)
  flat = said.then(ngrams.Flat.of(
      [*itertools.chain.from_iterable(references)], corpus.closing,
      closed=True))
  picture = np.concatenate([np.repeat(np.arange(len(references)), each),
                            _owners(references)])
  pairs = _Pairs.of(picture, len(candidates))
  total, places = np.zeros(len(pairs.first)), None
  for n, level in enumerate(ngrams.levels(flat)):
    weights, places = _weights(level, places, n, corpus)
    total += pairs.similar(level, weights, picture, clipped=bool(sigma))
  if sigma:
    # The toolkit's length is the number of pairs of words: 0 for one, too.
    lengths = np.maximum(flat.lengths, 1)
    apart = lengths[pairs.first] - lengths[pairs.second]
    total *= np.exp(-apart ** 2 / (2 * sigma ** 2))
  counts = np.bincount(pairs.first, minlength=len(candidates))
  return _SCALE * np.bincount(pairs.first, total, len(candidates)) / counts


class _Pairs(NamedTuple):
  """Each candidate with each reference of its picture, both as captions.

  Attributes:
    first, second: int64[n], the candidate and the reference.
    start: int64[C], the first pair of a candidate, less its first reference.
  """

  first: np.ndarray
  second: np.ndarray
  start: np.ndarray

  @classmethod
  def of(cls, picture, candidates):
    mine, theirs = picture[:candidates], picture[candidates:]
    low = np.searchsorted(theirs, mine)
    counts = np.searchsorted(theirs, mine, 'right') - low
    first, second = _spread(low + candidates, counts)
    return cls(first, second, np.cumsum(counts) - counts - low - candidates)

  def similar(self, level: ngrams.Level, weights: np.ndarray,
              picture: np.ndarray, clipped: bool) -> np.ndarray:
    """float64[n], the cosine of each pair, of n-grams of one n.

    Args:
      level: the n-grams.
      weights: float64[G].
      picture: int64[S], of each caption.
      clipped: count no n-gram of a candidate more often than the reference.
    """
    size = max(1, len(level.keys))
    found, times = np.unique(level.owner * size + level.gram,
                             return_counts=True)
    owner, gram = np.divmod(found, size)
    values = times * weights[gram]
    norms = np.sqrt(np.bincount(owner, values ** 2, len(picture)))
    keys = picture[owner] * size + gram
    # Sorted by caption, and so candidates come before references.
    split = np.searchsorted(owner, len(self.start))
    order = split + np.argsort(keys[split:], kind='stable')
    low = np.searchsorted(keys[order], keys[:split])
    counts = np.searchsorted(keys[order], keys[:split], 'right') - low
    mine, theirs = _spread(low, counts)
    theirs = order[theirs]
    ours, other = values[mine], values[theirs]
    product = (np.minimum(ours, other) if clipped else ours) * other
    dots = np.bincount(self.start[owner[mine]] + owner[theirs], product,
                       len(self.first))
    length = norms[self.first] * norms[self.second]
    return np.divide(dots, length, out=np.zeros(len(dots)), where=length > 0)


def _spread(low, counts):
  """(i, low[i] + 0, …, low[i] + counts[i] - 1) for every i."""
  which = np.repeat(np.arange(len(counts)), counts)
  nth = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
  return which, low[which] + nth


def _owners(references):
  """int64[R], the picture of each reference."""
  return np.repeat(np.arange(len(references)),
                   np.fromiter(map(len, references), np.int64, len(references)))


def _check(candidates, references, corpus):
  if corpus.pictures < 2:
    raise ValueError(
        'CIDEr was asked for by document frequencies of one picture, by which '
        'every word weighs nothing and every caption earns 0. Take them from a '
        'training split.')
  if not len(references) or len(candidates) % len(references):
    raise ValueError(
        f'{len(candidates)} captions were to be scored by the references of '
        f'{len(references)} pictures, but each picture has as many captions. '
        'Give those of a picture next to each other.')
  if without := [i for i, of in enumerate(references) if not len(of)]:
    raise ValueError(
        f'captions were to be scored, but {len(without)} of {len(references)} '
        f'pictures have no reference, as picture {without[0]}. Leave them out.')
