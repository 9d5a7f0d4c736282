"""Chips, links and rooflines on paper; the command that compiles for them."""
import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import types

from bst_jax.ahead import (
  abstract,
  chip_report,
  chips,
  gpus,
  hlo,
  interconnect,
  lanes,
  programs,
  roofline,
  scale_out,
  step_costs,
  topology,
  traffic,
)
from bst_jax.ahead.traffic import Collective, Traffic
from bst_jax.elastic import FULL
from bst_jax.learn import sharding
from bst_jax.learn.state import Pass
from bst_jax.report import costs
from bst_jax.run import experiment, program, searches
from configs import bst_clip_vil_vqa, bst_mcan_vqa, bst_uniter_vqa, das_scenes
import jax
import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize('name', chips.CHIPS)
def test_chips_are_what_is_published_of_their_pods(name):
  chip = chips.CHIPS[name]
  # All-reduce bandwidth of a pod, published apart from that of a chip.
  pods = {'v4': 1.1e15, 'v5e': 51.2e12, 'v6e': 102.4e12}
  if name in pods:
    assert chip.pod * chip.links * chip.link_rate == pytest.approx(
        pods[name], rel=0.01)
  if chip.clock:
    assert 0.9e9 < chip.clock < 2e9
  parts = [chips.parse(f'{name}:{shape}') for shape in chip.slices]
  assert {len(part.shape) for part in parts} == {max(1, chip.links // 2)}
  assert max(part.chips for part in parts) <= chip.pod
  assert chips.of_size(name, parts[1].chips) == parts[1]
  assert chips.of_size(name, 7) is None


@pytest.mark.parametrize('text, message', [
    ('v5e:3x3', "v5e:3x3.*no slice that exists.*v5e:2x2, .*v5e:16x16"),
    ('v5p', 'no shape.*v5p:16x16x16'),
    ('v5x:2x2', "no chip 'v5x'.*There are: .*tpu7x, v4"),
    ('h100:9', 'h100:1, h100:2, h100:4, h100:8'),
    ('rtx4090:1', "no chip 'rtx4090'.*a100, h100")])
def test_topologies_that_cannot_be(text, message):
  with pytest.raises(ValueError, match=message):
    topology.check(text)


@pytest.mark.parametrize('name, extra', [('v5e:2x2', 'tpu'),
                                         ('h100:8', 'cuda')])
def test_a_compiler_that_is_not_installed(monkeypatch, name, extra):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ValueError, match=rf"pip install 'bst_jax\[{extra}\]'"):
    topology.check(name)


def test_what_the_compiler_is_told_of_a_gpu():
  text = gpus.description('h100')
  assert 'cuda_compute_capability { major: 9 minor: 0 }' in text
  assert 'memory_bandwidth: 3350000000000\n' in text
  assert text.count('{') == text.count('}')
  assert all(gpus.description(name) for name, chip in chips.CHIPS.items()
             if chip.platform == 'cuda')


def test_time_of_an_all_reduce():
  size, hop = 1e8, interconnect.HOP
  ring = chips.parse('v5e:16x16')  # Two rings, each of two directions.
  assert interconnect.seconds('all-reduce', size, ring) == pytest.approx(
      2 * (size * 255 / 256 / (4 * 50e9) + 16 * hop))
  switch = chips.parse('h100:8')
  assert interconnect.seconds('all-reduce', size, switch) == pytest.approx(
      2 * (size * 7 / 8 / 450e9 + hop))
  lines = chips.parse('v5e:2x4')  # Nothing closes.
  assert interconnect.seconds('all-gather', size, lines) == pytest.approx(
      size * 7 / 8 / (2 * 50e9) + 4 * hop)
  two = interconnect.seconds('all-reduce', size, ring, slices=2)
  assert two - interconnect.seconds('all-reduce', size, ring) == pytest.approx(
      2 * (size / 256 / 2 / 3.125e9 + interconnect.DCN_HOP))
  with pytest.raises(ValueError, match='not published'):
    interconnect.seconds('all-reduce', size, chips.parse('v4:4x4x4'), slices=2)


def test_a_roofline_takes_the_slowest():
  part = chips.parse('v5e:2x2')
  found = Traffic(products=197e9, bytes=819e6 * 2, cycles=1.5e6, collectives=[
      Collective('all-reduce', 4, 1e6, 2.0),
      Collective('all-reduce', 1, 1e12, 1.0)])  # Of one device: no exchange.
  report = roofline.report(found, part, useful=197e9 / 2)
  assert report['seconds']['compute'] == pytest.approx(1e-3)
  assert report['seconds']['memory'] == pytest.approx(2e-3)
  links = 2 * interconnect.seconds('all-reduce', 1e6, part)
  assert report['seconds']['links'] == pytest.approx(links)
  assert report['bound'] == 'memory'
  assert report['roofline'] == pytest.approx(2e-3)
  assert report['serial'] == pytest.approx(3e-3 + links)
  assert report['compiler'] == pytest.approx(
      1.5e6 / part.chip.clock + links)
  assert report['utilisation']['roofline'] == pytest.approx(0.25)
  # Half of a chip has half of its peak.
  half = roofline.report(found, chips.parse('tpu7x:2x2x1'), 197e9)
  assert half['seconds']['compute'] == pytest.approx(197e9 / (2307e12 / 2))
  assert half['utilisation'].keys() == {'roofline', 'serial'}


def made_report(name='v5e:2x2', **time):
  return {'config': 'made up', 'topology': name, 'programs': {'train': {
      'batch_per_chip': 16, 'time': time,
      'collectives': [{'kind': 'all-reduce', 'group': 4, 'count': 2.0,
                       'bytes': 2e8}]}}}


def test_more_chips_exchange_over_more_links_and_then_between_slices():
  report = made_report(seconds={'compute': 1e-2, 'memory': 2e-2, 'links': 1e-2})
  rows = scale_out.predict(report, [8, 256, 4096])
  assert [row['slices'] for row in rows] == [1, 1, 16]
  for row in rows:
    assert row['step'] == pytest.approx(2e-2 + row['links'])
    assert row['overlapped'] == max(2e-2, row['links'])
    assert row['efficiency']['step'] == pytest.approx(2e-2 / row['step'])
  # Two lines against two closed rings; then what the slower network adds.
  assert rows[0]['links'] > rows[1]['links'] < rows[2]['links']
  assert rows[2]['links'] - rows[1]['links'] == pytest.approx(
      2 * 2 * (1e8 / 256 * 15 / 16 / 3.125e9 + 4 * interconnect.DCN_HOP))
  own = made_report(seconds={'compute': 1, 'memory': 1, 'links': 1e-2},
                    compiler=3e-2)
  [row] = scale_out.predict(own, [8])  # The compiler knows better.
  assert row['step'] == pytest.approx(2e-2 + row['links'])
  with pytest.raises(ValueError, match='48 chips .* 4, 8, 16, .* of 256'):
    scale_out.predict(report, [48])
  with pytest.raises(ValueError, match='compile one that fits'):
    scale_out.predict({'topology': 'v5e:2x2', 'programs': {}}, [8])


def test_a_picture_says_what_it_assumes(tmp_path):
  report = made_report(seconds={'compute': 1e-2, 'memory': 2e-2, 'links': 1e-2})
  text = scale_out.assumptions([report])
  assert '50 GB/s each way' in text and '3.125 GB/s a chip' in text
  counts = [8, 256, 4096]
  path = tmp_path / 'scale.png'
  scale_out.picture([report], [scale_out.predict(report, counts)], path)
  assert path.read_bytes().startswith(b'\x89PNG')
  assert [*tmp_path.iterdir()] == [path]


def built(config):
  return experiment.build(config, dict(config.data.sizes))


def test_widths_beside_the_lanes_are_named():
  exp = built(bst_uniter_vqa.get_config())
  found = {(m['axis'], m['size']): m for m in lanes.misfits(exp)}
  # A quarter of 768; three quarters are 4.5 times the lanes.
  assert {('embed', 192), ('embed', 576)} <= found.keys()
  assert not any(size % lanes.LANES == 0 for _, size in found)
  assert found['embed', 192]['submodels'] == ['1/4x1/6', '1/4x1/3', '1/4x2/3',
                                              '1/4x1']
  assert found['embed', 192]['idle'] == pytest.approx(1 - 192 / 256)
  assert found['answers', 3129]['idle'] == pytest.approx(71 / 3200)
  assert 'in all submodels' in lanes.warning(found['answers', 3129], len(exp.space))
  assert ('heads x head_dim', 192) in found


# Sizes of data for tiny models.
SIZES = dict(vocab_size=30, num_answers=20, max_tokens=6)


@pytest.mark.parametrize('module, sizes', [
    (bst_mcan_vqa, SIZES | dict(num_regions=9, feature_size=24)),
    (bst_clip_vil_vqa, SIZES | dict(image_size=64))],
    ids=['mcan', 'clip_vil'])
def test_operations_of_a_step_are_those_of_its_program(module, sizes):
  config = module.get_config('tiny')
  config.method.teacher = 'frozen'
  exp = experiment.build(config, sizes)
  assert len(exp.space) == 3  # So that the one in the middle is always drawn.
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 1})
  job = program.make(exp, mesh, 10.0, 100)
  batch = abstract.batch(exp, 8)
  now, frozen, placed = abstract.arguments(job, batch, mesh)
  state = dataclasses.replace(now, frozen=frozen)
  counted = 2 * costs.count(job.method.step, state, placed).macs
  # What is read needs no gradient, which the rule of three counts.
  told = step_costs.flops(exp, job.method.passes, batch)
  assert 0 <= told / counted - 1 < 0.12
  once = costs.of(exp.model, exp.shapes, batch).macs
  assert step_costs.forward(exp, FULL, batch) == 2 * once

  # What submodels share is in the program of evaluation, as it is in its count,
  # in which taps of a small picture's convolutions beyond its edge are too.
  scored = programs.evaluate(exp, mesh, 8)
  found = traffic.measure(hlo.parse(
      programs.compiled(scored.lowered).as_text()), mesh.devices.size)
  assert 0 <= scored.useful / found.products - 1 < 0.12


def test_of_what_is_frozen_no_gradient_counts():
  config = bst_clip_vil_vqa.get_config('tiny')
  sizes = SIZES | dict(image_size=64)
  learning = experiment.build(config, sizes)
  config.model.train_visual = False
  frozen = experiment.build(config, sizes)
  batch = abstract.batch(learning, 8)
  share = lambda params, batch: learning.model.apply(
      {'params': params}, batch, method='shared')
  trunk = 2 * costs.count(share, learning.shapes, batch).macs
  saved = (step_costs.flops(learning, [Pass(FULL)], batch)
           - step_costs.flops(frozen, [Pass(FULL)], batch))
  assert saved == pytest.approx(2 * trunk)


@pytest.mark.parametrize('way', ['das', 'classifier', 'lora', 'full'])
def test_single_parameters_that_are_frozen_save_what_they_save(way):
  """Adapters beside frozen layers: gradients pass through, and stop early."""
  config = das_scenes.get_config(f'meter,{way},tiny')
  config = searches.expected(config, SIZES | dict(image_size=64))
  exp = experiment.build(config, SIZES | dict(image_size=64))
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 1})
  job = program.make(exp, mesh, 10.0, 100)
  batch = abstract.batch(exp, 8)
  now, frozen, placed = abstract.arguments(job, batch, mesh)
  state = dataclasses.replace(now, frozen=frozen)
  counted = 2 * costs.count(job.method.step, state, placed).macs
  told = step_costs.flops(exp, job.method.passes, batch,
                          programs.single_frozen(exp, job.tx))
  assert told / counted == pytest.approx(1, abs=0.01 if way != 'full' else 0.12)
  three = 6 * costs.of(exp.model, exp.shapes, batch).macs
  assert (told < 0.75 * three) == (way != 'full')


def test_what_the_compiler_says_of_memory_that_does_not_suffice():
  class Lowered:
    def compile(self):
      raise jax.errors.JaxRuntimeError(
          'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used '
          '20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G.')

  with pytest.raises(programs.DoesNotFit) as found:
    programs.compiled(Lowered())
  assert found.value.used == 20.5 * 2 ** 30
  assert found.value.there == 15.75 * 2 ** 30


@pytest.mark.parametrize('most, start, step', [
    (100, 64, 4), (100, 512, 4), (3, 64, 4), (97, 8, 1)])
def test_the_largest_batch_by_bisection(monkeypatch, most, start, step):
  tried = []

  def compiled(batch):
    tried.append(batch)
    if batch > most:
      raise programs.DoesNotFit('too much')

  monkeypatch.setattr(programs, 'train', lambda exp, mesh, batch: types.SimpleNamespace(
      lowered=batch))
  monkeypatch.setattr(programs, 'compiled', compiled)
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 1}, jax.devices()[:1])
  found = chip_report.largest(None, mesh, start, step)
  assert found['fits'] <= most < found['fails']
  assert found['fails'] - found['fits'] <= max(step, found['fits'] // 16)
  assert all(batch % step == 0 for batch in tried)
  assert len(tried) < 12


def command(*flags):
  return subprocess.run(
      [sys.executable, '-m', 'bst_jax.compile', *flags], cwd=ROOT, text=True,
      capture_output=True, env=os.environ | {'PYTHONPATH': str(ROOT)})


SMALL = ('--config', 'configs/ats_deit_s.py:small', '--topology')


def test_bad_input_ends_the_command_before_jax_starts():
  done = command(*SMALL, 'v5e:5x5')
  assert done.returncode == 2
  assert 'no slice that exists' in done.stderr
  assert 'Traceback' not in done.stderr


def needs(package, extra):
  return pytest.mark.skipif(
      importlib.util.find_spec(package) is None,
      reason=f"{package} is not here: pip install 'bst_jax[{extra}]'")


@pytest.mark.parametrize('name', [
    pytest.param('v5e:2x2', marks=needs('libtpu', 'tpu')),
    pytest.param('h100:4', marks=needs('jax_cuda13_plugin', 'cuda'))])
def test_a_step_compiled_for_a_slice_that_is_not_here(tmp_path, name):
  done = command(*SMALL, name, '--batch_per_chip', '8', '--output',
                 str(tmp_path))
  assert done.returncode == 0, done.stderr[-3000:]
  report = json.loads((tmp_path / 'report.json').read_text('utf-8'))
  step = report['programs']['train']
  assert step['fits'] and step['unknown_loops'] == 0
  assert step['flops']['ratio'] == pytest.approx(1, abs=0.05)
  assert step['gradients_reduced'] == pytest.approx(1, abs=0.01)
  time = step['time']
  assert time.get('compiler', time['serial']) > time['roofline'] > 0
  assert (tmp_path / 'report.png').exists()
  assert 'training step, 8 a chip: fits' in done.stdout
