"""A tiny MiniVLM that tests share, and what it reads."""
import functools

from bst_jax import models as backbones
from bst_jax.data import source
import jax.numpy as jnp
import models
import numpy as np

MASK = 9
SIZES = models.TINY['minivlm'][0] | dict(num_layers=2)
CAPTIONER = SIZES | dict(mask='caption', outputs=('words',))


def opened(home, config, **options):
  """The data of a config's tiny variant, made in a folder."""
  return source.load(dict(config.get_config('tiny').data) | dict(
      data_dir=home) | options)


def batch_of(seed=0, words=6, tags=3, pictures=2, texts=4):
  """A text, tags and regions, some of them padding."""
  rng = np.random.default_rng(seed)
  batch = models.batch_of('regions', 'boxes', pictures=pictures)
  some = {'tokens': rng.integers(1, 9, (texts, words)),
          'tags': rng.integers(1, 9, (pictures, tags)),
          'places': rng.integers(0, words, (texts, 2))}
  some['tags'][0, -1] = 0
  return batch | {k: jnp.asarray(v, jnp.int32) for k, v in some.items()}


@functools.cache
def build(**changes):
  """A model, its parameters and a batch."""
  model = backbones.create(SIZES | changes)
  batch = batch_of()
  params, axes = models.prepare(model, batch)
  return model, params, batch, axes


def captioner(**changes):
  """The same of one that writes captions."""
  return build(mask='caption', outputs=('words',), **changes)
