"""Which channels stay: published counts, rules of attention, stable ties."""
import math

from bst_jax import elastic
from bst_jax.elastic import base
from bst_jax.models import pvt
from bst_jax.models import vit as vits
from bst_jax.pruning import select
from bst_jax.pruning.scores import counts_of, Scores
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest


def shapes_of(model):
  boxed = jax.eval_shape(model.init, jax.random.key(0), {
      'image': np.zeros((1, *model.sides, 3), np.uint8)})['params']
  return elastic.unbox(boxed), elastic.names(boxed)


def scored(shapes, axes, seed=0):
  rng = np.random.default_rng(seed)
  return Scores('random', elastic.fingerprint(shapes), {
      name: rng.random(n) for name, n in counts_of(shapes, axes).items()})


def test_the_best_stay_in_their_order_and_of_equals_the_later():
  assert select.best(np.array([3.0, 1, 2, 1, 5]), 3) == (0, 2, 4)
  assert select.best(np.array([1.0, 1, 1, 1]), 2) == (2, 3)  # Lowest index goes.
  assert select.best(np.array([8.6e-6, 0.2, 3e-9, 0.1]), 2) == (1, 3)


def test_heads_by_each_rule():
  scores = np.array([1, 9, 2, 8, 3, 7, 4, 6.0])  # 4 heads of 2.
  make = lambda *new, rule: select.heads(scores, (4, 2), new, rule)
  assert make(2, 2, rule='segment') == ((1, 3), (5, 7))
  assert make(2, 3, rule='segment') == ((1, 2, 3), (5, 6, 7))
  assert make(4, 1, rule='per_head') == ((1,), (3,), (5,), (7,))
  assert make(2, 2, rule='heads') == ((4, 5), (6, 7))  # Of equal sums, later.
  for new, rule, said in (((3, 2), 'segment', 'no 3 equal segments'),
                          ((2, 5), 'segment', 'with 5 each'),
                          ((2, 1), 'per_head', 'keeps all heads'),
                          ((4, 3), 'per_head', 'makes none wider'),
                          ((4, 1), 'heads', 'leaves heads as they are')):
    with pytest.raises(ValueError, match=said):
      make(*new, rule=rule)


# Parent, its rule, and what is left: spec tables of the paper's models.
def test_deit_b_becomes_deit_t():
  """Exactly its 5,717,416 parameters: 192 of 768, 3 x 64 of 256, 768 of 3072."""
  parent = vits.Model(1000, width=768, heads=12, mlp=3072)
  shapes, axes = shapes_of(parent)
  counts = counts_of(shapes, axes)
  assert sum(counts.values()) == 46_848 and len(counts) == 25
  sizes = select.uniform(shapes, axes, 1 / 4, rule='segment')
  assert sizes['embed'] == 192
  assert {size for name, size in sizes.items() if base(name) == 'mlp'} == {768}
  assert {size for name, size in sizes.items() if base(name) == 'heads'} == {
      (3, 64)}
  choice = select.choice(scored(shapes, axes), shapes, axes, sizes, 'segment')
  rows = choice.keep['heads@encoder/layer_7/attention']
  assert [(min(row) // 256, max(row) // 256, len(row)) for row in rows] == [
      (0, 0, 64), (1, 1, 64), (2, 2, 64)]  # Each of four old heads.
  small = jax.eval_shape(
      lambda p: elastic.cut(p, axes, choice, parent.stacks), shapes)
  assert elastic.size(small) == 5_717_416
  assert parent.chosen(choice).usual(small, axes) == vits.Model(
      1000, width=192, heads=3, mlp=768)


def test_pvt_b1_becomes_b0():
  width, mlp = (64, 128, 320, 512), (512, 1024, 1280, 2048)
  parent = pvt.Model(1000, width=width, mlp=mlp)
  shapes, axes = shapes_of(parent)
  assert sum(counts_of(shapes, axes).values()) == 13_824
  choice = select.choice(scored(shapes, axes), shapes, axes,
                         select.uniform(shapes, axes, 1 / 2))
  small = jax.eval_shape(
      lambda p: elastic.cut(p, axes, choice, parent.stacks), shapes)
  assert jax.tree.map(jnp.shape, small) == jax.tree.map(
      jnp.shape, shapes_of(pvt.Model(1000))[0])


@pytest.mark.parametrize('model, count', [
    (vits.Model(1000, width=192, heads=3, mlp=768), 11_712),
    (vits.Model(1000, width=384, heads=6, mlp=1536), 23_424),
    (pvt.Model(1000, width=(64, 128, 320, 512), mlp=(512, 1024, 1280, 2048),
               num_layers=(3, 4, 6, 3)), 27_264)])
def test_candidates_are_as_many_as_published(model, count):
  assert sum(counts_of(*shapes_of(model)).values()) == count


def test_smaller_shares_never_leave_more_and_are_rounded():
  shapes, axes = shapes_of(vits.Model(7, image_size=16, patch=4, width=48,
                                      heads=6, mlp=80, num_layers=2))
  before = math.inf
  for share in (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.01):
    for multiple in (1, 8):
      sizes = select.uniform(shapes, axes, share, multiple)
      assert all(size % multiple == 0 for name, size in sizes.items()
                 if base(name) != 'heads')
    heads = select.uniform(shapes, axes, share, rule='heads')
    assert heads['heads@encoder/layer_0/attention'][0] in (1, 2, 3, 6)
    total = sum(size for name, size in sizes.items() if base(name) != 'heads')
    assert total <= before
    before = total
  whole = select.choice(scored(shapes, axes), shapes, axes,
                        select.uniform(shapes, axes, 1.0))
  assert not whole.cuts


@pytest.mark.parametrize('sizes, said', [
    ({'embed': 17}, "17 of 'embed' were to be left, but there are 16"),
    ({'embed': 0}, 'nothing would be'),
    ({'heads@encoder/layer_0/attention': (4, 0)}, 'nothing would be'),
    ({'heads@encoder/layer_0/attention': (8, 4)}, 'there are 4 heads of 4'),
    ({'mlp@encoder/layer_9/ffn': 3}, 'layer_9')])
def test_what_cannot_be_left_is_refused(sizes, said):
  _, _, params, axes = models.build('vit')
  with pytest.raises(ValueError, match=said):
    select.choice(scored(params, axes), params, axes, sizes)


def test_scores_of_another_model_or_without_a_set():
  _, _, params, axes = models.build('vit')
  other = scored(*models.build('pvt')[2:])
  with pytest.raises(ValueError, match='fingerprint'):
    select.choice(other, params, axes, {'embed': 8})
  few = Scores('kl', '', {'embed': np.ones(16)})
  with pytest.raises(ValueError, match='Score the model again'):
    select.choice(few, params, axes, {'mlp@encoder/layer_0/ffn': 8})
