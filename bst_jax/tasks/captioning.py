"""Captions of pictures: words that are masked, and texts that are written."""
from collections.abc import Mapping
from typing import Any

from bst_jax import decoding, tasks
from bst_jax.decoding import Rules
from bst_jax.scores import captions
from bst_jax.tasks import losses
import jax


def make(smoothing: float = 0.1, beams: int = 1, least: int = 0, block: int = 0,
         frequencies: str = '', reduction: str = 'mean_batch') -> 'tasks.Task':
  """The task of captioning, whose labels are the form `captioning`.

  A model learns to tell the masked words of a caption; evaluation lets it write
  one of each picture and compares it with all that people wrote.

  Args:
    smoothing: share of the target that the other words have, in equal parts.
    beams: hypotheses of a picture in evaluation; 1 takes the most probable word.
    least: words of a caption at least.
    block: words in a row that no caption says twice; 0 for any.
    frequencies: file of document frequencies, see `scores.captions.make`; ''
      takes them from the references that are evaluated.
    reduction: name in `losses.REDUCTIONS`, over masked words.

  Raises:
    ValueError: there can be no such share, or no such search.

  Reference: MiniVLM, arXiv 2012.06946, and OSCAR, ECCV 2020: 0.1 of smoothing,
    five beams for reported numbers.
  """
  if not 0 <= smoothing < 1 or beams < 1 or least < 0 or block < 0:
    raise ValueError(
        f'config.task has smoothing={smoothing}, beams={beams}, least={least} '
        f'and block={block}; smoothing is a share from 0 to less than 1, beams '
        'are 1 (the most probable word again and again) or more, and least and '
        'block 0 or more.')

  def rows(each, outputs, batch):
    real = batch['told'] & batch['mask'][:, None]           # [B, K]
    return {'words': tasks.Rows(
        each.reshape(-1), real.reshape(-1).astype(each.dtype),
        outputs['words'].shape[-1])}

  def loss(outputs, batch, key):
    return rows(losses.smoothed(outputs['words'], batch['words'], smoothing),
                outputs, batch)

  def decode(model, params, batch, sizes):
    allowed = rules(sizes, batch['tokens'].shape[1], least, block,
                    rows=model.vocab_size)
    found = decoding.decode(model, params, batch, allowed, special(sizes)[2],
                            beams=beams)
    return {'captions': found.tokens}

  return tasks.Task(
      form='captioning', outputs=('words',), loss=loss,
      terms={'words': (1.0, reduction)},
      soften=lambda outputs: jax.nn.softmax(outputs['words']),
      student=lambda outputs, soft, batch: rows(
          losses.kl_divergence(outputs['words'], soft), outputs, batch),
      measure=captions.make('captions', frequencies),
      tell=lambda outputs, answers: [
          [(f'word {place.argmax()}', float(place.max())) for place in row]
          for row in jax.nn.softmax(outputs['words'])],
      card='logits of words at the masked places', decode=decode,
      decoded='captions')


def special(sizes: Mapping[str, Any]) -> tuple[int, int, int]:
  """Numbers of the words that open a caption, close it, and mask one of it.

  Args:
    sizes: of data of the form `captioning`.

  Raises:
    ValueError: the sizes are of other data.
  """
  if 'special' not in sizes:
    raise ValueError(
        'captions were to be written, but nothing tells which words begin and '
        f'end them: the sizes of the data are {", ".join(sorted(sizes))}. Train '
        'on data of the form captioning, which tell it.')
  return tuple(sizes['special'])


def rules(sizes: Mapping[str, Any], length: int, least: int = 0,
          block: int = 0, rows: int = 0) -> Rules:
  """What captions may say: words, but no padding, mask or beginning within.

  Args:
    sizes: of data of the form `captioning`.
    length: words of the longest caption, its opening and closing ones among
      them.
    least, block: as of `Rules`.
    rows: of the model's table of words, which may have some that no word uses.
  """
  start, end, mask = special(sizes)
  return Rules(start=start, end=end, length=length, least=least, block=block,
               never=(*sorted({0, start, mask} - {end}),
                      *range(sizes.get('vocab_size', rows), rows)))
