"""Milliseconds of exported files in ONNX Runtime on one thread, in turns.

  pip install -e '.[parity,export]'
  git worktree add ../before f7ec9a5
  python tests/bench/exported.py --against ../before --rounds 7 --peer

Writes submodels by `export --config` (random parameters by a fixed seed), in
float32 and in int8, here and with another checkout, and runs the files on the
same random input: MCAN-BST's smallest submodel of published size, the
quickstart's smallest submodel and its full model. With --peer also the first of
them written in plain torch (tests/bench/torch_networks.py) and by torch.onnx.
All files take turns in each round. Prints operators by kind, bytes, the
greatest difference of int8 logits from float32 ones, milliseconds (a median of
runs a round), and for every file the ratio to the first, by the clock and by
the processor's time: median and range of the rounds.
"""
import argparse
import collections
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

from bst_jax.host import processor
import numpy as np
import onnx
import onnxruntime

# Config and submodel.
MODELS = {
    'smallest': ('configs/bst_mcan_vqa.py', '1/4x1/6'),
    'quickstart_smallest': ('configs/quickstart.py', '1/4x1/4'),
    'quickstart_full': ('configs/quickstart.py', '1x1'),
}
HERE = pathlib.Path(__file__).resolve().parents[2]


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--models', nargs='*', default=list(MODELS),
                      choices=list(MODELS))
  parser.add_argument('--against', metavar='FOLDER',
                      help='another checkout; the ratio is to its files')
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--runs', type=int, default=50, help='of a round')
  parser.add_argument('--batch', type=int,
                      help='rows that files take; any number if left out')
  parser.add_argument('--peer', action='store_true', help='torch.onnx too')
  args = parser.parse_args()
  print(f'onnxruntime {onnxruntime.__version__}, one thread, {_processor()}')
  trees = {'before': args.against} if args.against else {}
  trees['now'] = HERE
  for name in args.models:
    with tempfile.TemporaryDirectory() as folder:
      compare(name, {
          f'{kind}, {when}': path for when, tree in trees.items()
          for kind, path in _exported(tree, name, folder, when,
                                      args.batch).items()
      } | ({'torch.onnx': _peer(folder)}
           if args.peer and name == 'smallest' else {}), args)


def compare(name, paths, args):
  """Prints the lines of one model.

  Args:
    name: of `MODELS`.
    paths: {what a file is called: the file}.
    args: rounds and runs.
  """
  print(f'\n{name}')
  calls, logits = {}, {}
  for what, path in paths.items():
    session = _session(path)
    inputs = _inputs(session)
    calls[what] = lambda session=session, inputs=inputs: session.run(
        None, inputs)[0]
    logits[what] = calls[what]()
    print(f'  {what}: {os.path.getsize(path):,} bytes, {_kinds(path)}')
  for what, got in logits.items():
    kind, _, when = what.partition(', ')
    if kind == 'int8':
      want = logits[f'float32, {when}']
      print(f'  {what}: differs by {np.abs(got - want).max():.1e} of '
            f'{np.abs(want).max():.1e}')
  rounds = {what: [] for what in calls}
  for _ in range(args.rounds):
    for what, call in calls.items():
      call()
      rounds[what].append(_milliseconds(call, args.runs))
  first = next(iter(rounds.values()))
  for what, each in rounds.items():
    clock = [a for a, _ in each]
    ratios = [[a[i] / b[i] for a, b in zip(each, first)] for i in range(2)]
    told = ', processor '.join(
        f'{statistics.median(r):.2f} ({min(r):.2f} to {max(r):.2f})'
        for r in ratios)
    print(f'  {statistics.median(clock):7.3f} ms ({min(clock):.3f} to '
          f'{max(clock):.3f})  ratio {told}  {what}', flush=True)


def _exported(tree, name, folder, when, batch):
  """{float32, int8: file} of a model, written by a checkout."""
  config, submodel = MODELS[name]
  output = os.path.join(folder, when)
  done = subprocess.run(
      [sys.executable, '-m', 'bst_jax.export', '--config', config, '--submodel',
       submodel, '--format', 'onnx,int8', '--output', output,
       *(['--batch', str(batch)] if batch else [])], cwd=tree, text=True,
      env=os.environ | {'PYTHONPATH': os.path.abspath(tree)},
      capture_output=True, check=False)
  if done.returncode:
    raise SystemExit(f'export of {name} by {tree} failed:\n{done.stderr}')
  return {'float32': os.path.join(output, 'model.onnx'),
          'int8': os.path.join(output, 'model.int8.onnx')}


def _peer(folder):
  """The smallest submodel of published size in torch, by torch.onnx."""
  import torch
  import torch_networks

  torch.manual_seed(0)
  network = torch_networks.Mcan().eval()
  path = os.path.join(folder, 'torch.onnx')
  inputs = network.inputs(1)
  torch.onnx.export(
      network, tuple(inputs.values()), path, input_names=list(inputs),
      output_names=['logits'], dynamo=False, opset_version=17,
      dynamic_axes={key: {0: 'B'} for key in [*inputs, 'logits']})
  return path


def _session(path):
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = options.inter_op_num_threads = 1
  options.log_severity_level = 3
  return onnxruntime.InferenceSession(
      path, options, providers=['CPUExecutionProvider'])


def _inputs(session):
  """Random input by a fixed seed, of one row where any number is taken."""
  rng = np.random.default_rng(0)
  arrays = {}
  for one in sorted(session.get_inputs(), key=lambda one: one.name):
    shape = [d if isinstance(d, int) else 1 for d in one.shape]
    arrays[one.name] = (
        rng.integers(1, 20, shape).astype(one.type[7:-1]) if 'int' in one.type
        else rng.standard_normal(shape, np.float32))
  return arrays


def _kinds(path):
  """Counts of the operators of a file, those of inner graphs too."""
  counts = collections.Counter()

  def count(graph):
    for node in graph.node:
      counts[node.op_type] += 1
      for attribute in node.attribute:
        if attribute.g.node:
          count(attribute.g)

  count(onnx.load(path).graph)
  most = ', '.join(f'{n} {kind}' for kind, n in counts.most_common(12))
  return f'{counts.total()} operators: {most}'


def _milliseconds(call, runs):
  """Of the clock, the median; of the processor, the mean."""
  times, busy = [], time.process_time()
  for _ in range(runs):
    began = time.perf_counter()
    call()
    times.append(time.perf_counter() - began)
  busy = time.process_time() - busy
  return 1e3 * statistics.median(times), 1e3 * busy / runs


def _processor():
  """The processor's name, and what it has for products of int8."""
  name = processor.about().get('model name') or platform.processor()
  vnni = any('vnni' in name for name in processor.instructions())
  return f'{name}, {"with" if vnni else "without"} VNNI'


if __name__ == '__main__':
  main()
