"""The sandwich step of tests/bench/sandwich.py in torch, as BST releases it.

  python tests/bench/in_turns.py --trees . . --rounds 8 --second \\
      'tests/bench/sandwich_torch.py --batch 16 --steps 8' -- \\
      tests/bench/sandwich.py --batch 16 --steps 8

MCAN with sliced weights, 58.08 M parameters, random input, float32: the teacher
forward, then forward and backward of the full, the smallest and three drawn
submodels, one after the other, and one step of Adam. Prints the seconds of each
step, and the largest memory of the process (Linux).
"""
import argparse
import copy
import time

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEADS, MLP, LAYERS, FUSED = 512, 8, 2048, 6, 1024
WORDS, WORD, FEATURES, ANSWERS = 20573, 300, 2048, 3129
KEPT = {1: (0,), 2: (0, 5), 4: (0, 1, 4, 5), 6: range(6)}
# Quarters of the width and numbers of layers, from the smallest to the full.
SPACE = [(1, 1), (1, 2), (1, 4), (1, 6), (2, 2), (2, 4), (2, 6), (3, 4), (3, 6),
         (4, 6)]


class Linear(nn.Linear):
  """Reads a prefix of its weights: as much as goes in, and `out` units."""

  def forward(self, x, out):
    return F.linear(x, self.weight[:out, :x.shape[-1]], self.bias[:out])


class Norm(nn.Module):
  """By the unbiased standard deviation, over what goes in."""

  def __init__(self, size):
    super().__init__()
    self.scale = nn.Parameter(torch.ones(size))
    self.bias = nn.Parameter(torch.zeros(size))

  def forward(self, x):
    d = x.shape[-1]
    y = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)
    return self.scale[:d] * y + self.bias[:d]


class Attention(nn.Module):
  """Of x over y, with as many heads as there are channels for."""

  def __init__(self, dropout):
    super().__init__()
    self.query, self.key, self.value, self.out = (
        Linear(WIDTH, WIDTH) for _ in range(4))
    self.dropout = dropout

  def forward(self, x, y, padding):
    d, size = x.shape[-1], WIDTH // HEADS
    heads = lambda z: z.unflatten(-1, (-1, size)).transpose(1, 2)
    q, k, v = (heads(layer(z, d)) for layer, z in (
        (self.query, x), (self.key, y), (self.value, y)))
    scores = q @ k.mT / size ** 0.5
    probs = scores.masked_fill(padding[:, None, None], -1e9).softmax(-1)
    probs = F.dropout(probs, self.dropout, self.training)
    return self.out((probs @ v).transpose(1, 2).flatten(2), d)


class FeedForward(nn.Module):
  """Two layers; of hidden units as large a share as of the channels."""

  def __init__(self, hidden, out, dropout):
    super().__init__()
    self.hidden, self.dropout = hidden, dropout
    self.fc1, self.fc2 = Linear(WIDTH, hidden), Linear(hidden, out)

  def forward(self, x, out):
    h = self.fc1(x, self.hidden * x.shape[-1] // WIDTH).relu()
    return self.fc2(F.dropout(h, self.dropout, self.training), out)


class Layer(nn.Module):
  """Attention to itself, to `y` if there is one, and a feed-forward part."""

  def __init__(self, attentions, dropout):
    super().__init__()
    self.attentions = nn.ModuleList(
        Attention(dropout) for _ in range(attentions))
    self.ffn = FeedForward(MLP, WIDTH, dropout)
    self.norms = nn.ModuleList(Norm(WIDTH) for _ in range(attentions + 1))
    self.drop = nn.Dropout(dropout)

  def forward(self, x, padding, *guide):
    sources = [(x, padding), guide]
    for i, attention in enumerate(self.attentions):
      y, mask = (x, padding) if i == 0 else sources[i]
      x = self.norms[i](x + self.drop(attention(x, y, mask)))
    return self.norms[-1](x + self.drop(self.ffn(x, x.shape[-1])))


class Pool(nn.Module):
  """One vector from a sequence, by a learned softmax."""

  def __init__(self, dropout):
    super().__init__()
    self.scores = FeedForward(WIDTH, 1, dropout)
    self.merge = Linear(WIDTH, FUSED)

  def forward(self, x, padding):
    scores = self.scores(x, 1)[..., 0].masked_fill(padding, -1e9)
    pooled = (scores.softmax(1)[..., None] * x).sum(1)
    return self.merge(pooled, FUSED * x.shape[-1] // WIDTH)


class Mcan(nn.Module):
  """The whole network; `quarters` of its width and `depth` layers run."""

  def __init__(self, dropout):
    super().__init__()
    self.words = nn.Embedding(WORDS, WORD)
    self.lstm = nn.LSTM(WORD, WIDTH, batch_first=True)
    self.question, self.picture = Linear(WIDTH, WIDTH), Linear(FEATURES, WIDTH)
    self.question_norm, self.picture_norm = Norm(WIDTH), Norm(WIDTH)
    self.encoder, self.decoder = (
        nn.ModuleList(Layer(n, dropout) for _ in range(LAYERS)) for n in (1, 2))
    self.question_pool, self.picture_pool = Pool(dropout), Pool(dropout)
    self.norm, self.answers = Norm(FUSED), Linear(FUSED, ANSWERS)

  def forward(self, tokens, regions, quarters=4, depth=LAYERS):
    d = WIDTH * quarters // 4
    y_padding, x_padding = tokens == 0, (regions == 0).all(-1)
    y = self.question_norm(self.question(self.lstm(self.words(tokens))[0], d))
    x = self.picture_norm(self.picture(regions, d))
    for i in KEPT[depth]:
      y = self.encoder[i](y, y_padding)
    for i in KEPT[depth] if depth > 1 else (LAYERS - 1,):
      x = self.decoder[i](x, x_padding, y, y_padding)
    z = self.question_pool(y, y_padding) + self.picture_pool(x, x_padding)
    return self.answers(self.norm(z), ANSWERS)


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--batch', type=int, default=16)
  parser.add_argument('--steps', type=int, default=5)
  parser.add_argument('--dropout', type=float, default=0.1)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args()
  # Random answers are learnt by heart, and then gradients are so small that a step
  # takes ten times as long; XLA makes zeros of them.
  torch.set_flush_denormal(True)

  torch.manual_seed(args.seed)
  model = Mcan(args.dropout)
  teacher = copy.deepcopy(model).eval().requires_grad_(False)
  adam = torch.optim.Adam(model.parameters(), 1e-6, (0.9, 0.98), 1e-9)
  tokens = torch.randint(1, WORDS, (args.batch, 14))
  regions = torch.randn(args.batch, 100, FEATURES)

  def step():
    adam.zero_grad()
    with torch.no_grad():
      soft = teacher(tokens, regions).sigmoid()
    drawn = (1 + torch.randperm(len(SPACE) - 2)[:3]).tolist()
    for i in (-1, 0, *drawn):
      F.binary_cross_entropy_with_logits(
          model(tokens, regions, *SPACE[i]), soft, reduction='sum').backward()
    adam.step()

  step()
  count = sum(p.numel() for p in model.parameters())
  print(f'torch {torch.__version__}, {torch.get_num_threads()} threads, '
        f'{count:,} parameters', flush=True)
  for _ in range(args.steps):
    began = time.perf_counter()
    step()
    seconds = time.perf_counter() - began
    print(f'{seconds:6.2f} s  {args.batch / seconds:6.2f} examples/s',
          flush=True)
  with open('/proc/self/status') as file:
    peak = int(file.read().partition('VmHWM:')[2].split()[0]) / 2 ** 20
  print(f'peak memory {peak:.2f} GiB')


if __name__ == '__main__':
  main()
