"""Captions of pictures by a model whose texts grow word by word."""
from collections.abc import Mapping
from typing import Any

from bst_jax.decoding.beams import beam
from bst_jax.decoding.rules import Rules, Texts
from bst_jax.decoding.single import greedy, sampled, Step
from bst_jax.elastic import FULL, Submodel
from bst_jax.layers import cached
import jax


def steps(model: Any, params: Any, batch: Mapping[str, jax.Array],
          rules: Rules, mask_token: int, *, each: int = 1,
          sub: Submodel = FULL) -> tuple[Step, Any]:
  """What decoding needs of a model and a batch: a step, and what it keeps.

  Tags and regions go through the model here, once.

  Args:
    model: one with `context` and `step`, as `models.minivlm`.
    params: of it.
    batch: pictures, and tags if there are any; other keys are not read.
    rules: of captions.
    mask_token: number of the word that masks, as [MASK].
    each: captions that grow of a picture.
    sub: the part to run.

  Returns:
    A step for P `each` texts, see `single.Step`, and what it keeps before the
    first word, a tree of arrays of P `each` rows.

  Raises:
    ValueError: captions are longer than the model has places for.
  """
  model = unrolled(model)
  check(model, rules, 'tags' in batch)
  real, fixed = model.apply({'params': params}, batch, sub=sub,
                            method='context', mutable=[cached.CONTEXT])

  def step(kept, last, place):
    logits, new = model.apply(
        {'params': params, cached.TEXTS: kept, **fixed}, last, place, real,
        mask_token, sub=sub, method='step', mutable=[cached.TEXTS])
    return logits, new[cached.TEXTS]

  return step, cached.room(fixed[cached.CONTEXT], each, rules.length)


def unrolled(model: Any) -> Any:
  """The model with layers one by one, as each keeps what is its own."""
  return model.clone(scan=False) if getattr(model, 'scan', False) else model


def check(model: Any, rules: Rules, tags: bool) -> None:
  """Raises where a model cannot write captions.

  Args:
    model, rules: as of `steps`.
    tags: whether it reads tags of pictures.

  Raises:
    ValueError: captions are longer than the model has places for, or it has no
      output of words.
  """
  room = getattr(model, 'tag_start', None) if tags else None
  room = min(room or rules.length, model.max_positions)
  if rules.length > room:
    raise ValueError(
        f'captions of {rules.length} words were asked for, but the model has '
        f'{room} places for them; give a smaller length, or train a model with '
        'a greater tag_start and max_positions.')
  if 'words' not in model.outputs:
    raise ValueError(
        f"captions need the output 'words', but the model returns "
        f'{", ".join(model.outputs)}; train it with task words.')


def decode(model: Any, params: Any, batch: Mapping[str, jax.Array],
           rules: Rules, mask_token: int, *, beams: int = 1,
           sub: Submodel = FULL) -> Texts:
  """The best caption of every picture: of a beam search, or greedy.

  Args:
    model, params, batch, rules, mask_token, sub: as of `steps`.
    beams: hypotheses of a picture; 1 is greedy.

  Returns:
    Texts: tokens int32[P, length], score float[P].

  Reference: MiniVLM decodes with 5 beams; the masked word at the next place is
    OSCAR's way to ask for it.
  """
  pictures = len(batch['regions'])
  step, kept = steps(model, params, batch, rules, mask_token,
                     each=max(beams, 1), sub=sub)
  if beams == 1:
    return greedy(step, kept, pictures, rules)
  found = beam(step, kept, pictures, rules, beams)
  return Texts(found.tokens[:, 0], found.score[:, 0])


def draw(model: Any, params: Any, batch: Mapping[str, jax.Array],
         rules: Rules, mask_token: int, key: jax.Array, *, each: int = 1,
         temperature: float = 1.0, top: int = 0, sub: Submodel = FULL) -> Texts:
  """Some captions of every picture, drawn by their probabilities.

  Args:
    model, params, batch, rules, mask_token, sub: as of `steps`.
    key, temperature, top: as of `single.sampled`.
    each: captions of a picture.

  Returns:
    Texts: tokens int32[P, each, length], score float[P, each].

  Reference: Rennie et al., "Self-Critical Sequence Training for Image
    Captioning", CVPR 2017, section 3, learns from such captions.
  """
  pictures = len(batch['regions'])
  step, kept = steps(model, params, batch, rules, mask_token, each=each,
                     sub=sub)
  found = sampled(step, kept, pictures * each, rules, key,
                  temperature=temperature, top=top)
  return Texts(*(x.reshape(pictures, each, *x.shape[1:]) for x in found))
