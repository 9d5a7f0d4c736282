"""Multiply-accumulates by tokens: a polynomial that equals every trace."""
import dataclasses
import functools
import itertools

from bst_jax import elastic
from bst_jax import models as backbones
from bst_jax.elastic import Submodel
from bst_jax.report import costs, token_macs
import jax
import models
import numpy as np
import pytest

SAMPLING = ('vit_ats', 'cvt_ats', 'ps_vit_ats', 'timesformer_ats', 'xvit_ats')


@functools.cache
def example_of(name):
  return {key: x[:1] for key, x in models.TINY[name][1]().items()}


def equals_the_trace(model, example, *capacities):
  """Whether the program with such slots costs what the polynomial tells."""
  macs = token_macs.fit(model, example)
  shapes = elastic.unbox(
      jax.eval_shape(model.init, jax.random.key(0), example)['params'])
  for capacity in capacities:
    sampled = dataclasses.replace(model.ats, capacity=capacity)
    assert macs(capacity) == costs.of(
        model.clone(ats=sampled), shapes, example).macs


@pytest.mark.parametrize('name', SAMPLING)
def test_equals_the_trace_of_a_submodel(name):
  model = backbones.create(models.TINY[name][0])
  small = model.at(Submodel.parse('1/4x3/4'))
  assert len(small.ats.blocks) == 2
  equals_the_trace(small, example_of(name), (13, 6))


def test_heads_of_which_some_are_gone():
  """Cut to two of four heads: a formula of width and mlp told 188,656."""
  model = backbones.create(models.TINY['vit'][0] | dict(heads=2, head_dim=4))
  assert token_macs.fit(model, example_of('vit'))() == 135_344


@pytest.mark.parametrize('name', SAMPLING)
def test_equals_the_trace_of_unequal_layers(name):
  stage = 'stage_1' if name == 'cvt_ats' else 'encoder'
  mlp = {'': 32, f'{stage}/layer_2/ffn': 24, f'{stage}/layer_3/ffn': 8}
  sizes = models.TINY[name][0]
  mlp = (32, mlp) if isinstance(sizes['mlp'], tuple) else mlp
  model = backbones.create(sizes | dict(mlp=mlp))
  equals_the_trace(model, example_of(name), (13, 6, 5))


# As formulas written by hand for every layer told for whole models.
@pytest.mark.parametrize('attention, name, known', [
    ('reference', 'vit_ats', (178_368, 125_344, 62_560)),
    ('reference', 'timesformer_ats', (989_104, 696_752, 322_096)),
    ('reference', 'xvit_ats', (675_136, 467_264, 222_144))])
def test_known_values(attention, name, known):
  model = backbones.create(models.TINY[name][0])
  model = model.clone(ats=dataclasses.replace(model.ats, attention=attention))
  macs = token_macs.fit(model, example_of(name))
  counts = np.array([[16, 12, 9], [11, 7, 3], [2, 2, 1]], np.int32)
  assert macs(counts.T).tolist() == list(known)
  assert macs({2: 7, 0: 11, 3: 3}) == known[1]
  # A capacity, points and the gradient are not what is fitted.
  other = dataclasses.replace(model.ats, capacity=None, num_points=5)
  assert token_macs.fit(model.clone(ats=other), example_of(name)) is macs
  # Nor is whether it was built from JSON.
  listed = {key: list(value) for key, value in models.TINY[name][0].items()
            if isinstance(value, tuple)}
  assert token_macs.fit(model.clone(**listed), example_of(name)) is macs


def test_what_was_counted_by_frames():
  macs = token_macs.TokenMacs(
      (0, 2, 3), 9, ((7, 0, 5, 0, 0, 2), (0, 3, 0, 1, 4, 0), (1, 0, 1, 0, 0, 6)))
  counts = np.random.default_rng(0).integers(1, 9, (3, 5, 4))
  each = macs(counts)
  assert each.shape == (5, 4)
  assert each[2, 3] == macs(counts[:, 2, 3])
  a, b, c = counts[:, 2, 3]
  assert each[2, 3] == (
      7 + 5 * a + 2 * a * a + 3 * a + a * a + 4 * a * b + 1 + c + 6 * c * c)


def test_counts_beyond_32_bits():
  macs = token_macs.TokenMacs((0,), 4, ((0, 0, 2 ** 31, 0, 0, 0),))
  assert macs(np.array([[1, 2]], np.int32)).tolist() == [2 ** 31, 2 ** 32]
  assert macs([2]) == 2 ** 32 and isinstance(macs([2]), int)


@pytest.mark.parametrize('counts', [{3: 5}, {0: 1, 2: 1, 4: 1}])
def test_a_count_for_each_layer_that_samples(counts):
  macs = token_macs.TokenMacs((0, 2, 3), 4, ((0,) * 6,) * 3)
  with pytest.raises(ValueError, match=r'that sample are \[0, 2, 3\]'):
    macs(counts)
  with pytest.raises(ValueError):
    macs([1, 2])


def test_hardly_any_tokens():
  model = backbones.create(models.TINY['vit'][0] | dict(
      patch=8, num_layers=3, ats=dict(blocks=(0, 1, 2))))
  assert model.slots == 4
  equals_the_trace(model, example_of('vit'), (3, 1, 1), (2, 2, 2))


@pytest.mark.parametrize('num, slots', [(0, 9), (1, 1), (2, 2), (3, 3), (9, 16),
                                        (9, 196), (24, 3136)])
def test_chains_determine_every_pair(num, slots):
  chains = token_macs._informative(num, slots)
  assert all(slots >= a for chain in chains for a in chain)
  assert all(a >= b >= 1 for chain in chains
             for a, b in itertools.pairwise(chain))
  for place in range(num):
    pairs = {(slots, *chain)[place:place + 2] for chain in chains}
    rows = [[1, t, k, t * t, t * k, k * k] for t, k in pairs]
    want = (min(3, slots) if place == 0 else {1: 1, 2: 3}.get(slots, 6))
    assert np.linalg.matrix_rank(np.array(rows, float)) == want
  if slots > 2 * num:
    assert len(chains) == (6 if num > 1 else 3 if num else 1)


@pytest.mark.parametrize('other', [
    # Of too high a degree, and of layers that are no neighbours.
    lambda ats: ats.capacity[0] ** 3,
    lambda ats: ats.capacity[0] * ats.capacity[2],
], ids=['cubic', 'far'])
def test_what_is_no_such_polynomial(monkeypatch, other):
  model = backbones.create(models.TINY['vit_ats'][0]).clone(eps=1e-3)
  monkeypatch.setattr(costs, 'of', lambda model, *_: costs.Costs(
      {('encoder/layer_3/ffn', 'linear'): other(model.ats)}))
  with pytest.raises(AssertionError, match='contradict|no polynomial'):
    token_macs.fit(model, example_of('vit_ats'))
