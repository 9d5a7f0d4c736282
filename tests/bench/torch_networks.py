"""Networks in torch of the same products as ours, for benchmarks alone."""
import math

import torch
from torch import nn
import torch.nn.functional as F
import transformers


class Hugging(nn.Module):
  """A network of transformers that is given some inputs and gives a tensor."""

  def __init__(self, network, draw, out):
    super().__init__()
    self.network, self.inputs, self.out = network, draw, out

  def forward(self, **inputs):
    return getattr(self.network(**inputs), self.out)


def deit_s():
  """DeiT-S at 224: transformers' ViT, which has the same layers."""
  network = transformers.ViTForImageClassification(transformers.ViTConfig(
      hidden_size=384, num_attention_heads=6, intermediate_size=1536,
      num_labels=1000, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
      attn_implementation='sdpa'))
  return Hugging(network, lambda batch: {
      'pixel_values': torch.randn(batch, 3, 224, 224)}, 'logits')


def deit_t():
  """DeiT-T at 224: transformers' ViT, bare."""
  return transformers.ViTForImageClassification(transformers.ViTConfig(
      hidden_size=192, num_attention_heads=3, intermediate_size=768,
      num_labels=1000, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
      attn_implementation='sdpa'))


def without_unit(network, layer, unit):
  """Takes a hidden unit out of a layer of `deit_t`."""
  mlp = network.vit.layers[layer].mlp
  left = [i for i in range(mlp.fc1.out_features) if i != unit]
  small = nn.Linear(mlp.fc1.in_features, len(left))
  back = nn.Linear(len(left), mlp.fc2.out_features)
  with torch.no_grad():
    small.weight.copy_(mlp.fc1.weight[left])
    small.bias.copy_(mlp.fc1.bias[left])
    back.weight.copy_(mlp.fc2.weight[:, left])
    back.bias.copy_(mlp.fc2.bias)
  mlp.fc1, mlp.fc2 = small, back


def cvt_13():
  """CvT-13 at 224, with the exact GELU that transformers has."""
  network = transformers.CvtForImageClassification(transformers.CvtConfig(
      num_labels=1000, drop_path_rate=[0.0] * 3))
  network.eval()  # Stored batch statistics, as ours.
  return Hugging(network, lambda batch: {
      'pixel_values': torch.randn(batch, 3, 224, 224)}, 'logits')


def timesformer_b():
  """TimeSformer-B of 8 frames, divided attention."""
  network = transformers.TimesformerForVideoClassification(
      transformers.TimesformerConfig(num_labels=400, num_frames=8))
  return Hugging(network, lambda batch: {
      'pixel_values': torch.randn(batch, 8, 3, 224, 224)}, 'logits')


def uniter():
  """The layers of UNITER-base over 20 words and 100 regions, as BERT's."""
  network = transformers.BertModel(transformers.BertConfig(
      num_hidden_layers=12, hidden_dropout_prob=0.0,
      attention_probs_dropout_prob=0.0, attn_implementation='sdpa'))
  return Hugging(network, lambda batch: {
      'inputs_embeds': torch.randn(batch, 120, 768)}, 'pooler_output')


class Block(nn.Module):
  """A layer of a transformer; `mix` changes keys and values before the product."""

  def __init__(self, width, heads, mlp, bias=True, mix=None):
    super().__init__()
    self.heads, self.mix = heads, mix or (lambda x: x)
    self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
    self.qkv = nn.Linear(width, 3 * width, bias=bias)
    self.proj = nn.Linear(width, width)
    self.ffn = nn.Sequential(nn.Linear(width, mlp), nn.GELU(),
                             nn.Linear(mlp, width))

  def forward(self, x):
    """float[B, N, D] -> float[B, N, D]."""
    batch, length, width = x.shape
    q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
    q, k, v = (y.view(batch, length, self.heads, -1).transpose(1, 2)
               for y in (q, self.mix(k), self.mix(v)))
    seen = F.scaled_dot_product_attention(q, k, v)
    x = x + self.proj(seen.transpose(1, 2).reshape(batch, length, width))
    return x + self.ffn(self.norm2(x))


def mixed(x, segment=8, share=8):
  """An eighth of the channels from the next frame, an eighth from the last."""
  frames = x.unflatten(0, (-1, segment))                     # [B, T, N, D]
  size = x.shape[-1] // share
  ahead, behind, rest = frames.split([size, size, x.shape[-1] - 2 * size], -1)
  ahead = F.pad(ahead[:, 1:], (0, 0, 0, 0, 0, 1))
  behind = F.pad(behind[:, :-1], (0, 0, 0, 0, 1, 0))
  return torch.cat([ahead, behind, rest], -1).flatten(0, 1)


class XVit(nn.Module):
  """X-ViT-B/16 of 16 frames in two segments (Bulat et al., NeurIPS 2021)."""

  def __init__(self, width=768, heads=12, mlp=3072, layers=12, frames=16):
    super().__init__()
    self.frames = frames
    self.patch = nn.Conv2d(3, width, 16, 16)
    self.token = nn.Parameter(torch.zeros(1, 1, width))
    self.places = nn.Parameter(0.02 * torch.randn(1, 197, width))
    self.times = nn.Parameter(0.02 * torch.randn(1, frames, width))
    self.layers = nn.Sequential(*(
        Block(width, heads, mlp, mix=mixed) for _ in range(layers)))
    self.norm = nn.LayerNorm(width)
    self.temporal = Block(width, heads, mlp, bias=False)
    self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width),
                              nn.GELU(), nn.Linear(width, 600))

  def inputs(self, batch):
    return {'clip': torch.randn(batch, self.frames, 3, 224, 224)}

  def forward(self, clip):
    x = self.patch(clip.flatten(0, 1)).flatten(2).transpose(1, 2)
    x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
    x = self.norm(self.layers(x))[:, 0].unflatten(0, (-1, self.frames))
    x = torch.cat([self.token.expand(len(x), -1, -1), x + self.times], 1)
    return self.head(self.temporal(x)[:, 0])


class Bottleneck(nn.Module):
  """Three convolutions and a shortcut."""

  def __init__(self, inp, hidden, out):
    super().__init__()
    shapes = ((inp, hidden, 1), (hidden, hidden, 3), (hidden, out, 1))
    self.parts = nn.ModuleList(
        nn.Sequential(nn.Conv2d(a, b, size, padding=size // 2, bias=False),
                      nn.BatchNorm2d(b)) for a, b, size in shapes)
    self.short = nn.Sequential(nn.Conv2d(inp, out, 1, bias=False),
                               nn.BatchNorm2d(out))

  def forward(self, x):
    y = x
    for i, part in enumerate(self.parts):
      y = F.relu(part(y)) if i < 2 else part(y)
    return F.relu(y + self.short(x))


class PsVit(nn.Module):
  """PS-ViT-B/14 (Yue et al., ICCV 2021): stored batch statistics, no dropout."""

  def __init__(self, width=384, heads=6, mlp=1152, points=14, looks=4, layers=10):
    super().__init__()
    self.points = points
    self.stem = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.MaxPool2d(3, 2, 1), Bottleneck(64, 64, 256),
        Bottleneck(256, 64, width)).eval()
    self.place = nn.Linear(2, width)
    self.looks = nn.ModuleList(
        Block(width, heads, mlp, bias=False) for _ in range(looks))
    self.offsets = nn.ModuleList(
        nn.Linear(width, 2) for _ in range(looks - 1))
    self.token = nn.Parameter(torch.zeros(1, 1, width))
    self.layers = nn.Sequential(*(
        Block(width, heads, mlp, bias=False) for _ in range(layers)))
    self.norm = nn.LayerNorm(width)
    self.head = nn.Linear(width, 1000)

  def inputs(self, batch):
    return {'image': torch.randn(batch, 3, 224, 224)}

  def forward(self, image):
    grid = self.stem(image)                                  # [B, D, h, w]
    side = grid.shape[-1]
    even = (torch.arange(self.points) + 0.5) / self.points * side
    at = torch.stack(torch.meshgrid(even, even, indexing='ij'), -1).flatten(0, 1)
    at = at.expand(len(grid), -1, -1)                        # [B, n, 2]
    x, offset = 0.0, torch.zeros_like(at)
    for i, layer in enumerate(self.looks):
      where = (at + offset) / (side / 2) - 1
      seen = F.grid_sample(grid, where[:, :, None], align_corners=False)[..., 0]
      at = at + offset.detach()
      x = layer(x + seen.transpose(1, 2) + self.place(at / side))
      if i < len(self.offsets):
        offset = self.offsets[i](x)
    x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
    return self.head(self.norm(self.layers(x))[:, 0])


class UnbiasedNorm(nn.Module):
  """Divides by the unbiased standard deviation plus eps, as MCAN does."""

  def __init__(self, width, eps=1e-6):
    super().__init__()
    self.eps = eps
    self.scale = nn.Parameter(torch.ones(width))
    self.bias = nn.Parameter(torch.zeros(width))

  def forward(self, x):
    centred = x - x.mean(-1, keepdim=True)
    deviation = x.std(-1, keepdim=True) + self.eps
    return self.scale * centred / deviation + self.bias


class Attention(nn.Module):
  """Attention of x over y, whose padding is masked."""

  def __init__(self, width, heads):
    super().__init__()
    self.heads = heads
    self.query, self.key, self.value, self.out = (
        nn.Linear(width, width) for _ in range(4))

  def forward(self, x, y, padding):
    split = lambda z: z.view(*z.shape[:2], self.heads, -1).transpose(1, 2)
    q, k, v = (split(f(z)) for f, z in (
        (self.query, x), (self.key, y), (self.value, y)))
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(padding[:, None, None], -1e9)
    return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class McanLayer(nn.Module):
  """Attention to itself, to a question where there is one, feed-forward."""

  def __init__(self, width, heads, mlp, guided):
    super().__init__()
    self.attention = nn.ModuleList(
        Attention(width, heads) for _ in range(1 + guided))
    self.ffn = nn.Sequential(nn.Linear(width, mlp), nn.ReLU(),
                             nn.Linear(mlp, width))
    self.norms = nn.ModuleList(UnbiasedNorm(width) for _ in range(2 + guided))

  def forward(self, x, padding, *question):
    for attend, norm, (y, hidden) in zip(
        self.attention, self.norms, [(None, padding), question]
        if question else [(None, padding)]):
      x = norm(x + attend(x, x if y is None else y, hidden))
    return self.norms[-1](x + self.ffn(x))


class AttentionPool(nn.Module):
  """One vector of a sequence, by a learned softmax over its tokens."""

  def __init__(self, width, out):
    super().__init__()
    self.scores = nn.Sequential(nn.Linear(width, width), nn.ReLU(),
                                nn.Linear(width, 1))
    self.merge = nn.Linear(width, out)

  def forward(self, x, padding):
    scores = self.scores(x).squeeze(-1).masked_fill(padding, -1e9)
    return self.merge((scores.softmax(-1).unsqueeze(1) @ x).squeeze(1))


class Mcan(nn.Module):
  """MCAN-BST's smallest submodel: a quarter of the width, a layer a stack."""

  def __init__(self, width=128, heads=2, mlp=512, fused=256, layers=1,
               words=20573, answers=3129):
    super().__init__()
    self.words = nn.Embedding(words, 300)
    self.lstm = nn.LSTM(300, 512, batch_first=True)
    self.question = nn.Sequential(nn.Linear(512, width), UnbiasedNorm(width))
    self.image = nn.Sequential(nn.Linear(2048, width), UnbiasedNorm(width))
    stack = lambda guided: nn.ModuleList(
        McanLayer(width, heads, mlp, guided) for _ in range(layers))
    self.encoder, self.decoder = stack(False), stack(True)
    self.pools = nn.ModuleList(AttentionPool(width, fused) for _ in range(2))
    self.norm = UnbiasedNorm(fused)
    self.classifier = nn.Linear(fused, answers)

  def inputs(self, batch):
    return {'regions': torch.randn(batch, 100, 2048),
            'tokens': torch.randint(1, 20, (batch, 14), dtype=torch.int32)}

  def forward(self, regions, tokens):
    """float[B, N, 2048] and int32[B, M] -> float[B, A]."""
    y_padding, x_padding = tokens == 0, regions.abs().sum(-1) == 0
    y = self.question(self.lstm(self.words(tokens))[0])
    x = self.image(regions)
    for layer in self.encoder:
      y = layer(y, y_padding)
    for layer in self.decoder:
      x = layer(x, x_padding, y, y_padding)
    z = self.pools[0](y, y_padding) + self.pools[1](x, x_padding)
    return self.classifier(self.norm(z))
