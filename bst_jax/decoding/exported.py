"""A captioner as two programs of arrays, which are files elsewhere.

The encoder reads a picture once; the step says one word more. Between them go
what layers keep of the context and of the growing texts, see `layers.cached`,
each an array with a name.
"""
from collections.abc import Callable, Mapping
import dataclasses
import inspect
from typing import Any

from bst_jax.decoding import captions, without_jax
from bst_jax.decoding.rules import Rules
from bst_jax.layers import cached
from flax import traverse_util
import jax
import numpy as np

Arrays = Mapping[str, Any]
Call = Callable[[Arrays], dict[str, Any]]
# Two words that a file and the model say at a place are one where their logits
# differ by no more than this share of the greatest: rounding decides.
_SAME = 1e-4


@dataclasses.dataclass(frozen=True)
class Captioner:
  """A model that writes captions, as functions of arrays.

  Attributes:
    model, params: see `captions.steps`.
    rules: of captions.
    mask_token: number of the word that masks.
  """

  model: Any
  params: Any
  rules: Rules
  mask_token: int

  def encoder(self, batch: Arrays) -> dict[str, jax.Array]:
    """What is kept of pictures.

    Args:
      batch: regions and boxes, and tags if there are any, of P pictures.

    Returns:
      real bool[P, C], which tags and regions are, and of every attention a key
      and a value float[P, h, C, K], as `context.encoder.layer_0.attention.key`.

    Raises:
      ValueError: captions are longer than the model has places for.
    """
    captions.check(self.model, self.rules, 'tags' in batch)
    real, fixed = self._plain.apply(
        {'params': self.params}, batch, method='context',
        mutable=[cached.CONTEXT])
    return {'real': real} | _flat(fixed)

  def step(self, batch: Arrays) -> dict[str, jax.Array]:
    """What is said next.

    Args:
      batch: last int32[P], the last word of every caption; place int32[], where
        the next one stands; what `encoder` returned; and the keys and values
        float[P, h, length, K] of the texts, as `texts.encoder.…`, zeros before
        the first word.

    Returns:
      logits float[P, V] of the next word, and the keys and values of the texts
      with the last one, as `next.texts.encoder.…`.
    """
    logits, new = self._plain.apply(
        {'params': self.params} | _tree(batch), batch['last'], batch['place'],
        batch['real'], self.mask_token, method='step', mutable=[cached.TEXTS])
    return {'logits': logits} | _flat({'next': new})

  def inputs(self, batch: Arrays) -> dict[str, Any]:
    """What `step` reads of a picture: zeros, and the first place.

    Args:
      batch: what `encoder` reads of it.
    """
    context = jax.eval_shape(self.encoder, dict(batch))
    texts = jax.eval_shape(lambda given: _flat({cached.TEXTS: cached.room(
        _tree(given)[cached.CONTEXT], 1, self.rules.length)}), context)
    return {name: np.zeros(x.shape, x.dtype)
            for name, x in (context | texts).items()} | {
                'last': np.zeros(1, np.int32), 'place': np.array(1, np.int32)}

  def about(self, batch: Arrays, blank: bool = False) -> dict[str, Any]:
    """What `without_jax` has to know, for JSON.

    Args:
      batch: what `encoder` reads of a picture.
      blank: whether features of -1 fill up, see `data.kinds.Reading`.
    """
    fill = lambda name: -1 if blank and name == 'regions' else 0
    return dataclasses.asdict(self.rules) | {
        'never': list(self.rules.never),
        'inputs': {name: [fill(name), str(x.dtype), list(x.shape[1:])]
                   for name, x in batch.items()},
        'texts': {name: list(x.shape[1:])
                  for name, x in self.inputs(batch).items()
                  if name.startswith(f'{cached.TEXTS}.')}}

  def wanted(self, batch: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """What the model itself says of pictures, for `compare`.

    Returns:
      Its greedy captions int32[P, length], and the logits of their words float[P,
      length - 1, V], all of them in one pass.
    """
    def run(batch):
      said = captions.decode(self._plain, self.params, batch, self.rules,
                             self.mask_token).tokens
      return said, self._plain.apply(
          {'params': self.params}, batch | {'tokens': said}, self.mask_token,
          method='each_word')

    return jax.device_get(jax.jit(run)(dict(batch)))

  def compare(self, encoder: Call, step: Call, batch: Arrays,
              wanted: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """How far two programs are from the model.

    Args:
      encoder, step: as the functions of those names.
      batch: what the encoder reads.
      wanted: what `wanted` gave of it.

    Returns:
      difference: the greatest one of a logit of the model's own captions, as a
      share of the greatest logit; other_captions: the share of captions that the
      programs write otherwise, where rounding does not decide.
    """
    tokens, logits = wanted
    found = _forced(encoder, step, batch, tokens, self.about(batch)['texts'])
    real = tokens[:, 1:] != 0
    most = np.abs(logits[real]).max()
    said = without_jax.write(encoder, step, self.about(batch), batch)
    other = 0
    for own, want, row in zip(said, tokens, logits):
      places = np.flatnonzero(own != want)
      if len(places):
        scores = row[places[0] - 1][[want[places[0]], own[places[0]]]]
        other += not abs(np.diff(scores)[0]) <= _SAME * most
    return {'difference': float(np.abs(found - logits)[real].max() / most),
            'other_captions': other / len(tokens)}

  @property
  def _plain(self):
    return captions.unrolled(self.model)


def script() -> str:
  """The text of a file that writes captions without this package, and runs."""
  # The call is not in the module itself: what others import is no command.
  return (f'{inspect.getsource(without_jax)}\n\n'
          'if __name__ == "__main__":\n  main()\n')


def _forced(encoder, step, batch, tokens, texts):
  """The logits of given captions, word by word."""
  context, found = encoder(batch), []
  kept = {name: np.zeros((len(tokens), *shape), np.float32)
          for name, shape in texts.items()}
  for place in range(1, tokens.shape[1]):
    given = step({**context, **kept, 'last': tokens[:, place - 1],
                  'place': np.array(place, np.int32)})
    kept = {name: given[f'next.{name}'] for name in kept}
    found.append(given['logits'])
  return np.stack(found, 1)


def _flat(tree):
  """The arrays of nested dicts, by their paths."""
  return traverse_util.flatten_dict(tree, sep='.')


def _tree(arrays):
  """Nested dicts of those arrays whose names are paths."""
  return traverse_util.unflatten_dict(
      {name: x for name, x in arrays.items() if '.' in name}, sep='.')
