"""Compiled programs as XLA writes them: instructions by computation."""
from collections.abc import Iterator, Mapping
import dataclasses
import functools
import math
import re

_BITS = {'pred': 8, 'token': 0, 'opaque': 0, 'bf16': 16, 's4': 4, 'u4': 4,
         's2': 2, 'u2': 2, 'c64': 64, 'c128': 128}
_ARRAY = re.compile(r'([a-z]\w*)\[([\d,<=\s]*)\](\{[^{}]*\})?')
_NAME = re.compile(r'%([\w.\-]+)')
_INSTRUCTION = re.compile(r'\s+(?:ROOT )?%?([\w.\-]+) = ')
_COMPUTATION = re.compile(r'(ENTRY )?%?([\w.\-]+) (?:\(.*)?\{\s*$')


@dataclasses.dataclass(frozen=True)
class Array:
  """Attributes:
    dtype: XLA's name of it, as bf16.
    shape: sizes.
    fast: it lies in on-chip memory, not in the chip's main memory.
  """

  dtype: str
  shape: tuple[int, ...]
  fast: bool = False

  @property
  def size(self) -> int:
    return math.prod(self.shape)

  @property
  def bytes(self) -> int:
    bits = _BITS.get(self.dtype)
    if bits is None:  # As f32, s8, f8e4m3fn.
      bits = int(re.search(r'\d+', self.dtype)[0])
    return -(-self.size * bits // 8)


@dataclasses.dataclass(frozen=True)
class Instruction:
  """Attributes:
    name, opcode: of it.
    results: arrays that it yields, a tuple's side by side.
    operands: names of what it reads.
    inside: what stands between its parentheses.
    rest: its attributes, as text.
    root: it is what its computation yields.
  """

  name: str
  opcode: str
  results: tuple[Array, ...]
  operands: tuple[str, ...]
  inside: str
  rest: str
  root: bool

  def called(self, attribute: str) -> str | None:
    """Name of the computation that an attribute, as `body`, names."""
    match = re.search(rf'\b{attribute}=%?([\w.\-]+)', self.rest)
    return match and match[1]

  @property
  def branches(self) -> tuple[str, ...]:
    """Computations of which a conditional runs one."""
    many = re.search(r'branch_computations=\{([^}]*)\}', self.rest)
    if many:
      return tuple(part.strip().lstrip('%') for part in many[1].split(','))
    both = (self.called(f'{which}_computation') for which in ('true', 'false'))
    return tuple(name for name in both if name)


@dataclasses.dataclass(frozen=True)
class Program:
  """Attributes:
    computations: name -> its instructions by name, in order.
    entry: name of the first.
  """

  computations: Mapping[str, Mapping[str, Instruction]]
  entry: str

  def trips(self, loop: Instruction) -> int | None:
    """How often a while loop runs; None where the program does not tell.

    The compiler says so, or the condition compares a counter from 0 with the
    only number that it has, as scans are compiled.
    """
    said = re.search(r'known_trip_count"?[:=]\s*\{"?n"?[:=]"?(\d+)', loop.rest)
    if said:
      return int(said[1])
    here = [*self._within(loop.called('condition'))]
    numbers = [i.inside for i in here if i.opcode == 'constant'
               and i.results[0].shape == () and i.inside.strip().isdigit()]
    below = [i for i in here
             if i.opcode == 'compare' and 'direction=LT' in i.rest]
    # The bound may come in with the state of the loop: then it is not told.
    return int(numbers[0]) if len(numbers) == len(below) == 1 else None

  def _within(self, name: str) -> Iterator[Instruction]:
    for instruction in self.computations[name].values():
      yield instruction
      inner = instruction.called('calls')
      if inner:
        yield from self._within(inner)


def parse(text: str) -> Program:
  """Reads `compiled.as_text()`."""
  computations, entry, here = {}, None, None
  for line in text.splitlines():
    match = _INSTRUCTION.match(line)
    if match and here is not None:
      one = _instruction(match[1], line[match.end():],
                         line.lstrip().startswith('ROOT '))
      here[one.name] = one
      continue
    start = _COMPUTATION.match(line)
    if start and not line.startswith(('HloModule', ' ')):
      here = computations[start[2]] = {}
      entry = start[2] if start[1] else entry
    elif line.startswith('}'):
      here = None
  if entry is None:
    raise ValueError('the text is no compiled program: it has no ENTRY.')
  return Program(computations, entry)


def _instruction(name, text, root):
  end = _closing(text, 0) if text.startswith('(') else text.index(' ')
  kind, text = text[:end], text[end:].lstrip()
  opcode, _, _ = text.partition('(')
  close = _closing(text, len(opcode))
  inside = text[len(opcode) + 1:close - 1]
  return Instruction(name, opcode, _arrays(kind), tuple(_NAME.findall(inside)),
                     inside, text[close:], root)


def _closing(text, start):
  """Place behind the parenthesis that closes the one at `start`."""
  depth = 0
  for i in range(start, len(text)):
    depth += {'(': 1, ')': -1}.get(text[i], 0)
    if depth == 0:
      return i + 1
  raise ValueError(f'parentheses do not close in {text[:80]!r}')


@functools.cache
def _arrays(kind):
  return tuple(
      Array(dtype, tuple(int(n) for n in re.findall(r'\d+', shape)),
            bool(re.search(r'S\([1-9]', layout or '')))
      for dtype, shape, layout in _ARRAY.findall(kind))
