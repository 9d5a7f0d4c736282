"""What pruning leaves of DINOv2-small as it was really trained.

  pip install -e '.[parity,export]' && python tests/parity/fetch.py
  apt-get install dataset-fashion-mnist    # Or --manual_dir.
  python tests/bench/up_dino.py --output runs/dino --images 64

The weights of tests/parity/test_real_dinov2.py, fine-tuned for saliency, with a
linear probe of Fashion-MNIST (ridge regression on --probe pictures of 112 x 112)
as head. Channels are removed for budgets of multiply-accumulates by Fisher's
scores of the probe's divergence, by magnitude and by random numbers, with equal
shares in all layers and with a ranking among alike sets. Prints, on test pictures
that were not scored, the mean cosine of the class token's features with the whole
model's kept ones, and the probe's accuracy; nothing is trained after pruning.
Draws what heads went.
"""
import argparse
import json
import pathlib
import sys

from bst_jax import convert, elastic
from bst_jax.interop import files
from bst_jax.layers import features
from bst_jax.pruning import picture, scoring, select, targets
from bst_jax.report import scoring as tables
from bst_jax.run import experiment
from bst_jax.store import checkpoint
import jax
import jax.numpy as jnp
import numpy as np
import onnx
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'parity'))
import fetch  # noqa: E402
import test_real_dinov2  # noqa: E402

SIDE = 112
SHARES = 0.9, 0.75, 0.6
KINDS = 'fisher', 'magnitude', 'random'


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--images', type=int, default=64, help='that are scored')
  parser.add_argument('--probe', type=int, default=2000)
  parser.add_argument('--test', type=int, default=1000)
  parser.add_argument('--manual_dir', type=pathlib.Path,
                      default=pathlib.Path('/usr/share/datasets/fashion-mnist'))
  args = parser.parse_args()

  exp, params = opened(args.output)
  train, test = (pictures(args.manual_dir, name, count) for name, count in (
      ('train', args.probe), ('t10k', args.test)))
  params = probed(exp, params, *train)
  macs = targets._cost(exp, {}, 'macs', 'per_head')
  want, right = run(exp, exp.model, params, *test)
  print(f'DINOv2-small, {elastic.size(params):,} parameters, {macs:,} '
        f'multiply-accumulates; probe {right:.1f} %', flush=True)

  batch = {'image': train[0][:args.images], 'label': train[1][:args.images],
           'mask': np.ones(args.images, bool)}
  batches = [{key: value[i:i + 16] for key, value in batch.items()}
             for i in range(0, args.images, 16)]
  lines = [('multiply-accumulates', 'sizes', *(
      f'{kind}: {what}' for kind in KINDS for what in ('cosine', 'probe')))]
  scores = {kind: scoring.score(exp, params, batches, kind) for kind in KINDS}
  for share in SHARES:
    for mode, rule in (('uniform', 'per_head'), ('isomorphic', 'heads')):
      cells = []
      for kind in KINDS:
        sizes, rule = targets.sizes(
            exp, f'macs<={int(share * macs)}', rule, 1, mode, scores[kind])
        choice = select.choice(scores[kind], exp.shapes, exp.axes, sizes, rule)
        small = exp.model.chosen(choice)
        got, right = run(exp, small, exp.cut(params, choice), *test)
        kept = np.asarray(choice.keep.get('embed', range(want.shape[1])))
        cells += [f'{cosine(got, want[:, kept]):.3f}', f'{right:.1f}']
        if kind == 'fisher' and mode == 'isomorphic':
          picture.draw(choice, exp.shapes, exp.axes,
                       args.output / f'kept_{share}.png',
                       f'DINOv2-small, {share:.0%} of multiply-accumulates')
      lines.append((f'{share:.0%}', mode, *cells))
      print(tables.aligned(lines[:1] + lines[-1:]), flush=True)
  print(f'\n{tables.aligned(lines)}')


def opened(output):
  """The network with ten classes that the class token is read for."""
  folder, work = output / 'folder', output / 'work'
  if not (work / 'config.json').exists():
    folder.mkdir(parents=True, exist_ok=True)
    model = onnx.load(str(fetch.place(test_real_dinov2.NAME)))
    files.save(folder / 'model.safetensors', test_real_dinov2.weights(model.graph))
    (folder / 'config.json').write_text(json.dumps(test_real_dinov2.CONFIG))
    (folder / 'preprocessor_config.json').write_text(json.dumps(
        test_real_dinov2.PICTURES | {
            'size': {'shortest_edge': SIDE},
            'crop_size': {'height': SIDE, 'width': SIDE}}))
    convert.read(None, None, folder, work)
  exp = experiment.load(work)
  params = checkpoint.load_params(work, exp.shapes)
  config = exp.config.copy_and_resolve_references()
  config.unlock()
  config.model.head_reads = 'class'
  found = experiment.build(config, dict(exp.sizes) | {'num_answers': 10})
  return found, params | {'head': None}


def pictures(folder, name, count):
  """uint8[n, SIDE, SIDE, 3] and int32[n]."""
  import gzip
  read = lambda what, skip: np.frombuffer(gzip.decompress(
      (folder / f'{name}-{what}.gz').read_bytes()), np.uint8)[skip:]
  small = read('images-idx3-ubyte', 16).reshape(-1, 28, 28)[:count]
  large = np.stack([np.asarray(Image.fromarray(one).resize(
      (SIDE, SIDE), Image.Resampling.BICUBIC)) for one in small])
  labels = read('labels-idx1-ubyte', 8)[:count].astype(np.int32)
  return np.repeat(large[..., None], 3, -1), labels


def probed(exp, params, images, labels):
  """The parameters with a head by ridge regression, scaled to be probable."""
  empty = {'kernel': np.zeros((384, 10), np.float32),
           'bias': np.zeros(10, np.float32)}
  seen, _ = run(exp, exp.model, params | {'head': empty}, images, labels)
  x = np.concatenate([seen, np.ones((len(seen), 1))], 1).astype(np.float64)
  y = np.eye(10)[labels] - 0.1
  w = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ y)
  w = 10 * w.astype(np.float32)  # Differences of logits of about ten.
  return params | {'head': {'kernel': w[:-1], 'bias': w[-1]}}


def run(exp, model, params, images, labels):
  """Features float[n, d] of the class token, and % of right answers."""
  apply = jax.jit(lambda params, batch: model.apply(
      {'params': params}, batch, mutable=[features.SOWN]))
  found, right = [], 0
  for i in range(0, len(images), 50):
    outputs, sown = apply(params, {'image': jnp.asarray(images[i:i + 50])})
    found.append(np.asarray(features.of(sown)))
    right += (np.argmax(outputs[exp.task.outputs[0]], -1)
              == labels[i:i + 50]).sum()
  return np.concatenate(found), 100 * right / len(images)


def cosine(a, b):
  norm = lambda x: np.linalg.norm(x, axis=1)
  return float(((a * b).sum(1) / (norm(a) * norm(b))).mean())


if __name__ == '__main__':
  main()
