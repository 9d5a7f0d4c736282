"""Scores of captions: CIDEr-D, CIDEr, BLEU-1 to BLEU-4 and ROUGE-L, in percent.

CIDEr-D is what COCO's server and published tables call CIDEr, and may be above
100. Document frequencies come from the references that are evaluated, as there,
or from a corpus that was stored; the title of the numbers says which.

  captions.corpus(references).save('coco.npz')    # of a training split
  --config.task.measure="{'name': 'captions', 'frequencies': 'coco.npz'}"

Reference: Chen et al., "Microsoft COCO Captions: Data Collection and Evaluation
  Server", arXiv 1504.00325. Words are split as `scores.ptb` says. METEOR and
  SPICE, which take Java programs, are left out.
"""
from collections.abc import Mapping, Sequence
import json
import os
import pathlib
from typing import Any

from absl import logging
from bst_jax.scores import bleu, cider, Measure, ptb, rouge
import jax
import jax.numpy as jnp
import numpy as np

# Words that end no sentence.
OPEN = frozenset(
    'a an the and or of in on at with to for by from as into onto is are his '
    'her its their while that'.split())
# Words that a vocabulary lacks: what a model says and what people said differ.
_UNKNOWN = {'said': '\ue000', 'tokens': '\ue001'}


def make(output: str = 'captions', frequencies: str = '') -> Measure:
  """Scores of an output int[P, T] or int[P Q, T]: tokens of a caption.

  The batch has the form `captions`, with Q references of each of P pictures
  side by side: `tokens` int[P Q, M] and `picture` int[P Q]. Of several captions
  of a picture the first counts. References are read from tokens, so that those
  longer than config.data.max_tokens are cut; the log says how many may be.

  Args:
    output: its name.
    frequencies: file of `cider.Frequencies.save`, made by `corpus`; '' takes
      them from the references that are evaluated.

  Raises:
    ValueError: the file is none, or not of texts.
  """
  known = cider.Frequencies.load(frequencies) if frequencies else None
  _check(known)
  which = 'the references evaluated' if known is None else (
      f'{frequencies}, {known.pictures:,} pictures')

  def finish(rows, data):
    return of_texts(*texts(rows, data.vocabularies['words']), known)

  return Measure(
      'captions', f'percent, CIDEr by document frequencies of {which}',
      lambda outputs, batch: read(outputs[output], batch), 'rows', finish)


def read(said: jax.Array, batch: Mapping[str, jax.Array]
         ) -> dict[str, jax.Array]:
  """Rows for `texts`, one a reference.

  Args:
    said: int[P, T] or int[P Q, T], tokens of captions.
    batch: with `picture` int[P Q] and `tokens` int[P Q, M], or `whole`, the
      same before words were masked.
  """
  tokens = batch.get('whole', batch['tokens'])
  return {'said': jnp.repeat(said, len(tokens) // len(said), axis=0),
          'tokens': tokens, 'picture': batch['picture']}


def texts(rows: Mapping[str, np.ndarray], words: Any
          ) -> tuple[list[str], list[list[str]]]:
  """Captions of pictures, and their references.

  A caption ends before its first closing token, or padding.

  Args:
    rows: of `read`, of a whole split.
    words: the vocabulary, see `data.words`.
  """
  _, first, owner = np.unique(rows['picture'], return_index=True,
                              return_inverse=True)
  unknown = getattr(words, 'unk', words.mask)
  long = int((~np.isin(rows['tokens'][:, -1], words.special[:1])).sum())
  strange = int((rows['tokens'] == unknown).any(1).sum())
  if long or strange:
    logging.info(
        'Of %d references %d fill all %d tokens, so that their ends may be cut '
        'off, and %d have words that the vocabulary lacks, which match none.',
        len(owner), long, rows['tokens'].shape[1], strange)
  said = [_text(rows['said'][i], words, unknown, 'said') for i in first]
  references = [[] for _ in first]
  for row, picture in zip(rows['tokens'], owner):
    references[picture].append(_text(row, words, unknown, 'tokens'))
  return said, references


def of_texts(captions: Sequence[str], references: Sequence[Sequence[str]],
             frequencies: cider.Frequencies | None = None) -> dict[str, float]:
  """Scores of a caption of each picture.

  A caption without words scores 0 and counts in every mean. CIDEr and CIDEr-D
  of one picture by its own references are NaN, as every word weighs nothing.

  Args:
    captions: of P pictures.
    references: of each, at least one.
    frequencies: of `corpus`; None takes them from the references.

  Returns:
    {'CIDEr-D', 'CIDEr', 'BLEU-1' to 'BLEU-4', 'ROUGE-L', 'open ends', 'empty':
    percent}; the last two are shares of captions that end in a word as "a" or
    "with", and of those without words.

  Raises:
    ValueError: there are not as many of both, or a picture has no reference.
  """
  if len(captions) != len(references) or not len(captions):
    raise ValueError(
        f'{len(captions)} captions were to be scored by the references of '
        f'{len(references)} pictures; give one caption of each picture.')
  _check(frequencies)
  said = [ptb.words(text) for text in captions]
  known = [[ptb.words(text) for text in of] for of in references]
  scores = {'CIDEr-D': float('nan'), 'CIDEr': float('nan')}
  if frequencies is None and len(known) < 2:
    logging.warning(
        'CIDEr of one picture is undefined: by its own references every word '
        'weighs nothing. Evaluate more pictures, or give '
        'config.task.measure.frequencies.')
  else:
    corpus_ = frequencies or _corpus(known)
    numbers = _Numbers(corpus_.words)
    ids = numbers(said), [numbers(of) for of in known]
    for name, score in (('CIDEr-D', cider.cider_d), ('CIDEr', cider.cider)):
      scores[name] = 10 * float(score(*ids, corpus_).mean())
  for n, score in enumerate(bleu.bleu(said, known), 1):
    scores[f'BLEU-{n}'] = 100 * score
  scores['ROUGE-L'] = 100 * float(np.mean(
      [rouge.rouge_l(*both) for both in zip(said, known, strict=True)]))
  return scores | {
      'open ends': 100 * open_ends(said),
      'empty': 100 * float(np.mean([not words for words in said]))}


def corpus(references: Sequence[Sequence[str]]) -> cider.Frequencies:
  """Document frequencies of a training split's captions, for `of_texts`.

  Args:
    references: texts of each picture.
  """
  return _corpus([[ptb.words(text) for text in of] for of in references])


def open_ends(captions: Sequence[Sequence[str]]) -> float:
  """Share, 0 to 1, of captions that end in a word as "a" or "with".

  A reward without the closing token teaches such ends; the share shows it where
  CIDEr does not.

  Args:
    captions: their words, in lower case.
  """
  return float(np.mean([bool(words) and words[-1] in OPEN
                        for words in captions]))


def results(captions: Sequence[str], ids: Sequence[str | int]
            ) -> list[dict[str, Any]]:
  """Captions as COCO's evaluation server takes them, for JSON.

  Args:
    captions: one of each picture; white space is made one blank.
    ids: of the pictures, whole numbers, in the order of the captions.

  Raises:
    ValueError: an id is no number, or two are the same.
  """
  try:
    numbers = [int(id) for id in ids]
  except ValueError as error:
    raise ValueError(
        "captions were to be written for COCO's server, but a picture's id is "
        f'no whole number ({error}). Use a data set with ids of COCO.'
    ) from error
  found = [{'image_id': id, 'caption': ptb.clean(text)}
           for id, text in zip(numbers, captions, strict=True)]
  _check_once(numbers, 'captions to be written')
  return found


def read_results(path: str | os.PathLike) -> dict[int, str]:
  """{id of a picture: caption} of a file with what `results` gives.

  Raises:
    ValueError: it is no such file, or has a picture twice.
  """
  try:
    entries = json.loads(pathlib.Path(path).read_text('utf-8-sig'))
    pairs = [(int(entry['image_id']), str(entry['caption']))
             for entry in entries]
  except (OSError, ValueError, TypeError, KeyError) as error:
    raise ValueError(
        f'{path} was to be read as captions, but it is no list of objects with '
        f'image_id and caption ({error!r}). A file of captions for COCO\'s '
        'server is one.') from error
  _check_once([id for id, _ in pairs], str(path))
  return dict(pairs)


class _Numbers:
  """Words as numbers: those of a corpus, and then new ones as they come."""

  def __init__(self, words):
    self._at = {word: i for i, word in enumerate(words)}

  def __call__(self, captions):
    return [[self._at.setdefault(word, len(self._at)) for word in words]
            for words in captions]


def _corpus(references):
  words = tuple(sorted({word for of in references for one in of
                        for word in one}))
  numbers = _Numbers(words)
  return cider.frequencies([numbers(of) for of in references])._replace(
      words=words)


def _text(ids, words, unknown, side):
  """The text of a row of tokens up to its closing one."""
  padding, opening, *_ = words.special
  ids = ids[int(len(ids) > 0 and ids[0] == opening != padding):]
  ends = np.flatnonzero(np.isin(ids, words.special))
  ids = ids[:ends[0]] if len(ends) else ids
  holes = np.flatnonzero(ids == unknown)
  return f' {_UNKNOWN[side]} '.join(
      words.decode(part[part != unknown]) for part in np.split(ids, holes))


def _check(frequencies):
  if frequencies is not None and (
      frequencies.words is None or frequencies.closing is not None):
    raise ValueError(
        'captions were to be scored by document frequencies of tokens, as '
        'rewards are; evaluation is of words, without a closing token. Make '
        'the file by bst_jax.scores.captions.corpus.')


def _check_once(ids, what):
  twice = len(ids) - len(set(ids))
  if twice:
    raise ValueError(
        f'{what}: {twice} of {len(ids)} are of pictures that have one already; '
        'an evaluation server takes one caption of each.')
