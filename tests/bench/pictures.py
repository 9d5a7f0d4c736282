"""How fast the sandwich step over raw pictures is: ten submodels, one stem.

  python tests/bench/in_turns.py --trees . ../before --rounds 5 -- \\
      tests/bench/pictures.py --size 64

configs/bst_mcan_pictures.py on random pictures, with parameters drawn from a
seed and the config's frozen teacher. Prints seconds of so many steps a line,
then steps/s, as tests/bench/in_turns.py reads them.
"""
import argparse
import time

from bst_jax import elastic, load_config
from bst_jax.learn import sharding
from bst_jax.run import experiment, program
import jax
import jax.numpy as jnp
import numpy as np

WORDS, ANSWERS, TOKENS = 40, 20, 10


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--config', default='configs/bst_mcan_pictures.py')
  parser.add_argument('--size', type=int, default=64, help='side of a picture')
  parser.add_argument('--pictures', type=int, default=16)
  parser.add_argument('--questions', type=int, default=4, help='of a picture')
  parser.add_argument('--micro_batches', type=int, default=1)
  parser.add_argument('--steps', type=int, default=2, help='of a line')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args()

  config = load_config(args.config)
  config.micro_batches = args.micro_batches
  exp = experiment.build(config, dict(
      vocab_size=WORDS, num_answers=ANSWERS, max_tokens=TOKENS,
      image_size=(args.size, args.size)))
  mesh = sharding.make_mesh({'data': -1})
  jax.set_mesh(mesh)
  job = program.make(exp, mesh, 1, 1000)

  rng = np.random.default_rng(args.seed)
  rows = args.pictures * args.questions
  batches = {'train': jax.tree.map(jnp.asarray, {
      'tokens': rng.integers(1, WORDS, (rows, TOKENS), np.int32),
      'image': rng.integers(
          0, 256, (args.pictures, args.size, args.size, 3), np.uint8),
      'target': rng.random((rows, ANSWERS), np.float32),
      'mask': np.ones(rows, bool)})}
  params = jax.jit(lambda key: elastic.unbox(exp.model.init(
      key, exp.example())['params']))(jax.random.key(args.seed))
  state = jax.jit(job.method.init)(jax.random.key(args.seed + 1), params)
  frozen = jax.tree.map(jnp.copy, state.frozen)
  state = state.replace(frozen=None)

  def run(state):
    began = time.perf_counter()
    for _ in range(args.steps):
      state, metrics = job.step(state, frozen, batches)
    jax.block_until_ready((state, metrics))
    return state, time.perf_counter() - began

  state, seconds = run(state)
  kind = jax.devices()[0].device_kind
  print(f'compiled and run in {seconds:.1f} s on {jax.device_count()} x {kind}',
        flush=True)
  for _ in range(args.rounds):
    state, seconds = run(state)
    print(f'{seconds:8.3f} s  {args.steps / seconds:8.3f} steps/s', flush=True)


if __name__ == '__main__':
  main()
