"""Accelerator chips: their published peaks, and the slices that they come in.

Sources: Google Cloud's pages "TPU v4", "TPU v5e", "TPU v5p", "TPU v6e" and
  "TPU7x (Ironwood)". A link's rate in one direction is the published
  interconnect bandwidth of a chip, which adds both directions, over two and
  over the links; of v4, which has none published, the pod's all-reduce
  bandwidth over its chips and their links. The data-centre network's rate is
  that of a pod over its chips, or of a chip where that is published.
  GPUs: NVIDIA's data sheets of A100 80GB SXM, H100 SXM and H200 SXM (dense
  operations; NVLink's rate adds both directions), and of the DGX systems that
  hold eight of them (one network card a GPU).
Differs: a chip's gigabytes are taken as 2^30 bytes, which is what the compiler
  allots from.
"""
import math
import re
from typing import NamedTuple

from bst_jax.elastic import check_name

GIB = 2 ** 30


class Chip(NamedTuple):
  """Attributes:
    flops: peak bfloat16 operations a second, two a multiply-accumulate.
    hbm: bytes of memory.
    hbm_rate: bytes a second to and from it.
    links: to neighbours, two an axis of the torus; 1: to a switch.
    link_rate: bytes a second of a link in one direction.
    dcn_rate: bytes a second in one direction to other slices; None: not
      published.
    pod: most chips of one slice.
    wraps: an axis of a slice is a ring where this divides it, else a line.
    mxus: matrix units and the side of one; None: publications disagree.
    slices: shapes that exist.
    devices: as which jax sees a chip; its peaks and memory are split.
    platform: of jax.
  """

  flops: float
  hbm: int
  hbm_rate: float
  links: int
  link_rate: float
  dcn_rate: float | None
  pod: int
  wraps: int
  mxus: tuple[int, int] | None
  slices: tuple[str, ...]
  devices: int = 1
  platform: str = 'tpu'

  @property
  def device_flops(self) -> float:
    return self.flops / self.devices

  @property
  def device_hbm(self) -> int:
    return self.hbm // self.devices

  @property
  def device_hbm_rate(self) -> float:
    return self.hbm_rate / self.devices

  @property
  def clock(self) -> float | None:
    """Cycles a second, as the peak and the matrix units imply."""
    if self.mxus is None:
      return None
    count, side = self.mxus
    return self.flops / (2 * count * side ** 2)


_FLAT = ('2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_DEEP = ('2x2x1', '2x2x2', '2x2x4', '2x4x4', '4x4x4', '4x4x8', '4x8x8', '8x8x8',
         '8x8x16', '8x16x16', '16x16x16')

_NODE = ('1', '2', '4', '8')

CHIPS = {
    'v4': Chip(275e12, 32 * GIB, 1200e9, 6, 45e9, None, 4096, 4, (8, 128),
               _DEEP),
    'v5e': Chip(197e12, 16 * GIB, 819e9, 4, 50e9, 25e9 / 8, 256, 16, (4, 128),
                _FLAT),
    'v5p': Chip(459e12, 95 * GIB, 2765e9, 6, 100e9, 50e9 / 8, 6144, 4, (8, 128),
                _DEEP),
    'v6e': Chip(918e12, 32 * GIB, 1638e9, 4, 100e9, 100e9 / 8, 256, 16, None,
                _FLAT),
    'tpu7x': Chip(2307e12, 192 * GIB, 7380e9, 6, 100e9, 100e9 / 8, 9216, 4,
                  None, _DEEP, devices=2),
    'a100': Chip(312e12, 80 * GIB, 2039e9, 1, 300e9, 25e9, 8, 0, None, _NODE,
                 platform='cuda'),
    'h100': Chip(989e12, 80 * GIB, 3350e9, 1, 450e9, 50e9, 8, 0, None, _NODE,
                 platform='cuda'),
    'h200': Chip(989e12, 141 * 10 ** 9, 4800e9, 1, 450e9, 50e9, 8, 0, None,
                 _NODE, platform='cuda'),
}


class Slice(NamedTuple):
  """Chips that are wired to each other.

  Attributes:
    name: of the chip, in `CHIPS`.
    shape: chips along every axis.
  """

  name: str
  shape: tuple[int, ...]

  @property
  def chip(self) -> Chip:
    return CHIPS[self.name]

  @property
  def chips(self) -> int:
    return math.prod(self.shape)

  def __str__(self) -> str:
    return f'{self.name}:{"x".join(map(str, self.shape))}'


def parse(text: str) -> Slice:
  """The slice of a text as v5e:16x16.

  Raises:
    ValueError: there is no such chip or slice; the message lists those that
      there are.
  """
  name, colon, shape = text.partition(':')
  check_name(name, CHIPS, 'chip')
  there = CHIPS[name].slices
  if shape not in there:
    size = (f'{shape} of them' if colon else 'no shape')
    raise ValueError(
        f'topology {text!r} names the chip {name} and {size}, which is no '
        'slice that exists. There are: '
        f'{", ".join(f"{name}:{known}" for known in there)}.')
  return Slice(name, tuple(map(int, re.findall(r'\d+', shape))))


def of_size(name: str, chips: int) -> Slice | None:
  """The slice of so many chips, the most even one; None if there is none."""
  return next((parse(f'{name}:{shape}') for shape in CHIPS[name].slices
               if math.prod(map(int, shape.split('x'))) == chips), None)
