"""EfficientNet-B0's trunk, a picture of 512 x 512 at once, ours or a peer's.

  python tests/bench/in_turns.py --trees . . --rounds 8 \\
      --second 'tests/bench/trunk.py --peer torch' -- tests/bench/trunk.py

All run what a detector reads, up to the grid with cells of 32 pixels, with
stored statistics and random weights, in float32: torch in its eager mode,
channels first, ONNX Runtime what torch exports. Prints the seconds of each round of --runs pictures, and
of one picture.
"""
import argparse

import numpy as np
import rounds

# Taps, stride, width and layers of every stage.
STAGES = ((3, 1, 16, 1), (3, 2, 24, 2), (5, 2, 40, 2), (3, 2, 80, 3),
          (5, 1, 112, 3), (5, 2, 192, 4), (3, 1, 320, 1))
TAPS = 1, 2, 4, 6


def ours(image):
  """A function that runs the trunk once."""
  from bst_jax import elastic
  from bst_jax.layers.efficientnet import Trunk
  import jax

  trunk, rng = Trunk(), np.random.default_rng(0)
  shapes = elastic.unbox(jax.eval_shape(
      trunk.init, jax.random.key(0), image)['params'])
  # He's spread for kernels; about one for gains and variances.
  params = jax.tree.map(lambda leaf: jax.device_put(
      rng.standard_normal(leaf.shape, np.float32)
      * (2 / np.prod(leaf.shape[:-1])) ** 0.5 if len(leaf.shape) > 1
      else rng.random(leaf.shape, np.float32) + 0.5), shapes)
  run = jax.jit(trunk.apply)
  image = jax.device_put(image)
  return lambda: jax.block_until_ready(run({'params': params}, image))


def peer(image, runtime=''):
  """The same in torch, or in ONNX Runtime."""
  import torch
  from torch import nn

  def conv(inp, out, size=1, stride=1, groups=1, act=True):
    return nn.Sequential(
        nn.Conv2d(inp, out, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3), nn.SiLU() if act else nn.Identity())

  class Gate(nn.Module):

    def __init__(self, channels, hidden):
      super().__init__()
      self.parts = nn.Sequential(
          nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, hidden, 1), nn.SiLU(),
          nn.Conv2d(hidden, channels, 1), nn.Sigmoid())

    def forward(self, x):
      return x * self.parts(x)

  class Layer(nn.Module):

    def __init__(self, inp, out, size, stride, expansion):
      super().__init__()
      mlp = expansion * inp
      wider = [conv(inp, mlp)] if expansion > 1 else []
      self.parts = nn.Sequential(
          *wider, conv(mlp, mlp, size, stride, mlp), Gate(mlp, inp // 4),
          conv(mlp, out, act=False))
      self.adds = stride == 1 and inp == out

    def forward(self, x):
      y = self.parts(x)
      return x + y if self.adds else y

  class Whole(nn.Module):

    def __init__(self):
      super().__init__()
      self.stem, self.stages = conv(3, 32, 3, 2), nn.ModuleList()

    def forward(self, x):
      x, grids = self.stem(x), []
      for stage in self.stages:
        x = stage(x)
        grids.append(x)
      return [grids[i] for i in TAPS]

  whole, inp = Whole(), 32
  for i, (size, stride, width, count) in enumerate(STAGES):
    layers = []
    for n in range(count):
      layers.append(Layer(inp, width, size, 1 if n else stride, 6 if i else 1))
      inp = width
    whole.stages.append(nn.Sequential(*layers))
  for module in whole.eval().modules():
    if isinstance(module, nn.Conv2d):
      # With torch's usual ones grids fade into denormal numbers, which are slow.
      nn.init.kaiming_normal_(module.weight)
  count = sum(p.numel() for p in whole.parameters())
  assert count == 3_595_388, count
  torch.set_flush_denormal(True)
  image = torch.from_numpy(image.transpose(0, 3, 1, 2).copy())
  if runtime == 'onnxruntime':
    return _in_runtime(whole, image)

  def run():
    with torch.inference_mode():
      return whole(image)

  return run


def _in_runtime(whole, image):
  """The trunk as torch exports it, in ONNX Runtime."""
  import io

  import onnxruntime
  import torch

  file = io.BytesIO()
  torch.onnx.export(whole, (image,), file, input_names=['image'],
                    opset_version=17, dynamo=False)
  session = onnxruntime.InferenceSession(
      file.getvalue(), providers=['CPUExecutionProvider'])
  image = image.numpy()
  return lambda: session.run(None, {'image': image})


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--peer', choices=['torch', 'onnxruntime'],
                      help='run the peer in place of ours')
  parser.add_argument('--side', type=int, default=512)
  parser.add_argument('--runs', type=int, default=10)
  args = rounds.parsed(parser)

  image = np.random.default_rng(0).standard_normal(
      (1, args.side, args.side, 3)).astype(np.float32)
  rounds.run(
      lambda: peer(image, args.peer) if args.peer else ours(image),
      'the first grid', args.runs, 'a picture')


if __name__ == '__main__':
  main()
