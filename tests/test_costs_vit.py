"""Costs of DeiT, plain and sampled, against the published arithmetic."""
import functools

from bst_jax import elastic
from bst_jax.models.vit import Model
from bst_jax.report import costs, token_macs
from bst_jax.run import experiment
from configs import ats_deit_s
import jax
import pytest

BLOCKS = tuple(range(3, 12))
# Tokens, the class token not counted, that live behind layers 3 to 11 of DeiT-S
# on ImageNet: 99th percentile and mean over images, read off the histograms
# of the authors' project page (each about one token uncertain).
P99 = (175, 161, 151, 136, 126, 118, 106, 96, 87)
MEAN = (162, 145, 133, 117, 106, 98, 81, 71, 62)


def deit_s(**ats):
  return Model(1000, ats=ats)


def counted(model):
  """Multiply-accumulates of the program for one image."""
  batch = experiment.example({'image_size': model.image_size})
  shapes = elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), batch)['params'])
  return costs.of(model, shapes, batch)


def by_tokens(model):
  """Multiply-accumulates of an image from its tokens."""
  return token_macs.fit(
      model, experiment.example({'image_size': model.image_size}))


def giga(macs):
  return f'{macs / 1e9:.2f}'


def upto(multiple):
  """Capacities of the 99th percentile, with the class token rounded up."""
  return tuple(-(-(n + 1) // multiple) * multiple - 1 for n in P99)


@functools.cache
def from_config(arg):
  config = ats_deit_s.get_config(arg)
  return experiment.build(config, dict(config.data.sizes))


def test_deit_s_of_the_config():
  exp = from_config('dense')
  assert f'{elastic.size(exp.shapes) / 1e6:.2f}' == '22.05'
  found = counted(exp.model)
  assert giga(found.macs) == '4.60'
  assert exp.model.slots == 196
  stages = from_config('').model.ats.stages(range(12), 196, 1)
  assert [dict(s.options)['num_points'] for s in stages.values()] == 9 * [196]


def test_sampling_has_no_parameters():
  ats = from_config('')
  assert elastic.names(ats.boxed) == elastic.names(from_config('dense').boxed)
  assert ats_deit_s.CAPACITY == upto(8)
  assert [n + 1 for n in upto(8)] == [176, 168, 152, 144, 128, 120, 112, 104,
                                      88]


# Per-image mean; 99th percentile; that rounded up to 8, to 16; three places.
@pytest.mark.parametrize('capacity, published, select_first', [
    (MEAN, '3.10', '3.08'),
    (P99, '3.44', '3.42'),
    (upto(8), '3.50', '3.47'),
    (upto(16), '3.57', '3.55'),
    ((175, None, None, 143, None, None, 111, None, None), '3.69', '3.67'),
], ids=['mean', 'p99', 'p99 by 8', 'p99 by 16', 'three places'])
def test_deit_s_sampled(capacity, published, select_first):
  model = deit_s(blocks=BLOCKS, capacity=capacity, attention='reference')
  macs = by_tokens(model)(model.ats.widths(196))
  assert giga(macs) == published
  first = counted(deit_s(blocks=BLOCKS, capacity=capacity)).macs
  assert giga(first) == select_first
  if capacity == upto(8):  # The program that runs, to the unit.
    assert counted(model).macs == macs
  if capacity == P99:
    assert first < 0.76 * counted(deit_s()).macs


def test_a_single_sampling_for_a_budget():
  for kept, budget in ((43, 2.0), (74, 2.5), (104, 3.0)):
    model = deit_s(blocks=(3,), attention='reference')
    macs = by_tokens(model)([kept])
    assert macs / 1e9 == pytest.approx(budget, abs=0.01)


def test_a_mask_saves_nothing():
  model = from_config('mask').model
  assert model.ats.capacity is None
  # The scores of the class token, once more.
  assert counted(model).macs == counted(deit_s()).macs + 9 * 197 * 384


@pytest.mark.parametrize('sizes, published', [
    (dict(width=192, heads=3, mlp=768), '1.3'),
    (dict(width=258, mlp=1032), '2.2'),
    (dict(width=318, mlp=1272), '3.2'),
], ids=str)
def test_other_sizes(sizes, published):
  model = Model(1000, **sizes)
  assert f'{counted(model).macs / 1e9:.1f}' == published


def test_the_compiled_program_follows_the_count():
  """The saving too, of a network as wide as DeiT-S with few layers."""
  flops, macs = [], []
  for ats in ({}, dict(blocks=(0, 1), capacity=(80, 40))):
    model = Model(10, num_layers=3, image_size=160, ats=ats)
    batch = experiment.example({'image_size': 160})
    shapes = elastic.unbox(jax.eval_shape(
        model.init, jax.random.key(0), batch)['params'])
    run = lambda p, b, model=model: model.apply({'params': p}, b)
    flops.append(costs.xla_flops(run, shapes, batch))
    macs.append(costs.of(model, shapes, batch).macs)
  assert macs[1] < 0.75 * macs[0]
  for xla, ours in zip(flops, macs):
    assert xla == pytest.approx(2 * ours, rel=0.05)
