"""What a chip of a slice does and holds while it runs a config's programs."""
from collections.abc import Sequence
import time
from typing import Any

from absl import logging
from bst_jax import elastic
from bst_jax.ahead import (
  abstract,
  chips,
  hlo,
  lanes,
  programs,
  roofline,
  traffic,
)
from bst_jax.learn import sharding
from bst_jax.run import experiment
from bst_jax.run.experiment import Experiment
import jax
from jax.sharding import Mesh
import ml_collections

# Levels at which the compiler takes the first code that works.
_HASTY = ('O0', 'O1')


def report(config: ml_collections.ConfigDict, target: chips.Slice,
           devices: Sequence, batch_per_chip: int | None = None,
           which: Sequence[str] = ('train', 'evaluate'),
           largest_batch: bool = False) -> dict[str, Any]:
  """Compiles the programs of a config for a slice and reads them.

  Args:
    config: the whole experiment.
    target: the slice.
    devices: of the slice.
    batch_per_chip: examples of a training step on each chip; None: as many as
      config.data.batch says.
    which: names in `programs.PROGRAMS`.
    largest_batch: whether to look for the largest batch of training too.

  Returns:
    What report.json holds.

  Raises:
    ValueError: no such program, or a batch or mesh that does not divide;
      before anything is compiled.
  """
  for what in which:
    elastic.check_name(what, programs.PROGRAMS, 'program')
  sizes = abstract.sizes(config)
  examples, step = _batch(config, sizes, batch_per_chip)
  mesh = sharding.make_mesh(config.mesh, devices)
  many = config.data.get('eval_batch') or 0
  if 'evaluate' in which and many % mesh.devices.size:
    raise ValueError(
        f'config.data.eval_batch is {many}, which {mesh.devices.size} devices '
        'do not divide; set it to a multiple of them, or ask for --programs '
        'train alone.')
  exp = experiment.build(config, sizes)
  result = {
      'topology': str(target), 'chips': target.chips, 'mesh': dict(mesh.shape),
      'rules': config.rules if isinstance(config.rules, str) else 'own',
      'optimization_level': jax.config.jax_optimization_level,
      'compute': dict(config.get('compute') or {}),
      'model': config.model.name, 'method': config.method.name,
      'parameters': elastic.size(exp.shapes), 'batch_per_chip': examples,
      'warnings': [lanes.warning(one, len(exp.space))
                   for one in lanes.misfits(exp)
                   if target.chip.platform == 'tpu'],
      'programs': {what: _program(what, exp, target, mesh, examples)
                   for what in which}}
  if largest_batch:
    result['largest_batch'] = largest(exp, mesh, examples, step)
  return result


def _batch(config, sizes, asked):
  """Examples of a chip, and what they must be a multiple of."""
  _, options = abstract.form(config.data, sizes)
  examples = asked or options.batch
  questions = options.per_group[0]
  step = questions * config.micro_batches
  if examples % step:
    fits = max(step, round(examples / step) * step)
    raise ValueError(
        f'a batch of {examples} a chip was asked for, but '
        f'{config.micro_batches} micro-batches of pictures with {questions} '
        f'questions each need a multiple of {step}; the closest is '
        f'--batch_per_chip {fits}.')
  return examples, step


def _program(what: str, exp: Experiment, target: chips.Slice, mesh: Mesh,
             examples: int) -> dict[str, Any]:
  """Compiles a program and tells what a chip does and holds in one run."""
  began = time.monotonic()
  one = programs.PROGRAMS[what](exp, mesh, examples * mesh.devices.size)
  traced = time.monotonic()
  logging.info('%s: traced in %.0f s; compiling for %s, which may take minutes',
               what, traced - began, target)
  about = {'batch_per_chip': examples, 'trace_seconds': traced - began}
  try:
    made = programs.compiled(one.lowered)
  except programs.DoesNotFit as error:
    return about | {
        'fits': False, 'memory': dict(one.memory), 'why': str(error),
        'needed': error.used, 'hbm': error.there or target.chip.device_hbm,
        'flops': {'analytic': one.useful}}
  about['compile_seconds'] = time.monotonic() - traced
  logging.info('%s: compiled in %.0f s', what, about['compile_seconds'])
  measured = traffic.measure(hlo.parse(made.as_text()), mesh.devices.size)
  if jax.config.jax_optimization_level in _HASTY:
    measured.cycles = 0.0  # Of code that nobody would run.
  memory = _memory(made.memory_analysis(), one.memory)
  said = made.cost_analysis() or {}  # None for GPUs.
  return about | {
      'fits': memory['total'] <= target.chip.device_hbm,
      'hbm': target.chip.device_hbm,
      'memory': memory,
      'flops': {'analytic': one.useful, 'products': measured.products,
                'elementwise': measured.elementwise,
                'xla_raw': said.get('flops'),
                'ratio': one.useful / measured.products},
      'bytes': {'hbm': measured.bytes, 'xla_raw': said.get('bytes accessed')},
      'unknown_loops': measured.unknown_loops,
      'gradient_bytes': one.gradient,
      'gradients_reduced': _reduced(measured, one.gradient),
      'collectives': _together(measured.collectives),
      'time': roofline.report(measured, target, one.useful)}


def largest(exp: Experiment, mesh: Mesh, start: int, step: int,
            ) -> dict[str, int]:
  """The largest training batch of a chip that fits, by bisection.

  Args:
    exp: the experiment.
    mesh: devices.
    start: examples of a chip to begin with.
    step: batches are multiples of it.

  Returns:
    `fits`, a batch that does (0: none), and `fails`, the least one tried that
    does not; they are at most a sixteenth apart, or `step`.
  """
  good, bad, batch = 0, 0, start
  while not bad or bad - good > max(step, good // 16):
    began = time.monotonic()
    try:
      lowered = programs.train(exp, mesh, batch * mesh.devices.size).lowered
      programs.compiled(lowered)
      good = batch
    except programs.DoesNotFit:
      bad = batch
    logging.info('%d a chip %s (%.0f s)', batch,
                 'fits' if good == batch else 'does not fit',
                 time.monotonic() - began)
    batch = (good + bad) // (2 * step) * step if bad else 2 * good
    if batch <= good:
      break
  return {'fits': good, 'fails': bad}


def _memory(said, known):
  """Bytes of a chip by what they hold."""
  return dict(known) | {
      'temporary': said.temp_size_in_bytes,
      'output': said.output_size_in_bytes - said.alias_size_in_bytes,
      'program': said.generated_code_size_in_bytes,
      'total': (said.argument_size_in_bytes + said.temp_size_in_bytes
                + said.output_size_in_bytes - said.alias_size_in_bytes
                + said.generated_code_size_in_bytes)}


def _reduced(found, gradient):
  """How many times the bytes of all gradients the step sums over devices."""
  total = sum(one.count * one.bytes for one in found.collectives
              if one.kind in ('all-reduce', 'reduce-scatter')
              and one.group > 1)
  return total / gradient if gradient else None


def _together(collectives):
  """Rows of kind, group, count and bytes, the largest first."""
  rows = {}
  for one in collectives:
    row = rows.setdefault((one.kind, one.group), [0.0, 0.0, 0])
    row[0] += one.count
    row[1] += one.count * one.bytes
    row[2] += 1
  return sorted(({'kind': kind, 'group': group, 'count': count, 'bytes': size,
                  'in_program': places}
                 for (kind, group), (count, size, places) in rows.items()),
                key=lambda row: -row['bytes'])
