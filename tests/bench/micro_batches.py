"""What a step over pictures costs an example, in one part and in several.

  python tests/bench/micro_batches.py --models cvt clip_vil mcan --parts 4

On a CPU, gradients of convolutions inside of a loop, as parts of a batch are
worked on, must not be slower than outside. Small networks of random numbers: two
stages of CvT, CLIP-ViL's trunk, and MCAN with a convolutional stem. Each runs
forward and backward over a batch as one part and as several, in turns; prints
the milliseconds of an example of both and the ratio (several / one): median and
range. The aim is at most 1.3.
"""
import argparse
import statistics
import time

from bst_jax import elastic, load_config
from bst_jax.learn import sharding
from bst_jax.run import experiment, program
import jax
import jax.numpy as jnp
import numpy as np

# Config, what is changed of it, sizes of the data.
MODELS = {
    'cvt': ('configs/cvt_fashion.py', {}, dict(num_answers=10, image_size=28)),
    'clip_vil': ('configs/bst_clip_vil_scenes.py', {},
                 dict(vocab_size=100, num_answers=30, max_tokens=14,
                      image_size=64)),
    'mcan': ('configs/pictures.py', {},
             dict(vocab_size=100, num_answers=30, max_tokens=14,
                  image_size=64))}


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--models', nargs='*', default=list(MODELS),
                      choices=list(MODELS))
  parser.add_argument('--parts', type=int, default=4)
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--rounds', type=int, default=5)
  args = parser.parse_args()
  print(f'jax {jax.__version__}, {jax.devices()[0].device_kind}, batch '
        f'{args.batch}, 1 and {args.parts} parts')
  for name in args.models:
    steps = [step_of(*MODELS[name], args.batch, parts)
             for parts in (1, args.parts)]
    times = [[], []]
    for run in range(args.rounds + 1):  # The first compiles.
      for step, seconds in zip(steps, times):
        began = time.perf_counter()
        step()
        if run:
          seconds.append((time.perf_counter() - began) / args.batch)
    ratios = [b / a for a, b in zip(*times)]
    one, several = (1e3 * statistics.median(t) for t in times)
    print(f'{name:10} {one:8.2f} ms an example in one part, {several:8.2f} ms '
          f'in {args.parts}: ratio {statistics.median(ratios):.2f} '
          f'({min(ratios):.2f} to {max(ratios):.2f})', flush=True)


def step_of(path, changes, sizes, batch, parts):
  """A function that runs one training step of the full model."""
  config = load_config(path)
  config.unlock()
  config.method = dict(name='plain')
  config.teacher = None
  config.micro_batches = parts
  config.model.update(changes)
  exp = experiment.whole(experiment.build(config, sizes))
  mesh = sharding.make_mesh({'data': -1})
  job = program.make(exp, mesh, 1, 1000)
  rng = np.random.default_rng(0)
  inputs = {key: jnp.asarray(
      rng.integers(1, 30, x.shape).astype(x.dtype) if x.dtype != bool
      else np.ones(x.shape, bool)) for key, x in exp.example(batch).items()}
  inputs['mask'] = jnp.ones(batch, bool)
  inputs |= (dict(label=jnp.arange(batch) % 10) if exp.task.form == 'labels'
             else dict(target=jnp.asarray(rng.random(
                 (batch, sizes['num_answers']), np.float32))))
  with jax.set_mesh(mesh):
    params = jax.jit(lambda key: elastic.unbox(exp.model.init(
        key, exp.example())['params']))(jax.random.key(0))
    state = [jax.jit(job.method.init)(jax.random.key(1), params)]

  def run():
    with jax.set_mesh(mesh):
      state[0], metrics = job.step(state[0], None, {'train': inputs})
      jax.block_until_ready(metrics)

  return run


if __name__ == '__main__':
  main()
