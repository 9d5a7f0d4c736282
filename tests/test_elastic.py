"""Submodels, orders, spaces and choices, and what they do to parameters."""
from fractions import Fraction

from bst_jax import elastic
from bst_jax.elastic import Axis, FULL, Order, Slices, Space, Submodel
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

AXES = {
    'words': ('vocab', 'word'),
    'inp': {'kernel': ('word', 'embed'), 'bias': ('embed',)},
    'encoder': {f'layer_{i}': {'kernel': ('embed', 'heads', 'head_dim'),
                               'mlp': ('embed', 'mlp')} for i in range(6)},
    'decoder': {f'layer_{i}': {'kernel': ('embed', 'embed')}
                for i in range(6)},
}
SIZES = dict(vocab=5, word=3, embed=8, heads=4, head_dim=2, mlp=12)
STACKS = {'encoder': Order(6), 'decoder': Order(6, tie='last')}
SLICES = Slices(AXES, STACKS)
SUBS = [Submodel(w, d) for w in ('1/4', '1/2', '3/4', '1')
        for d in ('1/6', '1/3', '2/3', '1')]


def leaves_of(axes):
  return jax.tree.map(lambda names: tuple(SIZES[n] for n in names), axes,
                      is_leaf=lambda x: isinstance(x, tuple))


def make_params(seed=0):
  rng = np.random.default_rng(seed)
  return jax.tree.map(
      lambda shape: rng.standard_normal(shape).astype(np.float32),
      leaves_of(AXES), is_leaf=lambda x: isinstance(x, tuple))


def dot(a, b):
  chex.assert_trees_all_equal_shapes(a, b)
  return sum(float(np.vdot(x, y))
             for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


# --- submodels ----------------------------------------------------------------

@pytest.mark.parametrize('sub', SUBS, ids=str)
def test_text_and_path_forms_read_back(sub):
  assert Submodel.parse(str(sub)) == sub
  assert Submodel.parse(sub.path) == sub
  assert '/' not in sub.path


def test_forms_are_as_documented():
  sub = Submodel.parse('1/2x1/3')
  assert sub == Submodel(Fraction(1, 2), Fraction(1, 3))
  assert (str(sub), sub.path) == ('1/2x1/3', 'w1-2_d1-3')
  assert (str(FULL), FULL.path) == ('1x1', 'w1_d1')
  assert Submodel.parse('0.5x2/4') == Submodel('1/2', '1/2')
  assert Submodel.parse(sub) is sub
  assert hash(sub) == hash(Submodel('2/4', '2/6'))


@pytest.mark.parametrize('text, message', [
    ('1/2', r"'1/2' is not WIDTHxDEPTH; write it as 1/2x1/3"),
    ('halfx1', r"width 'half' is not a ratio; write it as 1/2 or 1"),
    ('1x1/0', r"depth '1/0' is not a ratio"),
    ('1/2x1/3x1', r"depth '1/3x1' is not a ratio"),
    ('3/2x1', r'width 3/2 is outside \(0, 1\]; 1 is the full model'),
    ('1x0', r'depth 0 is outside \(0, 1\]'),
])
def test_a_bad_submodel_says_what_would_do(text, message):
  with pytest.raises(ValueError, match=message):
    Submodel.parse(text)


def test_only_elastic_axes_narrow():
  half = Submodel('1/2', '1/3')
  assert elastic.ELASTIC == {
      'embed', 'heads', 'mlp', 'pool', 'fused', 'reduced'}
  assert {n: half.units(Axis(n, 8)) for n in elastic.AXES} == {
      n: 4 if n in elastic.ELASTIC else 8 for n in elastic.AXES}
  assert half.count(6) == 2


def test_an_impossible_width_lists_those_that_fit():
  with pytest.raises(ValueError) as error:
    Submodel('1/4', 1).units(Axis('heads', 6))
  assert str(error.value) == (
      "width 1/4 keeps 1.5 of the 6 'heads' units; a submodel keeps whole "
      'ones. Ratios that fit: 1/6, 1/3, 1/2, 2/3, 5/6, 1.')


def test_an_impossible_depth_lists_those_that_fit():
  with pytest.raises(ValueError, match=(
      r'depth 1/3 keeps 1\.33333 of the 4 layers; .* fit: 1/4, 1/2, 3/4, 1\.')):
    Submodel(1, '1/3').layers(Order(4))


# --- which layers -------------------------------------------------------------

def test_published_priority_lists():
  assert Order(6).priority == (0, 5, 1, 4, 2, 3)
  assert Order(6, tie='last').priority == (5, 0, 1, 4, 2, 3)


ENDS = {2: (0, 5), 4: (0, 1, 4, 5), 6: (0, 1, 2, 3, 4, 5)}


@pytest.mark.parametrize('order, layers', [
    (Order(6), {1: (0,), **ENDS}),
    (Order(6, tie='last'), {1: (5,), **ENDS}),
    (Order(12), {2: (0, 11), 4: (0, 1, 10, 11),
                 8: (0, 1, 2, 3, 8, 9, 10, 11), 12: tuple(range(12))}),
    # An odd number leans to the front, whichever end a lone layer is from.
    (Order(6, tie='last'), {3: (0, 1, 5), 5: (0, 1, 2, 4, 5)}),
    (Order(1, tie='last'), {1: (0,)}),
    (Order(6, 'keep_first'), {1: (0,), 2: (0, 1), 4: (0, 1, 2, 3)}),
    (Order(6, 'keep_last'), {1: (5,), 2: (4, 5), 4: (2, 3, 4, 5)}),
    (Order(6, 'uniform'), {1: (0,), 2: (0, 5), 3: (0, 3, 5), 4: (0, 2, 3, 5),
                           6: (0, 1, 2, 3, 4, 5)}),
    (Order(6, 'uniform', tie='last'), {1: (5,), 2: (0, 5)}),
    (Order(12, 'uniform'), {4: (0, 4, 7, 11), 12: tuple(range(12))}),
])
def test_layers_that_a_depth_keeps(order, layers):
  for count, kept in layers.items():
    assert order.keep(count) == kept
    assert Submodel(1, Fraction(count, order.num_layers)).layers(order) == kept


def test_the_random_order_is_fixed_by_its_seed_and_nested():
  # The same on every host and in every later process: a literal.
  assert Order(6, 'random').priority == (3, 5, 0, 1, 2, 4)
  orders = {Order(6, 'random', seed=seed).priority for seed in range(8)}
  assert len(orders) > 4
  assert all(sorted(order) == list(range(6)) for order in orders)
  order = Order(12, 'random', seed=3)
  for count in range(1, 12):
    assert set(order.keep(count)) < set(order.keep(count + 1))



def test_bad_orders_say_so():
  with pytest.raises(ValueError, match=(
      "no depth strategy 'midle'. Did you mean 'middle'")):
    Order(6, 'midle')
  with pytest.raises(ValueError, match="no tie-break 'both'.*first, last"):
    Order(6, tie='both')
  with pytest.raises(ValueError, match='uniform has no priority list'):
    Order(6, 'uniform').priority  # noqa: B018


# --- spaces -------------------------------------------------------------------

WIDTHS, DEPTHS = ('1/4', '1/2', '3/4', '1'), ('1/6', '1/3', '2/3', '1')


def test_the_ten_published_submodels_in_order():
  space = Space(WIDTHS, DEPTHS)
  assert [str(sub) for sub in space] == [
      '1/4x1/6', '1/4x1/3', '1/4x2/3', '1/4x1', '1/2x1/3', '1/2x2/3', '1/2x1',
      '3/4x2/3', '3/4x1', '1x1']
  assert len(space) == 10
  assert Space(reversed(WIDTHS), reversed(DEPTHS)) == space


def test_without_a_filter_all_pairs():
  space = Space(WIDTHS, DEPTHS, filter='none')
  assert list(space) == SUBS
  assert len(set(space)) == 16


@pytest.mark.parametrize('widths, depths, want', [
    (('1',), ('1/2', '1'), ['1x1/2', '1x1']),
    (('1/2', '1'), ('1',), ['1/2x1', '1x1']),
    (('1/2', '1'), ('1/3', '2/3', '1'),
     ['1/2x1/3', '1/2x2/3', '1/2x1', '1x1']),
])
def test_the_triangle_of_other_grids_ends_in_full(widths, depths, want):
  assert [str(sub) for sub in Space(widths, depths)] == want


def test_a_space_hands_its_strategy_to_the_orders():
  space = Space(WIDTHS, DEPTHS, strategy='random', seed=7)
  assert space.order(6, 'last') == Order(6, 'random', 'last', 7)


@pytest.mark.parametrize('options, message', [
    (dict(widths=('1/2',)), "widths .* leave out 1: .* Add 1"),
    (dict(depths=('1/3', '2/3')), 'depths .* leave out 1'),
    (dict(widths=('1', '5/4')), r'width 5/4 is outside \(0, 1\]'),
    (dict(filter='triangel'), "Did you mean 'triangle'"),
    (dict(strategy='first'), 'no depth strategy .first.'),
])
def test_bad_spaces_say_so(options, message):
  with pytest.raises(ValueError, match=message):
    Space(**options)


# --- parameters ---------------------------------------------------------------

def test_slices_are_prefixes_and_numbers_layers_anew():
  params = make_params()
  small = SLICES.cut(params, Submodel('1/2', '1/3'))
  assert list(small['encoder']) == ['layer_0', 'layer_1']
  np.testing.assert_array_equal(small['words'], params['words'])
  np.testing.assert_array_equal(
      small['inp']['kernel'], params['inp']['kernel'][:, :4])
  np.testing.assert_array_equal(  # Layer 5, renamed; 2 of 4 heads.
      small['encoder']['layer_1']['kernel'],
      params['encoder']['layer_5']['kernel'][:4, :2])
  lone = SLICES.cut(params, Submodel(1, '1/6'))
  np.testing.assert_array_equal(lone['decoder']['layer_0']['kernel'],
                                params['decoder']['layer_5']['kernel'])
  chex.assert_trees_all_equal(SLICES.cut(params, FULL), params)


@pytest.mark.parametrize('sub', SUBS, ids=str)
def test_adding_is_the_transpose_of_cutting(sub):
  params = jax.tree.map(jnp.asarray, make_params())
  zeros = jax.tree.map(jnp.zeros_like, params)
  small = SLICES.cut(params, sub)
  g = SLICES.cut(make_params(1), sub)
  back = SLICES.add_into(zeros, g, sub)
  assert dot(small, g) == pytest.approx(dot(params, back), rel=1e-5)
  # And it adds: what was there stays.
  both = SLICES.add_into(params, g, sub)
  chex.assert_trees_all_close(
      both, jax.tree.map(np.add, params, back), rtol=1e-6)
  chex.assert_trees_all_equal(
      SLICES.add_into(params, g, sub, sliced=True), both)


def test_adding_is_what_autodiff_gives_through_cutting():
  params, sub = make_params(), Submodel('1/4', '1/3')
  energy = lambda small: sum(
      (jnp.sin(x) ** 2).sum() for x in jax.tree.leaves(small))
  cut = lambda p: SLICES.cut(p, sub)
  want = jax.grad(lambda p: energy(cut(p)))(params)
  got = SLICES.add_into(jax.tree.map(jnp.zeros_like, params),
                        jax.grad(energy)(cut(params)), sub)
  chex.assert_trees_all_close(got, want, rtol=1e-6)


def test_parts_of_a_tree_are_cut_and_added_alike():
  sub, params = Submodel('1/2', '1/3'), make_params()
  part = {'inp': params['inp'], 'encoder': {
      'layer_2': params['encoder']['layer_2'],
      'layer_5': {'mlp': params['encoder']['layer_5']['mlp']}}}
  small, whole = SLICES.cut(part, sub), SLICES.cut(params, sub)
  assert small.keys() == {'inp', 'encoder'}
  # Layer 2 does not live; layer 5 has the number that it has in the whole.
  assert elastic.flatten(small['encoder']).keys() == {'layer_1/mlp'}
  np.testing.assert_array_equal(
      small['encoder']['layer_1']['mlp'], whole['encoder']['layer_1']['mlp'])

  ones = jax.tree.map(np.ones_like, small)
  for total in (part, params):  # What has no gradient is passed on.
    total = jax.tree.map(jnp.asarray, total)
    got = elastic.flatten(SLICES.add_into(total, ones, sub))
    want = elastic.flatten(SLICES.add_into(
        total, SLICES.cut(jax.tree.map(jnp.zeros_like, total), sub), sub))
    moved = {path for path in got if (got[path] != want[path]).any()}
    assert moved == {'inp/kernel', 'inp/bias', 'encoder/layer_5/mlp'}
    assert got.keys() == elastic.flatten(total).keys()


def test_a_parameter_without_names_is_an_error():
  with pytest.raises(ValueError, match='parameter a/b has no axis names'):
    elastic.names({'a': {'b': jnp.ones(2)}})


def test_flatten_and_size():
  params = make_params()
  flat = elastic.flatten(params)
  assert flat['encoder/layer_3/mlp'] is params['encoder']['layer_3']['mlp']
  assert elastic.flatten(AXES)['inp/bias'] == ('embed',)
  assert elastic.size(params) == (
      5 * 3 + 3 * 8 + 8 + 6 * (8 * 4 * 2 + 8 * 12) + 6 * 64)
