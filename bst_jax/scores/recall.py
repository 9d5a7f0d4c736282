"""Recall at 1, 5 and 10 of retrieval, from texts to pictures and back."""
from collections.abc import Mapping
from typing import Any

from bst_jax.scores import Measure
import numpy as np

RANKS = (1, 5, 10)


def make(output: str = 'match') -> Measure:
  """Recall of an output float[B], over all pairs of a split.

  The batch has the pairs' `picture` and `text` int[B], numbers within the
  split, and `match` int[B], 1 where they belong together. A picture's text is
  found at K if any of its own is among the K best texts of all; a text's
  picture likewise, averaged over all texts.

  Reference: Karpathy and Fei-Fei, "Deep Visual-Semantic Alignments for
    Generating Image Descriptions", CVPR 2015, the ranking experiments.
  """
  return Measure(
      'recall', 'recall in percent',
      lambda outputs, batch: {
          'score': outputs[output], 'picture': batch['picture'],
          'text': batch['text'], 'match': batch['match']},
      'rows', _finish)


def _finish(rows: Mapping[str, np.ndarray], data: Any) -> dict[str, float]:
  del data
  pictures, picture = np.unique(rows['picture'], return_inverse=True)
  texts, text = np.unique(rows['text'], return_inverse=True)
  shape = len(pictures), len(texts)
  if len(picture) != shape[0] * shape[1]:
    raise ValueError(
        f'recall ranks every text for every picture, but {len(picture)} pairs '
        f'came for {shape[0]} pictures and {shape[1]} texts. Evaluate on a '
        'split of the form retrieval.')
  scores, match = np.zeros(shape, np.float32), np.zeros(shape, bool)
  scores[picture, text], match[picture, text] = rows['score'], rows['match']
  return of_matrix(scores, match)


def of_matrix(scores: np.ndarray, match: np.ndarray) -> dict[str, float]:
  """Percent found at each rank.

  Args:
    scores: float[P, T] of pictures and texts; a tie counts against the match.
    match: bool[P, T].

  Returns:
    {'text_recall@1': …} of pictures whose text is found, then
    {'image_recall@1': …} of texts whose picture is.
  """
  return {
      f'{name}_recall@{k}': 100 * float(np.mean(ranks < k))
      for name, ranks in (('text', _ranks(scores, match)),
                          ('image', _ranks(scores.T, match.T)))
      for k in RANKS}


def _ranks(scores, match):
  """int[n], how many wrong columns stand before the best right one of a row."""
  has = match.any(1)
  scores, match = scores[has], match[has]
  best = np.where(match, scores, -np.inf).max(1, keepdims=True)
  return ((scores >= best) & ~match).sum(1)
