"""The least time that a chip's published peaks leave to a program."""
from collections.abc import Mapping
from typing import Any

from bst_jax.ahead import interconnect
from bst_jax.ahead.chips import Slice
from bst_jax.ahead.traffic import Collective, Traffic

BOUNDS = ('compute', 'memory', 'links')


def times(found: Traffic, part: Slice) -> dict[str, float]:
  """Seconds of each of `BOUNDS`, as if it were alone."""
  chip = part.chip
  return {'compute': found.products / chip.device_flops,
          'memory': found.bytes / chip.device_hbm_rate,
          'links': link_seconds(found.collectives, part)}


def link_seconds(collectives: list[Collective], part: Slice,
                 slices: int = 1) -> float:
  """Seconds of all collectives that more than one device takes part in."""
  return sum(one.count * interconnect.seconds(one.kind, one.bytes, part, slices)
             for one in collectives if one.group > 1)


def report(found: Traffic, part: Slice, useful: float) -> dict[str, Any]:
  """What the peaks say of a program.

  Args:
    found: of one device and one run.
    part: the slice that it is for.
    useful: operations that the model needs, of one device.

  Returns:
    `seconds` of each bound; the `roofline` (the largest: all overlap) and the
    `serial` time (none does); which one is the `bound`; `utilisation`, the
    share of the chip's peak that the useful operations reach, of both times;
    and, where the compiler tells its cycles, `compiler`, its own estimate.
  """
  each = times(found, part)
  slowest = max(each, key=each.get)
  total = {'roofline': each[slowest], 'serial': sum(each.values())}
  if found.cycles and part.chip.clock:
    total['compiler'] = found.cycles / part.chip.clock + each['links']
  return {'seconds': each, 'bound': slowest, **total,
          'utilisation': utilisation(useful, total, part)}


def utilisation(useful: float, seconds: Mapping[str, float],
                part: Slice) -> dict[str, float]:
  """Share of the peak that useful operations reach, for each of the times."""
  return {name: useful / (part.chip.device_flops * time)
          for name, time in seconds.items()}
