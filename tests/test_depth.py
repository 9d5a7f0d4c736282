"""Pairs of sub-blocks that go: what they are, the least needed, joined widths."""
from bst_jax import elastic
from bst_jax.elastic import Choice
from bst_jax.pruning import depth, exact, scores
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_gates import build


def test_candidates_of_twelve_layers_are_23():
  layers = tuple((i, i) for i in range(12))
  left = [depth.without(layers, k) for k in range(23)]
  assert all(len(one) == 11 for one in left) and len(set(left)) == 23
  assert left[6] == (*layers[:3], *layers[4:])          # All of layer 3.
  assert left[7] == (*layers[:3], (3, 4), *layers[5:])  # Its half and the next.
  # Of what is left, and again.
  again = depth.without(left[7], 7)
  assert again[2:5] == ((2, 2), (3, 5), (6, 6))
  assert depth.said(left[7], 6) == (
      'the attention of layer 3 and the rest of layer 4')
  assert depth.said(layers, 7) == (
      'the feed-forward part of layer 3 and the attention of layer 4')


def with_dead_halves(params, dead):
  """Parameters whose named halves of layers add nothing."""
  flat = {path: np.array(leaf) for path, leaf in elastic.flatten(params).items()}
  for layer, half in dead:
    last = {'attention': 'attention/out', 'ffn': 'ffn/fc2'}[half]
    for name in ('kernel', 'bias'):
      flat[f'{layer}/{last}/{name}'][:] = 0
  return jax.tree.unflatten(jax.tree.structure(params), list(flat.values()))


@pytest.mark.parametrize('way', depth.WAYS)
@pytest.mark.parametrize('name, stack', [('vit', 'encoder'), ('pvt', 'stage_1')])
def test_what_adds_nothing_goes(name, stack, way):
  exp, params, batch = build(name)
  exp.cut = lambda params, choice: elastic.cut(
      params, exp.axes, choice, exp.model.stacks)
  params = with_dead_halves(params, [
      (f'{stack}/layer_0', 'ffn'), (f'{stack}/layer_1', 'attention'),
      (f'{stack}/layer_3', 'attention'), (f'{stack}/layer_3', 'ffn')])
  halves = [jax.tree.map(lambda x, r=rows: x[r], batch)
            for rows in (slice(0, 2), slice(2, 4))]
  halves[1]['mask'] = jnp.array([True, False])
  choice, found = depth.chosen(exp, params, halves, {stack: 2}, way)
  assert choice.layers == {stack: ({'attention': 0, 'ffn': 1}, 2)}
  assert found[stack].shape == (7,)
  assert sorted(np.argsort(found[stack])[:2]) == [1, 6]
  small = exp.model.chosen(choice)
  for part in halves:
    np.testing.assert_allclose(
        exact.logits(exp, small, exp.cut(params, choice), part),
        exact.logits(exp, exp.model, params, part), rtol=1e-5, atol=1e-5)


def test_a_stage_of_one_layer_keeps_it_while_others_lose_theirs():
  exp, params, batch = build('pvt')
  exp.cut = lambda params, choice: elastic.cut(
      params, exp.axes, choice, exp.model.stacks)
  params = with_dead_halves(params, [
      (f'stage_0/layer_{i}', half) for i in (0, 2, 3)
      for half in ('attention', 'ffn')])
  choice, _ = depth.chosen(exp, params, [batch], {'stage_0': 1, 'stage_1': 2})
  assert choice.layers['stage_0'] == (1,)
  assert len(choice.layers['stage_1']) == 2


def test_stages_lose_their_dead_pairs_in_one_go():
  exp, params, batch = build('pvt')
  exp.cut = lambda params, choice: elastic.cut(
      params, exp.axes, choice, exp.model.stacks)
  params = with_dead_halves(params, [
      *((f'stage_0/layer_{i}', half) for i in (1, 3)
        for half in ('attention', 'ffn')),
      ('stage_1/layer_0', 'ffn'), ('stage_1/layer_1', 'attention')])
  choice, found = depth.chosen(
      exp, params, [batch], {'stage_0': 2, 'stage_1': 3}, 'one_shot')
  assert choice.layers == {
      'stage_0': (0, 2), 'stage_1': ({'attention': 0, 'ffn': 1}, 2, 3)}
  assert {stack: len(each) for stack, each in found.items()} == {
      'stage_0': 7, 'stage_1': 7}


def test_scores_are_divergences_of_models_without_the_pair():
  exp, params, batch = build('vit')
  exp.cut = lambda params, choice: elastic.cut(
      params, exp.axes, choice, exp.model.stacks)
  _, found = depth.chosen(exp, params, [batch], {'encoder': 3}, 'one_shot')
  choice = Choice(layers={'encoder': (0, {'attention': 1, 'ffn': 2}, 3)})
  want = scores.divergence(
      exact.logits(exp, exp.model, params, batch),
      exact.logits(exp, exp.model.chosen(choice), exp.cut(params, choice), batch))
  np.testing.assert_allclose(found['encoder'][3], want.mean(), rtol=1e-4)


def test_layers_and_channels_are_one_choice():
  """In the numbers of the whole model: cut at once, or one after the other."""
  exp, params, batch = build('vit')
  layers = Choice(layers={'encoder': (0, {'attention': 1, 'ffn': 2}, 3)})
  small = exp.model.chosen(layers)
  axes = exp.axes
  left = elastic.cut(params, axes, layers, exp.model.stacks)
  keep = Choice(keep={'mlp@encoder/layer_1/ffn': (3, 4, 8),
                      'heads@encoder/layer_1/attention': ((0, 1), (9, 13)),
                      'mlp@encoder/layer_2/ffn': tuple(range(7)),
                      'embed': tuple(range(9))})
  both = depth.joined(layers, keep)
  assert set(both.keep) == {
      'mlp@encoder/layer_2/ffn', 'heads@encoder/layer_1/attention',
      'mlp@encoder/layer_3/ffn', 'embed'}
  assert both.layers == layers.layers
  at_once = elastic.cut(params, axes, both, exp.model.stacks)
  names = elastic.names(jax.eval_shape(
      small.init, jax.random.key(0), batch)['params'])
  in_turn = elastic.cut(left, names, keep, small.stacks)
  jax.tree.map(np.testing.assert_array_equal, at_once, in_turn)


def test_so_many_layers_cannot_be_left():
  exp, params, batch = build('vit')
  for count in (0, 5):
    with pytest.raises(ValueError, match='leave from 1 to all of them'):
      depth.chosen(exp, params, [batch], {'encoder': count})
  with pytest.raises(ValueError, match='take way progressive'):
    # Four pairs go, and between them are parts without a neighbour.
    depth._one_shot(np.array([9, 0, 9, 9, 1, 9, 9, 2, 9, 9, 3.]), 1)
