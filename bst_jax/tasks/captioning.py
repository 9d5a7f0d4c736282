"""Captions of pictures: words that are masked, and texts that are written."""
from collections.abc import Mapping
import json
from typing import Any

from bst_jax import decoding, tasks
from bst_jax.decoding import Rules
from bst_jax.scores import captions
from bst_jax.tasks import losses
from bst_jax.tasks import words as masked
import jax
import numpy as np

_NOTE = (
    'caption.py beside the files writes captions with numpy and ONNX Runtime '
    'alone: python caption.py regions.npz. The encoder reads a picture once. '
    'The step, given place 1 and the opening word, tells the next one, of which '
    'the most probable is taken, with place 2 and so on, until the closing word; '
    'what is named next. goes in again without it. It is compared with, and '
    'scored, without beams.')


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
    return {'words': tasks.Rows(
        each.reshape(-1), masked.told(batch).astype(each.dtype),
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

  def files(exp, model, params, words):
    allowed = rules(exp.sizes, exp.sizes['max_tokens'], least, block,
                    rows=model.vocab_size)
    return exported(exp, decoding.Captioner(
        model, params, allowed, special(exp.sizes)[2]), words)

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
      card='logits of words at the masked places', row='picture', told='words',
      decode=decode, decoded='captions', files=files,
      weights=lambda batch: {'words': masked.told(batch)})


def exported(exp: Any, captioner: decoding.Captioner, words: Any
             ) -> 'tasks.Files':
  """What a captioner is exported as: an encoder, a step, and what runs them.

  Args:
    exp: the experiment.
    captioner: of it, or of a submodel.
    words: the vocabulary; None where nobody knows any.
  """
  row = exp.example()
  inputs = {name: np.asarray(row[name])
            for name in ('tags', 'regions', 'boxes') if name in row}
  about = captioner.about(
      inputs, blank=bool(exp.config.data.get('blank_regions')))
  parts = lambda calls: (calls['encoder'], calls['step'])
  return tasks.Files(
      {'encoder': tasks.Program(captioner.encoder, inputs),
       'step': tasks.Program(captioner.step, captioner.inputs(inputs),
                             times=captioner.rules.length - 1)},
      lambda calls, batch: {'captions': decoding.write(
          *parts(calls), about, batch)},
      captioner.wanted,
      lambda calls, batch, wanted: captioner.compare(
          *parts(calls), batch, wanted),
      of='picture', note=_NOTE, beside={
          'caption.py': decoding.script(),
          'caption.json': json.dumps(about | {'pieces': pieces(
              words, captioner.model.vocab_size)}, ensure_ascii=False)})


def pieces(words: Any, size: int) -> list[str]:
  """What each word adds to a text, as ' red', '.', or 'ing'.

  Args:
    words: the vocabulary; None: words are numbers.
    size: words of the model, for that case.
  """
  if words is None:
    return [f' {number}' for number in range(size)]
  # Behind a word of letters, as spaces depend on what stands before.
  first = next(i for i in range(len(words)) if words.decode([i]).isalpha())
  known = len(words.decode([first]))
  return [words.decode([first, i])[known:] for i in range(len(words))]


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
