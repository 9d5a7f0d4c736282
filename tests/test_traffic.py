"""What compiled programs do, read from their text."""
import collections
import json
import pathlib

from bst_jax.ahead import compile_report, hlo, summary, traffic
import pytest
import virtual

ROOT = pathlib.Path(__file__).parents[1]
F32 = 4


@pytest.fixture(scope='module')
def scan():
  """A step compiled for four chips of a TPU v5e, as its compiler wrote it.

  The gradient of sum(tanh(x a) b), x [64, 256] and a, b [256, 256], and then
  three times either twice that or the gradient with half of x and a, drawn.
  Attributes that nobody reads are cut off.
  """
  text = (ROOT / 'tests' / 'golden' / 'tpu_scan.hlo').read_text('utf-8')
  return hlo.parse(text)


def test_instructions_of_a_tpu_program(scan):
  entry = scan.computations[scan.entry]
  loop = next(i for i in entry.values() if i.opcode == 'while')
  assert scan.trips(loop) == 3  # TPU programs do not say so of their own.
  assert loop.results[4] == hlo.Array('bf16', (16, 256), fast=True)
  assert loop.results[5].bytes == 256 * 256 * 2
  body = scan.computations[loop.called('body')]
  choice = next(i for i in body.values() if i.opcode == 'conditional')
  assert [*choice.branches] == ['region_2.2_spmd', 'region_3.4_spmd']


def test_collectives_and_products_of_a_tpu_program(scan):
  found = traffic.measure(scan, 4)
  # Gradients of a and of a row of b; in the loop half of the times those of
  # half of a.
  assert found.collectives == [
      traffic.Collective('all-reduce', 4, F32 * (256 * 256 + 256), 1.0),
      traffic.Collective('all-reduce', 4, F32 * (128 * 256 + 256), 1.5)]
  full, half = 2 * 16 * 256 * 256, 2 * 16 * 128 * 256
  assert found.products == 3 * full + 1.5 * (2 * half + full)
  assert found.unknown_loops == 0
  # At the least it reads and writes a and b once.
  assert found.bytes > 4 * F32 * 256 * 256


def one_instruction(text):
  return hlo.parse('ENTRY %main (p: f32[8]) -> f32[8] {\n  %p = f32[8]{0} '
                   f'parameter(0)\n  ROOT %r = {text}\n}}\n')


@pytest.mark.parametrize('groups, size', [
    ('{{0,1},{2,3}}', 2), ('[2,4]<=[8]', 4), ('[4,2]<=[2,4]T(1,0)', 2),
    ("mesh['a'=4,'b'=2] {'a'}", 4), ("mesh['a'=4,'b'=2] {'a','b'}", 8),
    ("mesh['a'=4,'b'=2] {'a':(2)2}", 2), ('{}', 16)])
def test_groups_of_collectives(groups, size):
  program = one_instruction(
      f'f32[8]{{0}} all-reduce(%p), replica_groups={groups}, to_apply=%add')
  [found] = traffic.measure(program, 16).collectives
  assert (found.group, found.bytes) == (size, 32)


@pytest.mark.parametrize('kind, whole', [
    ('all-gather', 128), ('reduce-scatter', 32), ('all-to-all', 32),
    ('collective-permute', 32)])
def test_kinds_of_collectives_also_if_they_start_ahead(kind, whole):
  for start in ('', '-start'):
    program = one_instruction(
        f'(f32[8]{{0}}, f32[32]{{0}}) {kind}{start}(%p), '
        'replica_groups={{0,1,2,3}}')
    [found] = traffic.measure(program, 4).collectives
    assert (found.kind, found.bytes, found.count) == (kind, whole, 1)


def test_convolutions_count_where_kernel_and_input_meet():
  same = hlo.parse("""
ENTRY %main (x: f32[2,5,3], k: f32[3,3,7]) -> f32[2,5,7] {
  %x = f32[2,5,3]{2,1,0} parameter(0)
  %k = f32[3,3,7]{2,1,0} parameter(1)
  ROOT %c = f32[2,5,7]{2,1,0} convolution(%x, %k), window={size=3 pad=1_1}, dim_labels=b0f_0io->b0f
}
""")
  # Of 5 places with 3 taps each the two at the ends lack one.
  assert traffic.measure(same, 1).products == 2 * 2 * 3 * 7 * (5 * 3 - 2)


def test_bytes_of_slices_are_not_those_of_the_whole():
  moved = lambda text: traffic.measure(one_instruction(text), 1).bytes
  # Two of the eight, from main memory to the chip's own, or within the first.
  for place, size in (('{0:S(1)}', 8), ('{0}', 16)):
    assert moved('((f32[8]{0}), f32[2]' + place + ', s32[]{:S(2)}) '
                 'slice-start(%p), slice={[0:2]}') == size
    # The same whether it starts ahead or not.
    assert moved('f32[2]' + place + ' slice(%p), slice={[0:2]}') == size
  assert moved('f32[8]{0} custom-call(), '
               'custom_call_target="AllocateBuffer"') == 0


def test_a_fusion_that_updates_slices_moves_these_alone():
  program = hlo.parse("""
%fused (a: f32[6,100], b: f32[6,100], x: f32[100], i: s32[]) -> (f32[6,100], f32[6,100]) {
  %a = f32[6,100]{1,0} parameter(0)
  %b = f32[6,100]{1,0} parameter(1)
  %x = f32[100]{0} parameter(2)
  %i = s32[] parameter(3)
  %zero = s32[] constant(0)
  %row = f32[1,100]{1,0} bitcast(%x)
  %twice = f32[1,100]{1,0} add(%row, %row)
  %first = f32[6,100]{1,0} dynamic-update-slice(%a, %row, %i, %zero)
  %second = f32[6,100]{1,0} dynamic-update-slice(%b, %twice, %i, %zero)
  ROOT %both = (f32[6,100]{1,0}, f32[6,100]{1,0}) tuple(%first, %second)
}

ENTRY %main (a: f32[6,100], b: f32[6,100], x: f32[100], i: s32[]) -> (f32[6,100], f32[6,100]) {
  %a = f32[6,100]{1,0} parameter(0)
  %b = f32[6,100]{1,0} parameter(1)
  %x = f32[100]{0} parameter(2)
  %i = s32[] parameter(3)
  ROOT %r = (f32[6,100]{1,0}, f32[6,100]{1,0}) fusion(%a, %b, %x, %i), kind=kLoop, calls=%fused
}
""")
  # The row and the number are read, two rows are written.
  assert traffic.measure(program, 1).bytes == F32 * (100 + 1 + 2 * 100)


@pytest.mark.parametrize('target, rest, operands, products', [
    ('__cublas$lt$matmul', 'backend_config={"gemm_backend_config":'
     '{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}}',
     ('8,5', '5,3'), 2 * 8 * 3 * 5),
    # The gradient of the kernel [3, 3, 7] of the convolution above.
    ('__cudnn$convBackwardFilter',
     'window={size=3 pad=1_1}, dim_labels=b0f_0io->b0f',
     ('2,5,3', '2,5,7'), 2 * 2 * 3 * 7 * (5 * 3 - 2))])
def test_products_of_libraries_of_gpus(target, rest, operands, products):
  first, second = operands
  result = '8,3' if 'cublas' in target else '3,3,7'
  found = traffic.measure(hlo.parse(f"""
ENTRY %main (a: f32[{first}], b: f32[{second}]) -> f32[{result}] {{
  %a = f32[{first}]{{1,0}} parameter(0)
  %b = f32[{second}]{{1,0}} parameter(1)
  ROOT %c = (f32[{result}]{{1,0}}, s8[64]{{0}}) custom-call(%a, %b), custom_call_target="{target}", {rest}
}}
"""), 1)
  assert found.products == products


def test_a_text_that_is_no_program():
  with pytest.raises(ValueError, match='no ENTRY'):
    hlo.parse('HloModule nothing')


FOUR = """
import json, sys
import jax, jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from bst_jax import experiment
from bst_jax.ahead import chip_report, chips, hlo, traffic
from configs import ats_deit_s, vit_fashion

mesh = jax.make_mesh((4,), ('data',), axis_types=(AxisType.Auto,))
arg = lambda spec, *shape, dtype=jnp.float32: jax.ShapeDtypeStruct(
    shape, dtype, sharding=NamedSharding(mesh, PartitionSpec(*spec)))

def step(a, x, picks):
  grad = lambda scale: lambda a: jax.grad(
      lambda a: jnp.tanh(x @ a * scale).sum())(a)
  same = lambda a: a
  add = lambda total, i: (
      total + jax.lax.switch(i, [grad(2.0), same], a), None)
  return jax.lax.scan(add, grad(1.0)(a), picks)[0]

text = jax.jit(step).lower(
    arg((), 8, 16), arg(('data',), 12, 8), arg((), 5, dtype=jnp.int32)
    ).compile().as_text()
found = traffic.measure(hlo.parse(text), 4)

config = ats_deit_s.get_config('small')
config.model.num_layers = 2
config.model.ats.update(blocks=(), capacity=None)
report = chip_report.report(config, chips.parse('v5e:2x2'), jax.devices(), 8)
fashion = vit_fashion.get_config()
with fashion.unlocked():  # The clothes themselves need not be here.
  fashion.data.sizes = dict(num_answers=10, image_size=28)
try:
  chip_report.report(fashion, chips.parse('v5e:2x2'), jax.devices(), 8)
except ValueError as error:
  refused = str(error)
print(json.dumps([found.products, found.unknown_loops,
                  [[c.kind, c.group, c.bytes, c.count]
                   for c in found.collectives], report, refused]))
"""


@pytest.fixture(scope='module')
def four():
  """What the program above prints on four virtual devices."""
  return virtual.run(FOUR, 4)


def test_a_program_of_four_devices(four):
  products, unknown, collectives, *_ = four
  assert unknown == 0
  reduced = collections.Counter()
  for kind, group, size, count in collectives:
    if kind == 'all-reduce' and group == 4:
      reduced[size] += count
  # The gradient of a [8, 16] once, and five times with a chance of one half.
  assert reduced == {F32 * 8 * 16: 3.5}
  each = 2 * 3 * 8 * 16  # 3 of the 12 rows; forward and backward.
  assert products == 2 * each + 5 / 2 * 2 * each


def test_a_report_of_four_devices(four):
  report = four[3]
  step = report['programs']['train']
  assert report['chips'] == 4 and report['mesh'] == {'data': 4, 'fsdp': 1}
  assert step['fits'] and step['batch_per_chip'] == 8
  # Adam keeps two numbers a parameter, and a count.
  assert step['memory']['parameters'] == F32 * report['parameters']
  assert step['memory']['optimiser'] == pytest.approx(
      2 * step['memory']['parameters'], rel=1e-3)
  assert step['memory']['batch'] == 8 * (32 * 32 * 3 + 4 + 1)
  # The input needs no gradient, which the rule of three counts.
  assert step['flops']['ratio'] == pytest.approx(1, abs=0.05)
  assert step['gradients_reduced'] == pytest.approx(1, abs=0.01)
  scored = report['programs']['evaluate']
  assert scored['flops']['ratio'] == pytest.approx(1, abs=0.01)
  assert scored['memory']['batch'] == 4 * step['memory']['batch']
  assert any("width 48 of 'embed'" in line for line in report['warnings'])
  assert 'eval_batch is 250, which 4 devices do not divide' in four[4]


def test_a_report_as_tables_and_pictures(four, tmp_path):
  report = {'config': 'small.py'} | four[3]
  text = compile_report.table(report)
  assert 'training step, 8 a chip: fits' in text
  assert 'evaluation, full submodel' in text
  assert 'reduced over devices: 1.000 times' in text
  assert "warning: width 48 of 'embed'" in text
  compile_report.picture(report, tmp_path / 'report.png')
  assert (tmp_path / 'report.png').read_bytes().startswith(b'\x89PNG')

  (tmp_path / 'report.json').write_text(json.dumps(report), 'utf-8')
  head, _, line = summary.table(summary.read(tmp_path), 'train').splitlines()
  assert line.startswith('| small.py | v5e:2x2 | 8 | ')
  assert line.count('|') == head.count('|')
  report['programs']['train'] = {
      'batch_per_chip': 8, 'fits': False, 'needed': 20 * 2 ** 30,
      'hbm': 15 * 2 ** 30, 'memory': {'parameters': 2 ** 30}}
  assert 'does not fit: 20.00 GiB of 15.00 GiB' in compile_report.table(report)
  assert 'does not fit' in summary.table([report], 'train')
  with pytest.raises(ValueError, match='hold no report.json'):
    summary.read(tmp_path / 'nowhere')
