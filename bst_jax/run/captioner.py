"""A trained network that writes captions of picture files."""
from collections.abc import Iterator, Sequence
import functools
import hashlib
import json
import os
from typing import NamedTuple

from absl import logging
from bst_jax import decoding, elastic
from bst_jax.run.extractor import Extractor
from bst_jax.run.loaded import Loaded
from bst_jax.tasks import captioning
import jax
import jax.numpy as jnp
import numpy as np

File = str | os.PathLike


class Told(NamedTuple):
  """What is said of a picture.

  Attributes:
    caption: the text.
    score: mean of the logarithms of the probabilities of its words.
    tags: (name, confidence) of what the extractor found, the surest first.
  """

  caption: str
  score: float
  tags: tuple[tuple[str, float], ...] = ()


class Captioner:
  """Writes captions of pictures, `batch` at once.

    captioner = Captioner(bst_jax.load('runs/captions'), beams=5)
    told, = captioner(['photo.jpg'])

  Attributes:
    batch: pictures of a run; fewer are filled up.
    fingerprint: of all that decides what is said, of 12 letters.
  """

  def __init__(self, net: Loaded, extractor: Extractor | None = None, *,
               beams: int = 1, least: int = 0, batch: int = 1):
    """Takes a network.

    Args:
      net: of task captioning, or a submodel of it.
      extractor: finds the regions that it reads, and its tags.
      beams: hypotheses of a picture; 1 takes the most probable word.
      least: words of a caption at least.
      batch: pictures of a run.

    Raises:
      ValueError: the network writes no captions, or cannot with these settings;
        or the extractor is not that of its training.
    """
    if net.experiment.task.decode is None:
      raise ValueError(
          f'{net.workdir} was to write captions, but its task is '
          f'{net.experiment.config.task.name}; give a workdir of task '
          'captioning, as configs/minivlm_caption_scenes.py makes it.')
    if beams < 1:
      raise ValueError(f'{beams} beams were asked for, but a search keeps at '
                       'least one hypothesis; give 1, which takes the most '
                       'probable word, or more.')
    self.net = net if extractor is None else net.with_extractor(extractor)
    self.extractor, self.batch, self._beams = extractor, batch, beams
    sizes = net.experiment.sizes
    self._length, self._tags = sizes['max_tokens'], sizes.get('max_tags', 0)
    self._rules = captioning.rules(
        sizes, self._length, least, net.experiment.config.task.get('block', 0),
        net.model.vocab_size)
    self._mask = captioning.special(sizes)[2]
    if self._tags and extractor is None:
      logging.warning('%s reads tags of pictures, and there is no extractor that '
                      'finds any; it writes without.', net.workdir)

  @property
  def fingerprint(self) -> str:
    """Of model, parameters, words, extractor and decoding."""
    about = {
        'parameters': elastic.checksum(self.net.params),
        'options': dict(self.net.experiment.config.model),
        'words': [*self.net.vocabularies['words'].words],
        'submodel': str(self.net.submodel), 'beams': self._beams,
        'rules': [self._rules.length, self._rules.least, self._rules.block],
        'extractor': self.extractor and self.extractor.fingerprint}
    return hashlib.sha256(json.dumps(
        about, sort_keys=True, default=str).encode()).hexdigest()[:12]

  def __call__(self, pictures: Sequence[File]) -> list[Told]:
    """Captions of picture files, `batch` at most.

    Raises:
      ValueError: a picture cannot be read, or has no region.
    """
    return self.of_read([self.read(path) for path in pictures])

  def read(self, path: File) -> tuple[dict[str, np.ndarray], tuple]:
    """What the network reads of a picture file, a batch of one, and its tags.
    """
    from bst_jax.data import single  # Not everything that has a model has data.

    found = {} if self.extractor is None else self.extractor.record(path)
    regions = (lambda path: found) if found else self.net.regions
    batch = single.batch(self.net.experiment.config.data,
                         self.net.experiment.sizes, None, path, None, regions)
    tags = found.get('tags', {'name': (), 'confidence': ()})
    if self._tags:
      batch['tags'] = self._numbered(tags)
    return batch, tuple(
        (name.decode(), float(confidence)) for name, confidence in zip(
            tags['name'], tags['confidence']))

  def of_read(self, pictures: Sequence[tuple[dict, tuple]]) -> list[Told]:
    """The same of pictures that were `read` already."""
    filled = [*pictures, *[pictures[-1]] * (self.batch - len(pictures))]
    batch = {key: np.concatenate([one[key] for one, _ in filled])
             for key in filled[0][0]}
    texts = jax.device_get(self._run(self.net.params, batch))
    return [Told(self._text(tokens), float(score), tags)
            for tokens, score, (_, tags) in zip(*texts, pictures)]

  def stream(self, path: File) -> Iterator[str]:
    """Yields the words of the caption of a picture as they are found.

    A search of several beams knows none before its end.
    """
    if self._beams > 1:
      yield from self([path])[0].caption.split()
      return
    batch, _ = self.read(path)
    ids, shown = [], 0
    for word in decoding.streamed(
        self.net.model, self.net.params, jax.tree.map(jnp.asarray, batch),
        self._rules, self._mask):
      ids.append(word)
      # The last word may be a piece of one that goes on.
      words = self._text([self._rules.start, *ids]).split()
      ready = len(words) - (word != self._rules.end)
      yield from words[shown:ready]
      shown = max(shown, ready)
    yield from self._text([self._rules.start, *ids]).split()[shown:]

  def _numbered(self, tags):
    """int32[1, G], the tags that are sure enough."""
    from bst_jax.data import forms, tokens
    from bst_jax.data.forms import captions

    config = self.net.experiment.config.data
    form = forms.create(config.form)
    options = form.options.of(
        {key: value for key, value in config.items() if key != 'sizes'},
        form.what)
    return tokens.behind([captions.chosen(tags, options)],
                         self.net.vocabularies['words'], self._tags, 'tags')

  def _text(self, tokens):
    said = [int(token) for token in tokens[1:]]
    said = said[:said.index(self._rules.end)] if self._rules.end in said else said
    return self.net.vocabularies['words'].decode(
        [token for token in said if token])

  @functools.cached_property
  def _run(self):
    model = self.net.model
    return jax.jit(lambda params, batch: decoding.decode(
        model, params, batch, self._rules, self._mask, beams=self._beams))
