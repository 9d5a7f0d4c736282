"""Sizes by one ranking of channels of many sets: monotone, floors told."""
from bst_jax import elastic
from bst_jax.elastic import base
from bst_jax.pruning import ranking, select
from bst_jax.pruning.scores import counts_of, Scores
import numpy as np
import pytest
from test_gates import build


@pytest.fixture(scope='module')
def vit():
  exp, _, _ = build('vit')
  rng = np.random.default_rng(0)
  # Early layers matter most, so that a ranking of all empties the late ones.
  channels = {}
  for name, count in counts_of(exp.shapes, exp.axes).items():
    place = next((i for i in range(4) if f'layer_{i}' in name), 0)
    channels[name] = rng.random(count) * 10.0 ** -place
  return exp, Scores('kl', '', channels)


def size(exp, scores, sizes, rule):
  return elastic.size(exp_cut(exp, select.choice(
      scores, exp.shapes, exp.axes, sizes, rule)))


def exp_cut(exp, choice):
  return elastic.cut(exp.shapes, exp.axes, choice, exp.model.stacks)


@pytest.mark.parametrize('rule', ['per_head', 'heads'])
@pytest.mark.parametrize('mode', ['global', 'isomorphic'])
@pytest.mark.parametrize('multiple', [1, 4])
def test_a_smaller_share_never_makes_a_larger_model(vit, mode, rule, multiple):
  exp, scores = vit
  before, told = None, []
  for share in np.linspace(1, 0, 11):
    sizes, floors = ranking.sizes(scores, exp.shapes, exp.axes, share, mode,
                                  multiple, rule)
    choice = select.choice(scores, exp.shapes, exp.axes, sizes, rule)
    small = exp.model.chosen(choice)  # Every one of them is a model.
    total = elastic.size(elastic.cut(exp.shapes, exp.axes, choice,
                                     exp.model.stacks))
    assert small is not None
    if before is None:
      assert not choice.keep and not floors
    else:
      assert total <= before
      assert set(told) <= set(floors)
    before, told = total, floors
  assert sorted(told) == sorted(elastic.groups(exp.axes))  # All at 0.
  for name, left in sizes.items():
    if base(name) != 'heads':
      assert left == multiple
    else:
      assert left == ((4, min(multiple, 4)) if rule == 'per_head' else (1, 4))
  said = ranking.told(told, sizes)
  assert 'embed' in said and 'and 3 more' in said


def test_who_competes_with_whom(vit):
  exp, scores = vit
  ask = lambda mode: ranking.sizes(
      scores, exp.shapes, exp.axes, 0.5, mode)[0]
  mlp = lambda sizes: [sizes[f'mlp@encoder/layer_{i}/ffn'] for i in range(4)]
  # All layers' channels are ranked together: the first keep all of theirs.
  for mode in ('global', 'isomorphic'):
    left = mlp(ask(mode))
    assert left[0] == 32 and left[3] == 1 and sum(left) < 0.6 * 128
  # Alike sets only: the stream is not asked to make room for layers.
  assert ask('isomorphic')['embed'] == 8
  assert ask('global')['embed'] > 8
  with pytest.raises(ValueError, match='take rule per_head or heads'):
    ranking.sizes(scores, exp.shapes, exp.axes, 0.5, 'global', rule='segment')
