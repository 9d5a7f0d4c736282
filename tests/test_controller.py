"""Which layers a search skips: draws, preferences, the choice."""
from bst_jax.learn import controller
import jax
import jax.numpy as jnp
import numpy as np
import pytest

GATE = [.8, -.4, 0, .1, -.2, .3, 0, 0, -.6, .5, .2, -.1]
# Shares of draws of four that hold each layer, of either law.
INCLUDED = {
    'multinomial': [.43, .27, .33, .34, .30, .37, .33, .33, .24, .39, .35, .31],
    'uniform': [.53, .17, .33, .37, .25, .43, .33, .33, .09, .48, .40, .29]}


@pytest.mark.parametrize('law', controller.LAWS)
def test_how_often_a_layer_is_drawn(law):
  keys = jax.random.split(jax.random.key(0), 60_000)
  drawn = jax.jit(jax.vmap(lambda key: controller.sample(
      key, jnp.array(GATE), 4, law)))(keys)
  assert (drawn.sum(1) == 4).all()
  np.testing.assert_allclose(drawn.mean(0), INCLUDED[law], atol=0.01)


def test_the_published_update():
  flags = np.zeros((3, 12), bool)
  for row, skips in zip(flags, ([0, 3, 6, 9], [1, 3, 7, 11], [2, 5, 6, 10])):
    row[skips] = True
  gate, mean = controller.update(
      jnp.zeros(12), jnp.asarray(flags), jnp.array([2.0, 2.5, 3.0]), 1.0)
  np.testing.assert_allclose(mean, .0890691167, atol=1e-8)
  np.testing.assert_allclose(gate, [
      .01156654, -.00174603, -.00982051, .00982051, 0, -.00982051, .00174603,
      -.00174603, 0, .01156654, -.00982051, -.00174603], atol=2e-8)
  np.testing.assert_allclose(gate.sum(), 0, atol=1e-7)
  assert controller.select(gate, 4) == (0, 3, 6, 9)
  assert controller.selected(gate, 4).nonzero()[0].tolist() == [0, 3, 6, 9]


def test_preferences_sum_to_zero_while_all_are_alike():
  key, gate = jax.random.key(3), jnp.zeros(7)
  flags = controller.sample_distinct(key, gate, 3, 5)
  gate, _ = controller.update(gate, flags, jnp.arange(5.0), 0.5)
  assert np.abs(gate).max() > 0.01
  np.testing.assert_allclose(gate.sum(), 0, atol=1e-7)


@pytest.mark.parametrize('law', controller.LAWS)
def test_sets_that_are_compared_differ_even_where_there_are_no_more(law):
  draw = jax.jit(lambda key: controller.sample_distinct(
      key, jnp.array([3.0, -3.0, 0.0, 0.0]), 2, 6, law))
  for seed in range(5):
    sets = np.asarray(draw(jax.random.key(seed)))
    assert len(np.unique(sets, axis=0)) == 6 and (sets.sum(1) == 2).all()


def test_a_loss_that_is_not_finite_earns_nothing():
  flags = jnp.eye(3, dtype=bool)
  gate, mean = controller.update(
      jnp.zeros(3), flags, jnp.array([np.nan, np.inf, 0.0]), 1.0)
  np.testing.assert_allclose(mean, 1 / 3, rtol=1e-6)
  np.testing.assert_allclose(gate, [-1 / 12, -1 / 12, 1 / 6], atol=1e-6)


def test_of_equal_preferences_the_last_layers_are_chosen():
  assert controller.select(np.zeros(12), 4) == (8, 9, 10, 11)
  np.testing.assert_array_equal(
      controller.selected(jnp.zeros(5), 2), [0, 0, 0, 1, 1])


@pytest.mark.parametrize('skips, count, says', [
    (13, 3, 'choose from 1 to 12'), (0, 3, 'choose from 1 to 12'),
    (12, 2, 'make only 1 different')])
def test_what_cannot_be_drawn_is_refused(skips, count, says):
  with pytest.raises(ValueError, match=says):
    controller.check_sets(12, skips, count)


def test_there_are_495_architectures_of_four_of_twelve():
  controller.check_sets(12, 4, 495)
  with pytest.raises(ValueError, match='make only 495'):
    controller.check_sets(12, 4, 496)
