"""What a compiled program does in one run: products, bytes and collectives.

Loops count as often as they run. Of a conditional's branches each counts with
the same share, which is the expected value where the choice is drawn evenly, as
the submodels of a step are.
"""
from collections.abc import Iterator
import dataclasses
import functools
import math
import re

from bst_jax.ahead.hlo import Array, Program
import numpy as np

COLLECTIVES = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all',
               'collective-permute', 'collective-broadcast',
               'ragged-all-to-all')
# One operation an element, as XLA counts them.
_ARITHMETIC = frozenset((
    'add', 'subtract', 'multiply', 'divide', 'maximum', 'minimum', 'compare',
    'select', 'and', 'or', 'xor', 'not', 'negate', 'abs', 'clamp', 'remainder',
    'shift-left', 'shift-right-logical', 'shift-right-arithmetic', 'floor',
    'ceil', 'sign', 'round-nearest-afz', 'round-nearest-even', 'is-finite'))
# They move nothing themselves.
_FREE = frozenset((
    'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'while',
    'conditional', 'call', 'after-all', 'partition-id', 'replica-id',
    'opt-barrier', 'async-start', 'async-update', 'async-done', 'domain',
    'add-dependency'))
# Of TPUs: they name memory, or a part of it.
_NOTHING = frozenset(('AllocateBuffer', 'ConcatBitcast', 'SliceBitcast',
                      'AssumeGatherIndicesInBound'))
_SLICES = frozenset(('slice', 'dynamic-slice', 'gather'))


@dataclasses.dataclass(frozen=True)
class Collective:
  """Attributes:
    kind: in `COLLECTIVES`.
    group: devices that take part in it together.
    bytes: of the whole array, of a device: what is reduced, or what all have
      in the end.
    count: times it runs, an expected value.
  """

  kind: str
  group: int
  bytes: float
  count: float


@dataclasses.dataclass
class Traffic:
  """Attributes, of one device and one run:
    products: operations of matrix products and convolutions, two a
      multiply-accumulate.
    elementwise: other arithmetic operations.
    bytes: to and from main memory.
    cycles: that the compiler expects outside of collectives; 0 if it does not
      say.
    collectives: those that run.
    unknown_loops: loops that count once, as the program does not tell more.
  """

  products: float = 0.0
  elementwise: float = 0.0
  bytes: float = 0.0
  cycles: float = 0.0
  collectives: list[Collective] = dataclasses.field(default_factory=list)
  unknown_loops: int = 0


def measure(program: Program, devices: int) -> Traffic:
  """Traffic of a program.

  Args:
    program: compiled.
    devices: that it runs on, for collectives that name no groups.
  """
  total = Traffic()
  _walk(program, program.entry, 1.0, devices, total, False)
  return total


def _walk(program, name, times, devices, total, fused):
  here = program.computations[name]
  for one in here.values():
    read = functools.partial(_read, here, one)
    kind = one.opcode.removesuffix('-start')
    if kind in COLLECTIVES:
      total.collectives.append(_collective(one, kind, read(), times, devices))
    elif one.opcode == 'dot':
      total.products += times * _dot(one, read())
    elif one.opcode == 'convolution':
      total.products += times * _convolution(
          one, *read()[:2], one.results[0])
    elif one.opcode == 'custom-call':
      total.products += times * _library(one, read())
    elif one.opcode in _ARITHMETIC:
      total.elementwise += times * one.results[0].size
    elif one.opcode in ('reduce', 'reduce-window'):
      total.elementwise += times * sum(a.size for a in read()) / 2
    if not fused:
      total.bytes += times * _moved(program, one, read())
      said = re.search(r'"estimated_cycles":"(\d+)"', one.rest)
      total.cycles += times * int(said[1]) if said else 0

    inside = fused or one.opcode == 'fusion'
    for name, share in _inner(program, one, total):
      _walk(program, name, times * share, devices, total, inside)


def _inner(program, one, total) -> Iterator[tuple[str, float]]:
  """Computations that an instruction runs, and how often."""
  if one.opcode == 'while':
    trips = program.trips(one)
    total.unknown_loops += trips is None
    yield one.called('body'), 1 if trips is None else trips
  elif one.opcode == 'conditional':
    for branch in one.branches:
      yield branch, 1 / len(one.branches)
  elif one.opcode in ('fusion', 'async-start'):
    yield one.called('calls'), 1
  elif one.opcode == 'call':
    yield one.called('to_apply'), 1


def _read(here, one) -> list[Array]:
  """Arrays that an instruction reads."""
  return [array for name in one.operands if name in here
          for array in here[name].results]


def _dot(one, read):
  contract = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', one.rest)
  sizes = [read[0].shape[int(i)] for i in contract[1].split(',') if i]
  return 2 * one.results[0].size * math.prod(sizes)


def _target(one):
  """What a custom call calls; '' of other instructions."""
  match = re.search(r'custom_call_target="([^"]*)"', one.rest)
  return match[1] if match else ''


def _library(one, read):
  """Products that a GPU's libraries do."""
  target = _target(one)
  if target.startswith('__cublas'):
    contract = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', one.rest)
    sizes = [read[0].shape[int(i)] for i in re.findall(r'\d+', contract[1])]
    return 2 * one.results[0].size * math.prod(sizes)
  if target.startswith('__cudnn$conv'):
    a, b, c = *read[:2], one.results[0]
    roles = {'BackwardInput': (c, b, a), 'BackwardFilter': (a, c, b)}
    return _convolution(one, *next(
        (role for name, role in roles.items() if name in target), (a, b, c)))
  return 0


def _convolution(one, source, kernel, result):
  """Only places where kernel and input meet count, as in XLA's own count."""
  left, right, out = re.search(
      r'dim_labels=(\w+)_(\w+)->(\w+)', one.rest).groups()
  at = lambda labels, array, label: array.shape[labels.index(label)]
  number = lambda name: int((re.search(
      rf'\b{name}=(\d+)', one.rest) or (0, 1))[1])
  count = (at(left, source, 'f') // number('feature_group_count')
           * at(out, result, 'f')
           * at(left, source, 'b') // number('batch_group_count'))
  for place, window in enumerate(_windows(one.rest, len(left) - 2)):
    label = str(place)
    count *= _meetings(at(left, source, label), at(right, kernel, label),
                       at(out, result, label), **window)
  return 2 * count


def _windows(text, dims):
  """Stride, padding and dilation of every place of a convolution."""
  match = re.search(r'window=\{([^}]*)\}', text)
  said = dict(part.split('=') for part in match[1].split()) if match else {}
  row = lambda name, default: (
      said[name].split('x') if name in said else [default] * dims)
  return [dict(stride=int(stride), low=int(pad.split('_')[0]),
               spread=int(spread), dilation=int(dilation))
          for stride, pad, spread, dilation in zip(
              row('stride', '1'), row('pad', '0_0'), row('lhs_dilate', '1'),
              row('rhs_dilate', '1'))]


@functools.cache
def _meetings(size, kernel, out, stride, low, spread, dilation):
  """How often an element of the kernel meets one of the input."""
  place = (np.arange(out)[:, None] * stride
           + np.arange(kernel) * dilation - low)
  inside = (place >= 0) & (place < (size - 1) * spread + 1)
  return int((inside & (place % spread == 0)).sum())


def _collective(one, kind, read, times, devices):
  group = _group(one.rest, devices)
  whole = sum(a.bytes for a in read) * (group if kind == 'all-gather' else 1)
  return Collective(kind, group, whole, times)


def _group(text, devices):
  """Devices of a collective's group, in the ways that XLA writes them."""
  mesh = re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", text)
  if mesh:
    sizes = {name: int(n) for name, n in re.findall(
        r"'?(\w+)'?=(\d+)", mesh[1])}
    # An axis may be split: 'axis_0':(1)4 is 4 of its devices.
    return math.prod(int(part) if part else sizes[name] for name, part in
                     re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2]))
  iota = re.search(r'replica_groups=\[(\d+),(\d+)\]<=', text)
  if iota:
    return int(iota[2])
  listed = re.search(r'replica_groups=\{\{([\d,]+)\}', text)
  if listed:
    return listed[1].count(',') + 1
  return devices


def _moved(program, one, read):
  """Bytes that an instruction moves to and from main memory."""
  if one.opcode in _FREE or one.opcode.endswith(('-done', '-update')):
    return 0
  if _target(one) in _NOTHING:
    return 0
  slow = lambda arrays: sum(a.bytes for a in arrays if not a.fast)
  if one.opcode.endswith('-start'):  # Its results name its operands again.
    if one.opcode.removesuffix('-start') in _SLICES:
      return _moved_by_slice(read[0], one.results[len(read)])
    return slow(one.results[:2] if one.opcode == 'copy-start'
                else [*read, *one.results[len(read):]])
  if one.opcode == 'fusion':
    return _moved_by_fusion(program, one, read)
  if one.opcode in _SLICES:
    return _moved_by_slice(read[0], one.results[0])
  if one.opcode == 'dynamic-update-slice':
    return 2 * slow(read[1:2])
  return slow(read) + slow(one.results)


def _moved_by_slice(source, part):
  """Reading the part where the source lies, and writing it."""
  return part.bytes * ((not source.fast) + (not part.fast))


def _moved_by_fusion(program, one, read):
  """As `_moved`; slices of an operand count, not the whole of it."""
  inner = program.computations[one.called('calls')]
  root = next(i for i in inner.values() if i.root)
  made = ([inner[name] for name in root.operands] if root.opcode == 'tuple'
          else [root])
  updates = [_update(inner, instruction) for instruction in made]
  # What is updated changes where it lies.
  untouched = {_source(inner, u.operands[0]) for u in updates if u}
  moved = 0
  for parameter in inner.values():
    if parameter.opcode == 'parameter' and parameter.name not in untouched:
      number = int(parameter.inside)
      if number < len(read) and not read[number].fast:
        moved += _needed(program, inner, parameter)
  if len(made) != len(one.results):  # Tuples within tuples.
    return moved + sum(a.bytes for a in one.results if not a.fast)
  for update, result in zip(updates, one.results):
    if not result.fast:
      moved += (inner[update.operands[1]].results[0] if update
                else result).bytes
  return moved


def _update(inner, instruction):
  """The update of a slice that an instruction is, through bitcasts, or None."""
  while instruction.opcode == 'bitcast':
    instruction = inner[instruction.operands[0]]
  return instruction if instruction.opcode == 'dynamic-update-slice' else None


def _needed(program, inner, parameter):
  """Bytes of a fusion's parameter that it reads: all, or slices of it."""
  total = 0
  for user in inner.values():
    if parameter.name not in user.operands:
      continue
    if user.opcode in _SLICES and user.operands[0] == parameter.name:
      total += sum(a.bytes for a in user.results)
    elif user.opcode == 'fusion':
      deeper = program.computations[user.called('calls')]
      number = str(user.operands.index(parameter.name))
      total += sum(_needed(program, deeper, i) for i in deeper.values()
                   if i.opcode == 'parameter' and i.inside == number)
    else:
      return parameter.results[0].bytes
  return min(total, parameter.results[0].bytes)


def _source(inner, name):
  """The parameter that a name stands for, through bitcasts."""
  while inner[name].opcode in ('bitcast', 'copy') and inner[name].operands:
    name = inner[name].operands[0]
  return name
