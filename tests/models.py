"""Tiny models that tests share: backbones, and the least model with width.

Compiling is what costs: parameters come from numpy, and the backbones agree on
every size that they can, so that their small programs are compiled once.
"""
import functools

from bst_jax import elastic
from bst_jax import models as backbones
from bst_jax.elastic import Axis, FULL, Order, Space
from bst_jax.layers.backbone import Backbone
from bst_jax.layers.blocks import FeedForward
from bst_jax.layers.dropout import seed_of
from bst_jax.layers.linear import Dense
from bst_jax.layers.stack import Stack
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

QUARTERS = ('1/4', '1/2', '3/4', '1')
# All sixteen pairs, trained or not.
SPACE = Space(QUARTERS, QUARTERS, filter='none')

_SIZES = dict(name='mcan', vocab_size=11, num_answers=7, feature_size=8,
              width=16, heads=4, mlp=32, fused=32, num_layers=4, word=6,
              recurrent=6)


# What models built on BERT share with it.
_BERT = dict(vocab_size=11, num_answers=7, width=16, heads=4, mlp=32, fused=32,
             num_layers=4, max_positions=8, word=16)


def batch_of(*keys, questions=4, pictures=2, side=16, frames=4, seed=0):
  """Questions and pictures with padding, of which some keys are wanted."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(1, 11, (questions, 5)).astype(np.int32)
  tokens[0, 3:] = tokens[1, 1:] = 0
  regions = rng.standard_normal((pictures, 4, 8)).astype(np.float32)
  regions[0, 3:] = 0
  corners = np.sort(rng.random((2, pictures, 4, 2)), axis=0)
  target = rng.random((questions, 7)).astype(np.float32)
  every = {
      'tokens': tokens, 'regions': regions,
      'boxes': np.concatenate(corners, -1).astype(np.float32),
      'image': rng.integers(0, 256, (pictures, side, side, 3), np.uint8),
      'target': target, 'mask': np.arange(questions) != 2,
      'clip': rng.integers(0, 256, (pictures, frames, side, side, 3), np.uint8),
      'tags': rng.integers(1, 11, (pictures, 3)).astype(np.int32)}
  return {key: jnp.asarray(every[key]) for key in keys}


# Whose batches are pictures alone.
_VIT = dict(name='vit', num_answers=7, image_size=16, patch=4, width=16,
            heads=4, mlp=32, num_layers=4)
# Whose batches are clips alone.
_CLIPS = dict(num_answers=7, clip_size=(4, 16, 16), patch=4, width=16, heads=4,
              mlp=32, num_layers=4)
_XVIT = _CLIPS | dict(name='xvit', segment=2, shift=4, fused=32)
_clips = functools.partial(batch_of, 'clip', pictures=4)
# Both stages have the shapes of the row above.
_CVT = dict(name='cvt', num_answers=7, image_size=16, width=(16, 16),
            heads=(4, 4), mlp=(32, 32), num_layers=(4, 4), kernels=(5, 3),
            strides=(4, 1), paddings=(1, 1))
_PVT = dict(name='pvt', num_answers=7, image_size=16, width=(16, 16),
            heads=(4, 4), mlp=(32, 32), num_layers=(4, 4), reductions=(2, 1),
            kernels=(7, 3), strides=(4, 1), paddings=(3, 1))
# Stem and second stage halve the grid.
_EFFICIENTNET = dict(
    name='efficientnet', num_answers=7, image_size=16, stem=8, width=(8, 16),
    num_layers=(4, 4), kernels=(3, 3), strides=(1, 2), fused=16)
_PS_VIT = dict(name='ps_vit', num_answers=7, image_size=16, points=4, width=16,
               heads=4, mlp=32, sampling_layers=4, num_layers=4, stem=(4, 8))

_VILT = dict(name='vilt', vocab_size=11, num_answers=7, image_size=16, patch=4,
             grid=(3, 3), width=16, heads=4, mlp=32, fused=32, num_layers=4,
             max_positions=8)
# Texts of the tests end in zeros.
_METER = dict(name='meter', vocab_size=11, num_answers=7, image_size=16,
              patch=4, padding=0, width=16, heads=4, mlp=32, fused=32,
              num_layers=4, image_width=16, image_heads=4, image_mlp=32,
              image_layers=1, text_width=16, text_heads=4, text_mlp=32,
              text_layers=1, max_positions=8)

_MINIVLM = dict(name='minivlm', vocab_size=11, num_answers=7, feature_size=8,
                width=16, heads=4, mlp=32, fused=32, num_layers=4, tag_start=8,
                max_positions=12)

# A new backbone is a row: its arguments and a function that makes a batch.
TINY = {
    'mcan_vqa': (_SIZES, functools.partial(batch_of, 'tokens', 'regions')),
    'mcan_gqa': (_SIZES | dict(box_size=8, image_norm=False),
                 functools.partial(batch_of, 'tokens', 'regions', 'boxes')),
    'mcan_image': (_SIZES | dict(stem=(8, 16)),
                   functools.partial(batch_of, 'tokens', 'image')),
    'uniter': (_BERT | dict(name='uniter', feature_size=8),
               functools.partial(batch_of, 'tokens', 'regions', 'boxes')),
    'clip_vil': (_BERT | dict(name='clip_vil', visual_blocks=(1, 1),
                              visual_width=2, grid_positions=4),
                 functools.partial(batch_of, 'tokens', 'image', side=32)),
    'vilt': (_VILT, functools.partial(batch_of, 'tokens', 'image')),
    'vilt_das': (_VILT | dict(adapter=6, skip=('encoder/layer_0',),
                              extra=dict(kind='parallel', size=3)),
                 functools.partial(batch_of, 'tokens', 'image')),
    'meter': (_METER, functools.partial(batch_of, 'tokens', 'image')),
    'meter_das': (_METER | dict(
        adapter=6, skip=('image_fusion/layer_0',),
        extra=dict(kind='parallel', size=3)),
                  functools.partial(batch_of, 'tokens', 'image')),
    'minivlm': (_MINIVLM,
                functools.partial(batch_of, 'tokens', 'regions', 'boxes')),
    'minivlm_das': (_MINIVLM | dict(adapter=6, skip=('encoder/layer_0',)),
                    functools.partial(batch_of, 'tokens', 'tags', 'regions',
                                      'boxes')),
    'vit': (_VIT, functools.partial(batch_of, 'image', pictures=4)),
    'vit_ats': (_VIT | dict(
        distilled=True, ats=dict(blocks=(0, 2, 3), capacity=(12, 9, None))),
                functools.partial(batch_of, 'image', pictures=4)),
    'vit_skip': (_VIT | dict(adapter=6, skip=('encoder/layer_1',)),
                 functools.partial(batch_of, 'image', pictures=4)),
    'timesformer': (_CLIPS | dict(name='timesformer'), _clips),
    'timesformer_ats': (_CLIPS | dict(name='timesformer', ats=dict(
        blocks=(0, 2, 3), capacity=(12, 9, None))), _clips),
    'xvit': (_XVIT, _clips),
    'xvit_ats': (_XVIT | dict(share='frame', ats=dict(
        blocks=(0, 2, 3), capacity=(12, 9, None))), _clips),
    'cvt': (_CVT, functools.partial(batch_of, 'image', pictures=4)),
    'cvt_ats': (_CVT | dict(ats=dict(blocks=(0, 2, 3), capacity=(12, 9, None))),
                functools.partial(batch_of, 'image', pictures=4)),
    'pvt': (_PVT, functools.partial(batch_of, 'image', pictures=4)),
    'efficientnet': (_EFFICIENTNET,
                     functools.partial(batch_of, 'image', pictures=4)),
    'ps_vit': (_PS_VIT, functools.partial(batch_of, 'image', pictures=4)),
    'ps_vit_ats': (_PS_VIT | dict(
        ats=dict(blocks=(0, 2, 3), capacity=(12, 9, None))),
                   functools.partial(batch_of, 'image', pictures=4)),
}
# Several outputs, and labels of objects. The backbone's sizes are of a row above.
DETECTORS = {
    'retinanet': (_PVT | dict(
        name='retinanet', stages=2, pyramid_width=8, depth=1, detections=6,
        each=20, anchor_sizes=(8, 12, 16, 24)),
                  functools.partial(batch_of, 'image', pictures=4)),
}
# Whose every pair of width and depth is run; the others share their layers.
THOROUGH = 'mcan_vqa', 'vit'
# Those that answer questions.
QUESTIONS = [name for name, (_, make) in TINY.items() if 'tokens' in make.args]


def random_params(shapes, seed=0):
  """Parameters of the given shapes that leave no part without effect."""
  rng = np.random.default_rng(seed)

  def draw(path, shape):
    # Gains are about one, few hidden units are dead, no variance is below one.
    middle = 1.0 if path.endswith(('scale', 'fc1/bias', 'var')) else 0.0
    # Points that leave the map see nothing.
    spread = 0.03 if 'offset' in path else 0.3
    noise = spread * rng.standard_normal(shape.shape)
    noise = np.abs(noise) if path.endswith('var') else noise
    return jnp.asarray(middle + noise, jnp.float32)

  # Statistics as if they stood beside their gains: an order of the draws in
  # which no small network is dead.
  flat = elastic.flatten(shapes)
  drawn = {path: draw(path, flat[path]) for path in sorted(
      flat, key=lambda path: path.replace('stats/', '').split('/'))}
  return jax.tree.unflatten(
      jax.tree.structure(shapes), [drawn[path] for path in flat])


def prepare(model, batch):
  """Parameters and axis names of a model."""
  boxed = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  return random_params(elastic.unbox(boxed)), elastic.names(boxed)


@functools.cache
def build(name, **changes):
  """Model, batch, parameters and axis names of a row of the tables."""
  sizes, make_batch = (TINY | DETECTORS)[name]
  model, batch = backbones.create(sizes | changes), make_batch()
  return model, batch, *prepare(model, batch)


def only(outputs):
  """The one output of a model."""
  value, = outputs.values()
  return value


def run(model, params, batch, sub=FULL, seed=None):
  """Logits of a model; a seed is that of dropout in training.

  Not compiled as a whole: submodels of one width, and models that agree on
  their sizes, share their small programs.
  """
  train = dict(train=True, rngs={'dropout': jax.random.key(seed or 0)})
  return np.asarray(only(model.apply(
      {'params': params}, batch, sub=sub, **(train if seed is not None else {})
  )))


class _Layer(nn.Module):
  embed: Axis
  mlp: Axis
  dropout: float

  @nn.compact
  def __call__(self, x, *, sub=FULL, seed=None):
    return x + FeedForward(self.embed, self.mlp, self.embed, nn.tanh,
                           self.dropout, name='ffn')(x, sub=sub, seed=seed)


class Toy(Backbone):
  """The least model with width and depth, whose programs compile at once."""

  width: int = 8
  mlp: int = 8
  num_layers: int = 6
  dropout: float = 0.0

  @property
  def stacks(self):
    return {'layers': Order(self.num_layers)}

  @nn.compact
  def __call__(self, batch, *, sub=FULL, train=False):
    embed, mlp = Axis('embed', self.width), Axis('mlp', self.mlp)
    x = Dense((Axis('feat', 8),), (embed,), name='inp')(
        batch['regions'].sum(1), sub=sub)
    layer = functools.partial(_Layer, embed, mlp, self.dropout)
    seed = seed_of(self.make_rng('dropout')) if train else None
    x = Stack(layer, self.stacks['layers'], name='layers')(
        x, sub=sub, seed=seed)
    return {'answers': Dense((embed,), (Axis('answers', 7),), name='out')(
        x, sub=sub)}


def toy(**sizes):
  """A `Toy`, a labelled batch of eight, parameters and axis names."""
  model = Toy(**sizes)
  batch = batch_of('regions', 'target', 'mask', questions=8, pictures=8)
  return model, batch, *prepare(model, batch)
