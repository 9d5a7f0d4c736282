"""Trains the network of `features.py` and writes `features.npz`.

  python -m bst_jax.data.builders.digit_scenes.make_features

The network learns to name the five attributes of plates with training digits,
cropped from scenes of the `easy` kind; the last layer before
the answers is the feature. Takes about three minutes on two CPU cores, and
prints the accuracy on plates with test digits, which no step saw.
"""
import argparse
import pathlib
import time

from bst_jax.data.builders.digit_scenes import drawing, features, scenes
from bst_jax.data.builders.digit_scenes.draws import Draws
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm

ATTRIBUTES = {'digit': scenes.DIGITS, 'color': scenes.COLORS,
              'shape': scenes.SHAPES, 'size': scenes.SIZES,
              'ink': scenes.INKS}
_STREAM = 77  # sets these scenes apart from those of the data set
_DROPOUT = 0.3


def plates(split: str, pictures: int, augment: bool, seed: int):
  """Windows of the plates of fresh scenes, with their attributes.

  Args:
    split: whose digit images to draw.
    pictures: how many scenes.
    augment: whether digits are augmented.
    seed: of the random numbers.

  Returns:
    windows: uint8[n, 32, 32, 3].
    labels: {attribute: int32[n]}.
  """
  windows, found = [], []
  for i in tqdm.trange(pictures, desc=f'drawing {split}', leave=False,
                       disable=None):
    draws = Draws(seed, _STREAM, scenes.SPLITS[split][0], i)
    these = scenes.sample(scenes.EASY, split, draws)
    image = drawing.draw(scenes.EASY, these, draws, augment)
    windows.append(features.crop(image, scenes.boxes(scenes.EASY, these)))
    found.extend(these)
  labels = {name: np.array([values.index(getattr(p, name)) for p in found],
                           np.int32) for name, values in ATTRIBUTES.items()}
  return np.concatenate(windows), labels


def init(key: jax.Array) -> dict:
  """Random weights of the network and of its five linear classifiers."""
  shapes = {'conv1': (3, 3, 3, 32), 'conv2': (3, 3, 32, 64),
            'conv3': (3, 3, 64, 64), 'dense': (1024, features.SIZE)}
  shapes |= {name: (features.SIZE, len(values))
             for name, values in ATTRIBUTES.items()}
  he = jax.nn.initializers.he_normal()
  keys = jax.random.split(key, len(shapes))
  return {name: (he(k, shape), jnp.zeros(shape[-1]))
          for k, (name, shape) in zip(keys, shapes.items())}


def loss_fn(params, windows, labels, key):
  """Sum over the attributes of the mean smoothed cross-entropy."""
  x = features.forward(params, windows)
  keep = jax.random.bernoulli(key, 1 - _DROPOUT, x.shape)
  x = jnp.where(keep, x / (1 - _DROPOUT), 0)
  total = 0
  for name, values in ATTRIBUTES.items():
    kernel, bias = params[name]
    wanted = optax.smooth_labels(
        jax.nn.one_hot(labels[name], len(values)), 0.05)
    total += optax.softmax_cross_entropy(x @ kernel + bias, wanted).mean()
  return total


def train(windows, labels, steps: int, batch: int, seed: int) -> dict:
  """Weights after AdamW on a one-cycle schedule."""
  tx = optax.adamw(optax.cosine_onecycle_schedule(steps, 3e-3, 0.1),
                   weight_decay=1e-2)
  key = jax.random.key(seed)
  params = init(key)
  opt_state = tx.init(params)

  @jax.jit
  def step(params, opt_state, windows, labels, i):
    loss, grads = jax.value_and_grad(loss_fn)(
        params, windows, labels, jax.random.fold_in(key, i))
    updates, opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss

  rng = np.random.default_rng(seed)
  for i in tqdm.trange(steps, desc='training', disable=None):
    rows = rng.integers(len(windows), size=batch)
    params, opt_state, _ = step(
        params, opt_state, windows[rows],
        {name: values[rows] for name, values in labels.items()}, i)
  return params


def accuracies(params, windows, labels) -> dict[str, float]:
  """Percent of plates whose attribute is named rightly, by attribute."""
  x = np.concatenate([features.forward(params, block) for block in
                      np.array_split(windows, max(1, len(windows) // 500))])
  return {name: 100 * float(np.mean(
      np.argmax(x @ params[name][0] + params[name][1], 1) == wanted))
          for name, wanted in labels.items()}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--pictures', type=int, default=12_000)
  parser.add_argument('--steps', type=int, default=2_000)
  parser.add_argument('--batch', type=int, default=128)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args()

  start = time.time()
  windows, labels = plates('train', args.pictures, True, args.seed)
  drawn = time.time()
  params = train(windows, labels, args.steps, args.batch, args.seed)
  # Features of unit mean square, whatever the last layer's scale came to be.
  x = features.forward(params, windows[:2_000])
  scale = jnp.sqrt(jnp.mean(x**2))
  params['dense'] = jax.tree.map(lambda w: w / scale, params['dense'])
  for name in ATTRIBUTES:
    params[name] = (params[name][0] * scale, params[name][1])
  params = jax.tree.map(
      lambda w: np.asarray(w, np.float16).astype(np.float32), params)
  print(f'{len(windows):,} plates drawn in {drawn - start:.0f} s, '
        f'trained in {time.time() - drawn:.0f} s')
  for split in ('train', 'val', 'test'):
    found = accuracies(params, *plates(split, 2_000, False, args.seed + 1))
    print(split, ' '.join(f'{name} {value:.2f}'
                          for name, value in found.items()))

  arrays = {}
  for name in ('conv1', 'conv2', 'conv3', 'dense'):
    for part, array in zip(('kernel', 'bias'), params[name]):
      arrays[f'{name}/{part}'] = array.astype(np.float16)
  path = pathlib.Path(__file__).with_name('features.npz')
  np.savez_compressed(path, **arrays)
  print(f'wrote {path.name}, {path.stat().st_size / 1024:.0f} KiB')


if __name__ == '__main__':
  main()
