"""What sampled tokens are worth in time: DeiT-S at 224, beside Hugging Face's.

  python tests/bench/ats.py --batch 32 --rounds 5
  pip install -e '.[parity,export]' && python tests/bench/ats.py --peer --exported

Ways to run the same weights: dense; mask (all widths stay); capacity (static
widths, the 99th percentile of the counts); sorted (bst_jax.sampling.bucketed over four
batches); ragged (bst_jax.sampling.ragged). Weights are random, with queries sharpened so
that attention is uneven, and pictures are noise within frames of many sizes; a
search finds the grid points with which images keep as many tokens on average as
is published (3.10 G multiply-accumulates an image). What is timed does not
depend on what weights mean. --exported adds dense and capacity as ONNX files in
ONNX Runtime, as bst_jax.export writes them.

All ways take turns in each round, so that other work on the machine meets all
of them. Prints images/s, the ratio to dense in the same round (median and
range), and which share of the saved multiply-accumulates became saved time.
"""
import argparse
import dataclasses

from bst_jax import elastic, load_config
from bst_jax.learn import sharding
from bst_jax.report import portable, scoring
from bst_jax.report.budget import Budget
from bst_jax.run import experiment
from bst_jax.sampling import calibration
from bst_jax.sampling import ways as token_ways
import jax
import numpy as np

PUBLISHED = 3.10e9


def pictures(count, side, seed):
  """uint8[n, side, side, 3]: noise within a frame of a random size, on grey."""
  rng = np.random.default_rng(seed)
  found = np.full((count, side, side, 3), 124, np.uint8)
  for image in found:
    size = rng.integers(side // 3, side + 1)
    top, left = rng.integers(0, side - size + 1, 2)
    image[top:top + size, left:left + size] = rng.integers(
        0, 256, (size, size, 3))
  return found


def parameters(exp, sharpness):
  """Random parameters whose queries are scaled, so that attention is uneven."""
  params = jax.jit(lambda key: elastic.unbox(exp.model.init(
      key, experiment.example(exp.sizes))['params']))(jax.random.key(0))
  for layer in params['encoder'].values():
    query = layer['attention']['query']
    layer['attention']['query'] = jax.tree.map(lambda x: sharpness * x, query)
  return params


def peer(batch, threads):
  """Hugging Face's ViT of the same sizes in torch: a function of pictures."""
  import torch
  import transformers

  torch.set_num_threads(threads)
  model = transformers.ViTForImageClassification(transformers.ViTConfig(
      hidden_size=384, num_attention_heads=6, intermediate_size=1536,
      num_labels=1000, attn_implementation='sdpa')).eval()

  @torch.inference_mode()
  def run(images):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return [model(part).logits.numpy() for part in pixels.split(batch)]

  return run


def exported(model, params, batch, threads):
  """The model in ONNX Runtime: a function of pictures."""
  run = lambda inputs: model.apply({'params': params}, inputs)['classes']
  session = portable.Session(portable.onnx(
      run, {'image': np.zeros((1, 224, 224, 3), np.uint8)}), threads)
  return lambda images: [session({'image': part}) for part in np.split(
      images, len(images) // batch)]


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--sharpness', type=float, default=8.0)
  parser.add_argument('--margin', type=float, default=0.03,
                      help='of the ragged buffers above the mean.')
  parser.add_argument('--peer', action='store_true')
  parser.add_argument('--exported', action='store_true')
  parser.add_argument('--threads', type=int, default=2,
                      help='of the peer and of ONNX Runtime.')
  parser.add_argument('--ways', nargs='+', metavar='WAY',
                      help='These alone; dense is always run.')
  args = parser.parse_args()

  config = load_config('configs/ats_deit_s.py')
  exp = experiment.build(config, dict(config.data.sizes))
  params = parameters(exp, args.sharpness)
  images = pictures(4 * args.batch, 224, seed=0)
  groups = np.split(images, 4)
  mesh = sharding.make_mesh({'data': -1})
  batches = [{'image': group, 'mask': np.ones(len(group), bool)}
             for group in groups]
  with jax.set_mesh(mesh):
    ats = dataclasses.replace(exp.model.ats, num_points=None, capacity=None)
    found = calibration.search(exp, params, ats, batches, mesh,
                               Budget('mean_macs', PUBLISHED), quantile=0.99)
    counts = calibration.counter(exp, params, found.ats, batches, mesh)(
        found.ats.num_points)
  print('tokens: mean', counts.mean(0).round(1), 'deviation',
        counts.std(0).round(1), 'slots', found.ats.capacity)

  model = exp.model.clone(ats=found.ats)
  ways = token_ways.make(model, params, args.batch, np.minimum(
      counts, found.ats.capacity).mean(0), args.margin)
  macs = token_ways.macs(model, experiment.example(exp.sizes),
                           found.mean_macs)
  if args.peer:
    ways['Hugging Face'] = peer(args.batch, args.threads)
  if args.exported:
    for name, network in (('dense', model.clone(ats=None)),
                          ('capacity', model)):
      ways[f'{name}, exported'] = exported(network, params, args.batch,
                                           args.threads)
      macs[f'{name}, exported'] = macs[name]
  if args.ways:
    ways = {name: run for name, run in ways.items()
            if name.startswith(('dense', *args.ways))}
  for run in ways.values():  # Compiles.
    run(images)
  speeds = token_ways.rates(ways, images, args.rounds)
  # Of an exported way the dense one is exported too.
  lines = [('way', 'images/s', 'to dense', 'range', 'MACs', 'saved MACs',
            'saved time', 'share')]
  for name, rates in speeds.items():
    _, comma, how = name.partition(',')
    ratio = rates / speeds[f'dense{comma}{how}']
    line = [name, f'{np.median(rates):.2f}', f'{np.median(ratio):.2f}x',
            f'{ratio.min():.2f}-{ratio.max():.2f}']
    if name in macs:
      saved = 1 - macs[name] / macs['dense']
      time_saved = 1 - 1 / np.median(ratio)
      line += [f'{macs[name] / 1e9:.2f} G', f'{saved:.1%}',
               f'{time_saved:.1%}', f'{time_saved / saved:.0%}' if saved else '-']
    lines.append((*line, *('-' for _ in range(8 - len(line)))))
  print(f'\nDeiT-S at 224, batches of {args.batch}, {jax.devices()[0]}\n'
        f'{scoring.aligned(lines)}')
  if 'ragged' in ways:
    print(f'ragged batches that fitted: {np.mean(ways["ragged"].fits):.0%}')


if __name__ == '__main__':
  main()
