"""Which layers a search skips: a preference for each, and draws from them.

A preference grows where skipping a layer did better than other draws: the
largest are of the layers that are needed least.

Reference: DAS (Wu et al., "Parameter and Computation Efficient Transfer Learning
  for Vision-Language Pre-trained Models", NeurIPS 2023), and its released code.
"""
import math

from bst_jax.elastic import check_name
import jax
import jax.numpy as jnp
import numpy as np

LAWS = {
    'multinomial': 'one layer after the other, each in proportion to its '
                   'probability (as released)',
    'uniform': 'those with the largest of numbers from 0 to their probability '
               '(as published)',
}


def sample(key: jax.Array, gate: jax.Array, skips: int,
           law: str = 'multinomial') -> jax.Array:
  """Draws exactly so many layers to skip.

  Args:
    key: of the draw.
    gate: float[n], the preferences; sigmoids of them are probabilities.
    skips: k.
    law: of `LAWS`.

  Returns:
    bool[n], k of them true.
  """
  check_name(law, LAWS, 'law of draws')
  if law == 'multinomial':
    # The largest of these are draws without repetition (Gumbel).
    scores = jax.nn.log_sigmoid(gate) + jax.random.gumbel(key, gate.shape)
  else:
    scores = jax.random.uniform(key, gate.shape) * jax.nn.sigmoid(gate)
  _, picked = jax.lax.top_k(scores, skips)
  return jnp.zeros(gate.shape, bool).at[picked].set(True)


def sample_distinct(key: jax.Array, gate: jax.Array, skips: int, count: int,
                    law: str = 'multinomial') -> jax.Array:
  """Draws so many sets of layers that no two are the same; see `sample`.

  Returns:
    bool[count, n].

  Raises:
    ValueError: there are not so many sets.
  """
  check_sets(gate.shape[0], skips, count)

  def add(i, sets):
    def again(state):
      drawn, _ = state
      return ((sets == drawn).all(1) & (jnp.arange(count) < i)).any()

    def draw(state):
      _, n = state
      once = jax.random.fold_in(jax.random.fold_in(key, i), n)
      return sample(once, gate, skips, law), n + 1

    drawn, _ = jax.lax.while_loop(again, draw, draw((None, 0)))
    return sets.at[i].set(drawn)

  return jax.lax.fori_loop(
      0, count, add, jnp.zeros((count, gate.shape[0]), bool))


def check_sets(layers: int, skips: int, count: int) -> None:
  """Raises where so many sets of so many layers cannot be drawn."""
  if not 1 <= skips <= layers:
    raise ValueError(
        f'config.method.skips is {skips}, but the model has {layers} layers '
        f'that can be skipped; choose from 1 to {layers}.')
  if math.comb(layers, skips) < count:
    raise ValueError(
        f'config.method.subnetworks is {count}, but {skips} of {layers} layers '
        f'make only {math.comb(layers, skips)} different sets; lower it, or '
        'change config.method.skips.')


def update(gate: jax.Array, flags: jax.Array, losses: jax.Array,
           rate: float) -> tuple[jax.Array, jax.Array]:
  """Preferences after some sets were tried, and the mean reward.

  The reward of a set is exp(-loss); a loss that is not finite has none. Layers
  of a set that did better than the mean are skipped rather from then on.

  Args:
    gate: float32[n].
    flags: bool[m, n], the layers that each set skips.
    losses: float[m].
    rate: of the step.

  Returns:
    float32[n] and float32[].
  """
  rewards = jnp.where(jnp.isfinite(losses), jnp.exp(-losses), 0.0)
  mean = rewards.mean()
  p = jax.nn.sigmoid(gate)
  credit = ((rewards - mean)[:, None] * flags).sum(0)
  return gate + rate * credit * p * (1 - p), mean


def select(gate: np.ndarray, skips: int) -> tuple[int, ...]:
  """The layers of the largest preferences, ascending; of equal ones the last.
  """
  return tuple(np.flatnonzero(selected(jnp.asarray(gate), skips)).tolist())


def selected(gate: jax.Array, skips: int) -> jax.Array:
  """bool[n], the flags of `select`, inside of a program."""
  order = jnp.argsort(gate, stable=True)
  return jnp.zeros(gate.shape, bool).at[order[gate.shape[0] - skips:]].set(True)
