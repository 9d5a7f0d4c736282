"""Puts a split together: pictures with all that is said about them."""
from collections.abc import Iterable, Iterator
import dataclasses
import hashlib

from bst_jax.data.builders.digit_scenes import (
  asking,
  captions,
  drawing,
  pairs,
  scenes,
)
from bst_jax.data.builders.digit_scenes.draws import Draws
import numpy as np

_WHAT, _LOOK, _ASK, _SAY = range(4)  # streams of random numbers of a picture


@dataclasses.dataclass(frozen=True)
class Example:
  """One picture; `image` is uint8[S, S, 3]."""

  image: np.ndarray
  plates: tuple[scenes.Plate, ...]
  questions: list[asking.Question]
  captions: list[str]
  statements: list[pairs.Statement]


def generate(layout, types, split: str, pictures: int,
             seed: int = 0) -> Iterator[Example]:
  """Yields the pictures of a split in order, always the same for one seed."""
  def stream(i, purpose):
    return Draws(seed, layout.code, scenes.SPLITS[split][0], i, purpose)

  everything = [scenes.sample(layout, split, stream(i, _WHAT))
                for i in range(pictures)]
  asker = asking.Asker(layout, types)
  for i, plates in enumerate(everything):
    say = stream(i, _SAY)
    yield Example(
        drawing.draw(layout, plates, stream(i, _LOOK), split == 'train'),
        plates, asker.ask(plates, stream(i, _ASK)),
        captions.write(plates, say), pairs.write(i, everything, say))


def digest(examples: Iterable[Example]) -> str:
  """SHA-256 over pixels, questions and answers."""
  sha = hashlib.sha256()
  for example in examples:
    sha.update(example.image.tobytes())
    for q in example.questions:
      line = '\t'.join((q.text, q.type, q.answer, *q.answers))
      sha.update(line.encode() + b'\n')
  return sha.hexdigest()
