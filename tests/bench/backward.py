"""Forward, and forward and backward, beside the same network in torch.

  pip install -e '.[parity]'
  python tests/bench/backward.py --rounds 5 --models deit_s uniter

Six networks of their published sizes with random weights and random input, in
float32, on two threads: DeiT-S, CvT-13, TimeSformer-B and UNITER-base beside those
of Hugging Face's transformers, X-ViT and PS-ViT, which it has not, beside plain
torch modules of the same products (tests/bench/torch_networks.py). The backward
pass is of a loss to all parameters. Both sides take turns in each round. Prints
seconds of both and the ratio torch / ours (above 1 ours is faster): median and
range.
"""
import argparse
import statistics
import time

from bst_jax import elastic, load_config
from bst_jax.run import experiment
import jax
import jax.numpy as jnp
import numpy as np
import rounds
import torch
import torch_networks

# Config, batch, and the network in torch.
MODELS = {
    'deit_s': ('configs/ats_deit_s.py:dense', 8, torch_networks.deit_s),
    'cvt_13': ('configs/ats_cvt.py:13_dense', 4, torch_networks.cvt_13),
    'timesformer_b': ('configs/ats_timesformer.py:base,dense', 1,
                      torch_networks.timesformer_b),
    'uniter': ('configs/uniter_vqa.py', 8, torch_networks.uniter),
    'xvit': ('configs/ats_xvit.py:dense', 1, torch_networks.XVit),
    'ps_vit': ('configs/ats_ps_vit.py:b_14_dense', 8, torch_networks.PsVit),
}


# What transformers has otherwise than the official code.
CHANGES = {'cvt_13': dict(activation='gelu')}


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--models', nargs='*', default=list(MODELS),
                      choices=list(MODELS))
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--batch', type=int, default=0,
                      help='instead of 8 pictures (CvT: 4) or 1 clip')
  parser.add_argument('--threads', type=int, default=2, help='of torch')
  parser.add_argument('--products', default='float32',
                      choices=['float32', 'bfloat16'],
                      help="of our side, see config.compute.products")
  args = rounds.parsed(parser)
  torch.set_num_threads(args.threads)
  torch.manual_seed(0)
  print(f'jax {jax.__version__}, torch {torch.__version__}, '
        f'{jax.devices()[0].device_kind}, {args.threads} threads')
  for name in args.models:
    config, batch, network = MODELS[name]
    batch = args.batch or batch
    both = (ours(config, batch, args.products, **CHANGES.get(name, {})),
            theirs(network(), batch))
    for i, what in enumerate(('forward', 'forward and backward')):
      times = [[], []]
      for run in range(args.rounds + 1):  # The first compiles, or warms up.
        for side, seconds in zip(both, times):
          began = time.perf_counter()
          side[i]()
          if run:
            seconds.append(time.perf_counter() - began)
      ratios = [b / a for a, b in zip(*times)]
      print(f'{name:14} {what:21} ours {statistics.median(times[0]):7.3f} s  '
            f'torch {statistics.median(times[1]):7.3f} s  torch / ours '
            f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to '
            f'{max(ratios):.2f})', flush=True)


def ours(path, batch, products, **changes):
  """Functions that run the network of a config, forward and with gradients."""
  config = load_config(path)
  config.compute.products = products
  config.model.update(changes)
  config.model.dropout = 0.0
  if 'depth_dropout' in config.model:
    config.model.depth_dropout = 0.0
  exp = experiment.build(config, dict(config.data.sizes))
  rng = np.random.default_rng(0)
  inputs = {key: jnp.asarray(_random(rng, (batch, *x.shape[1:]), x.dtype))
            for key, x in experiment.example(exp.sizes).items()}
  params = jax.jit(lambda key: elastic.unbox(exp.model.init(
      key, inputs)['params']))(jax.random.key(0))

  def loss(params):
    outputs = exp.model.apply({'params': params}, inputs)
    return jnp.mean(jnp.square(next(iter(outputs.values()))))

  forward, backward = jax.jit(loss), jax.jit(jax.grad(loss))
  return (lambda: jax.block_until_ready(forward(params)),
          lambda: jax.block_until_ready(backward(params)))


def theirs(network, batch):
  """The same of a torch module whose `inputs` draws a batch."""
  inputs = network.inputs(batch)

  def forward():
    with torch.inference_mode():
      return network(**inputs).square().mean().item()

  def backward():
    network.zero_grad(set_to_none=True)
    network(**inputs).square().mean().backward()

  return forward, backward


def _random(rng, shape, dtype):
  """Random numbers of a shape; small ones where they name words."""
  if np.issubdtype(dtype, np.floating):
    return rng.standard_normal(shape, np.float32).astype(dtype)
  if np.issubdtype(dtype, np.bool_):
    return np.ones(shape, bool)
  return rng.integers(1, 200, shape).astype(dtype)


if __name__ == '__main__':
  main()
