"""The least time that a chip's published peaks leave to a program."""
from collections.abc import Mapping
from typing import Any

from bst_jax.ahead import interconnect
from bst_jax.ahead.chips import Slice
from bst_jax.ahead.traffic import Collective, Traffic

BOUNDS = ('compute', 'memory', 'links')


def times(traffic: Traffic, target: Slice) -> dict[str, float]:
  """Seconds of each of `BOUNDS`, as if it were alone."""
  chip = target.chip
  return {'compute': traffic.products / chip.device_flops,
          'memory': traffic.bytes / chip.device_hbm_rate,
          'links': link_seconds(traffic.collectives, target)}


def link_seconds(collectives: list[Collective], target: Slice,
                 slices: int = 1) -> float:
  """Seconds of all collectives that more than one device takes part in."""
  return sum(
      one.count * interconnect.seconds(one.kind, one.bytes, target, slices)
      for one in collectives if one.group > 1)


def report(traffic: Traffic, target: Slice, useful: float) -> dict[str, Any]:
  """What the peaks say of a program.

  Args:
    traffic: of one device and one run.
    target: the slice that it is for.
    useful: operations that the model needs, of one device.

  Returns:
    `seconds` of each bound; the `roofline` (the largest: all overlap) and the
    `serial` time (none does); which one is the `bound`; `utilisation`, the
    share of the chip's peak that the useful operations reach, of both times;
    and, where the compiler tells its cycles, `compiler`, its own estimate.
  """
  each = times(traffic, target)
  slowest = max(each, key=each.get)
  total = {'roofline': each[slowest], 'serial': sum(each.values())}
  if traffic.cycles and target.chip.clock:
    total['compiler'] = traffic.cycles / target.chip.clock + each['links']
  return {'seconds': each, 'bound': slowest, **total,
          'utilisation': utilisation(useful, total, target)}


def utilisation(useful: float, seconds: Mapping[str, float],
                target: Slice) -> dict[str, float]:
  """Share of the peak that useful operations reach, for each of the times."""
  return {name: useful / (target.chip.device_flops * time)
          for name, time in seconds.items()}
