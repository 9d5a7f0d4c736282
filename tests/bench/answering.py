"""A question about a raw picture: MiniVLM whole, or its large counterpart.

  python tests/bench/in_turns.py --trees . . --rounds 5 \\
      --second 'tests/bench/answering.py --large' -- tests/bench/answering.py

Small: TEE-0 finds 50 regions of a picture of 512 x 512, and 12 layers of 384 channels
answer a question of --words word pieces. Large: torchvision's Faster R-CNN with a
ResNet of 101 layers finds as many from as many proposals, in torch, and 12 layers of
768 channels, of OSCAR's shape, in our build, read them with 2,048 features each. All
weights are random, float32. Prints the parameters of what answers, the seconds of each
round of --runs pictures, and of one picture.
"""
import argparse

from bst_jax import elastic
from bst_jax.host import processor
from bst_jax.models import minivlm
import detector
import jax
import numpy as np
import rounds

ANSWERS = 3129


def answerer(size, words):
  """A function of regions float[N, F] that answers, and its parameters."""
  model = minivlm.Model(**minivlm.sizes(size) | dict(num_answers=ANSWERS))
  rng, count = np.random.default_rng(0), detector.REGIONS
  batch = dict(
      tokens=rng.integers(1, 30000, (1, words)).astype(np.int32),
      regions=np.zeros((1, count, model.feature_size), np.float32),
      boxes=rng.random((1, count, 4), np.float32))
  shapes = elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), batch)['params'])
  params = jax.tree.map(lambda leaf: jax.device_put(
      0.02 * rng.standard_normal(leaf.shape, np.float32)), shapes)
  run = jax.jit(model.apply)

  def answer(regions):
    found = np.resize(regions, batch['regions'].shape[1:])
    return jax.block_until_ready(run(
        {'params': params}, batch | {'regions': found[None]}))

  return answer, elastic.size(shapes)


def small(image, words):
  """A function that answers once, and the parameters of its answerer."""
  find = detector.ours(image)
  answer, size = answerer('minilm_l12_h384', words)
  return lambda: answer(np.asarray(find()['features'][0])), size


def large(image, words):
  """The same with the large detector and the large transformer."""
  find = detector.peer(image, 'resnet101')
  answer, size = answerer('oscar_base', words)
  # The detector keeps its features to itself; any take as long.
  features = np.random.default_rng(1).standard_normal(
      (detector.REGIONS, 2048), np.float32)

  def run():
    find()
    return answer(features)

  return run, size


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--large', action='store_true')
  parser.add_argument('--words', type=int, default=20)
  parser.add_argument('--side', type=int, default=512)
  parser.add_argument('--runs', type=int, default=8)
  args = parser.parse_args()

  if not args.large:
    processor.tune()
  image = np.random.default_rng(0).integers(
      0, 256, (args.side, args.side, 3), np.uint8)
  run, size = (large if args.large else small)(image, args.words)
  rounds.run(lambda: run, f'the first answer, by {size:,} parameters', args.runs,
             'an answer')


if __name__ == '__main__':
  main()
