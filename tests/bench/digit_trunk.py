"""A small trunk for CLIP-ViL on digit scenes, as CLIP's is for photographs.

  python tests/bench/digit_trunk.py --output runs/trunk.safetensors
  python -m bst_jax.convert --config configs/bst_clip_vil_scenes.py \
      --table clip_visual --checkpoint runs/trunk.safetensors \
      --workdir runs/trunk

Trains the trunk of that config to name what stands in every 32 x 32 pixels of
fresh training pictures: whether a plate does, and its digit, color, shape, size
and ink. No question is seen. Writes the trunk under CLIP's own tensor names,
and prints the accuracy on pictures with test digits.
"""
import argparse

from bst_jax import elastic, load_config
from bst_jax.data.builders.digit_scenes import drawing, scenes
from bst_jax.data.builders.digit_scenes.draws import Draws
from bst_jax.data.builders.digit_scenes.make_features import ATTRIBUTES
from bst_jax.interop import clip_visual, core, files
from bst_jax.layers.clip_resnet import ClipResNet
from bst_jax.learn import optimizers
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm

_STREAM = 78  # Sets these scenes apart from those of the data set.
CLASSES = {'plate': 2} | {name: len(v) for name, v in ATTRIBUTES.items()}
_MODEL = load_config('configs/bst_clip_vil_scenes.py').model
TRUNK = ClipResNet(_MODEL.visual_blocks, _MODEL.visual_width)


def draw(split, count, augment, seed):
  """Pictures uint8[n, 64, 64, 3] and {name: int[n, 2, 2]}, -1 = no plate."""
  side = scenes.EASY.grid
  images, labels = [], {k: np.full((count, side, side), -1) for k in CLASSES}
  labels['plate'][:] = 0
  for i in tqdm.trange(count, desc=f'drawing {split}', disable=None):
    draws = Draws(seed, _STREAM, scenes.SPLITS[split][0], i)
    plates = scenes.sample(scenes.EASY, split, draws)
    images.append(drawing.draw(scenes.EASY, plates, draws, augment))
    for p in plates:
      labels['plate'][i, p.row, p.column] = 1
      for name, values in ATTRIBUTES.items():
        labels[name][i, p.row, p.column] = values.index(getattr(p, name))
  return np.stack(images), labels


def logits_of(params, images):
  """{name: float[n, 2, 2, classes]}."""
  grid = TRUNK.apply({'params': params['trunk']}, images)
  return {name: grid @ head['kernel'] + head['bias']
          for name, head in params['heads'].items()}


def loss_of(params, images, labels):
  """Summed over names: mean cross-entropy where there is something to name."""
  total = 0
  for name, logits in logits_of(params, images).items():
    some = labels[name] >= 0
    each = optax.softmax_cross_entropy_with_integer_labels(
        logits, jnp.maximum(labels[name], 0))
    total += (each * some).sum() / some.sum()
  return total


def train(images, labels, steps, batch, lr, seed):
  """Parameters of trunk and heads, by AdamW under half a cosine."""
  key = jax.random.key(seed)
  normal = jax.nn.initializers.normal(TRUNK.features ** -0.5)
  params = {
      'trunk': elastic.unbox(TRUNK.init(key, images[:1])['params']),
      'heads': {name: {
          'kernel': normal(jax.random.fold_in(key, i), (TRUNK.features, count)),
          'bias': jnp.zeros(count)}
                for i, (name, count) in enumerate(CLASSES.items())}}
  tx = optimizers.create(
      dict(name='adamw', lr=lr, weight_decay=1e-2, clip=1.0),
      dict(name='cosine'), params, 0, steps)  # Steps alone, no epochs.

  @jax.jit
  def step(params, opt_state, images, labels):
    loss, grads = jax.value_and_grad(loss_of)(params, images, labels)
    updates, opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss

  rng, opt_state = np.random.default_rng(seed), tx.init(params)
  bar = tqdm.trange(steps, desc='training', disable=None)
  for i in bar:
    rows = rng.integers(len(images), size=batch)
    params, opt_state, loss = step(params, opt_state, images[rows],
                                   {k: v[rows] for k, v in labels.items()})
    if i % 100 == 99:
      bar.set_postfix(loss=f'{loss:.3f}')
      print(f'step {i + 1} of {steps}, loss {loss:.3f}', flush=True)
  return params


def accuracies(params, images, labels):
  """Percent of cells, or of plates, that are named rightly."""
  named = jax.jit(lambda images: {
      k: v.argmax(-1) for k, v in logits_of(params, images).items()})
  parts = [named(part) for part in np.array_split(images, 10)]
  found = {k: np.concatenate([p[k] for p in parts]) for k in CLASSES}
  some = {k: labels[k] >= 0 for k in CLASSES}
  return {k: 100 * np.mean(found[k][some[k]] == labels[k][some[k]])
          for k in CLASSES}


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--output', required=True)
  parser.add_argument('--pictures', type=int, default=10_000)
  parser.add_argument('--steps', type=int, default=2_000)
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--lr', type=float, default=3e-3)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args()
  params = train(*draw('train', args.pictures, True, args.seed), args.steps,
                 args.batch, args.lr, args.seed)
  scores = accuracies(params, *draw('test', 1_000, False, args.seed))
  print('test', *(f'{name} {value:.1f}' for name, value in scores.items()))
  tensors = core.write(clip_visual.TABLE,
                       {'visual': jax.tree.map(np.asarray, params['trunk'])})
  files.save(args.output, tensors)
  print(f'{args.output}: {len(tensors)} tensors')


if __name__ == '__main__':
  main()
