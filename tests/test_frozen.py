"""What is frozen is not differentiated: it costs neither memory nor products.

A step with a frozen trunk is compared, as the compiler counts, with the step of
a model that is handed what the trunk gives.
"""
from bst_jax import elastic, methods, tasks
from bst_jax.elastic import Axis, FULL, Space
from bst_jax.layers.linear import Dense
from bst_jax.learn import optimizers, shared
from bst_jax.learn import state as states
import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest
import virtual

TASK = tasks.create(dict(name='vqa'))
SPACE = Space(('1/2', '1'), ('1/2', '1'))
WIDE = 128
METHODS = dict(plain=dict(name='plain'),
               bst=dict(name='bst', teacher='inplace', sampled=1))


class Handed(nn.Module):
  """The least elastic model on a grid that it is handed."""

  width: int = 16
  mlp: int = 32
  num_layers: int = 2

  @property
  def stacks(self):
    return {f'rest/{name}': order for name, order in self._rest.stacks.items()}

  @property
  def _rest(self):
    return models.Toy(self.width, self.mlp, self.num_layers, parent=None)

  def at(self, sub):
    rest = self._rest.at(sub)
    return self.clone(width=rest.width, mlp=rest.mlp,
                      num_layers=rest.num_layers)

  def setup(self):
    self.rest = self._rest.clone()

  def __call__(self, batch, *, sub=FULL, train=False):
    return self.rest({'regions': batch['grid']}, sub=sub, train=train)


class Trunked(Handed):
  """The same on top of a heavy trunk, which submodels share."""

  def setup(self):
    super().setup()
    wide = Axis('feat', WIDE)
    self.trunk = [Dense((wide,), (wide,)) for _ in range(4)]

  def shared(self, batch, *, train=False):
    """{'grid': float[B, N, 8]} of regions float[B, N, WIDE]."""
    x = batch['regions']
    for layer in self.trunk:
      x = nn.gelu(layer(x))
    return {'grid': x[..., :8] / 64}

  def __call__(self, batch, *, sub=FULL, train=False):
    grid = batch if 'grid' in batch else self.shared(batch)
    return super().__call__(grid, sub=sub, train=train)


def batch_of(rows=8):
  rng = np.random.default_rng(0)
  return {'regions': jnp.asarray(rng.standard_normal((rows, 64, WIDE)),
                                 jnp.float32),
          'target': jnp.asarray(rng.random((rows, 7)), jnp.float32),
          'mask': jnp.ones(rows, bool)}


def make(name, frozen, micro=1, model=None, batch=None):
  """A method on the model, with frozen parts; and its first state."""
  model = model or Trunked()
  params, axes = models.prepare(model, batch or batch_of())
  tx = optimizers.create(
      dict(name='adamw', lr=1e-3, clip=1.0,
           parts={part: dict(frozen=True) for part in frozen}),
      dict(name='constant'), params, 5.0, 100)
  method = methods.create(
      METHODS[name], model=model, task=TASK, tx=tx, axes=axes, space=SPACE,
      micro_batches=micro)
  return method, method.init(jax.random.key(0), params), model


def costs(run, *args):
  """(bytes of temporary memory, operations) of a program on every device.

  The compiler counts the body of a loop over micro-batches once.
  """
  made = jax.jit(run).lower(*args).compile()
  return (made.memory_analysis().temp_size_in_bytes,
          made.cost_analysis()['flops'])


def measured(name, micro, devices):
  """Costs of a step whose trunk is frozen, handed in, or trained.

  What is handed in was computed by a program of its own, from as many parts of
  the batch, whose memory and operations count too.
  """
  batch = batch_of()
  frozen, state, model = make(name, ['trunk_*'], micro)
  trained, full, _ = make(name, [], micro)
  apply = lambda params, x: model.apply(
      {'params': params}, {'regions': x}, method='shared')
  in_parts = lambda params, x: jax.lax.map(
      lambda part: apply(params, part),
      x.reshape(-1, micro, *x.shape[1:]).swapaxes(0, 1))
  trunk = costs(apply if micro == 1 else in_parts, state.params,
                batch_of(8 // devices)['regions'])

  grid = {'grid': jnp.zeros((8, 64, 8))}
  handed = {key: x for key, x in batch.items() if key != 'regions'} | grid
  without, small, _ = make(name, [], micro, Handed(), handed)
  step = costs(without.step, small, {'train': handed})
  return {'frozen': costs(frozen.step, state, {'train': batch}),
          'handed': (trunk[0] + step[0], trunk[1] + step[1]),
          'trained': costs(trained.step, full, {'train': batch})}


TWO = '''
import json, sys
from bst_jax.learn import sharding
import jax
import test_frozen
with jax.set_mesh(sharding.make_mesh({'data': -1})):
  print(json.dumps({name: test_frozen.measured(name, 2, 2)
                    for name in test_frozen.METHODS}))
'''


@pytest.fixture(scope='module')
def two():
  """Costs on two devices with two micro-batches."""
  return virtual.run(TWO, 2)


def check(cost):
  (memory, flops), (limit, least) = cost['frozen'], cost['handed']
  assert memory <= 1.2 * limit
  assert flops <= 1.1 * least
  # Or the model would show nothing.
  assert cost['trained'][0] > 1.5 * limit and cost['trained'][1] > 1.5 * least


@pytest.mark.parametrize('name', METHODS)
def test_a_frozen_trunk_costs_what_its_output_as_an_input_does(name):
  check(measured(name, 1, 1))


@pytest.mark.parametrize('name', METHODS)
def test_so_it_does_on_two_devices_with_micro_batches(two, name):
  check(two[name])


@pytest.mark.parametrize('name', METHODS)
def test_the_optimiser_remembers_what_is_trained_alone(name):
  _, state, _ = make(name, ['trunk_*', 'rest/inp'])
  trained = elastic.size(state.params['rest']) - elastic.size(
      state.params['rest']['inp'])
  assert elastic.size(state.opt_state) == 2 * trained + 2  # And counters.


@pytest.mark.parametrize('name', METHODS)
def test_what_is_trained_learns_as_if_all_were(name):
  """The first step of Adam is of the same size, so gradients are compared."""
  batch = {'train': batch_of()}
  frozen, state, _ = make(name, ['trunk_*', '**/layer_1/ffn/fc1'])
  whole, full, _ = make(name, [])
  new, metrics = jax.jit(frozen.step)(state, batch)
  old, other = jax.jit(whole.step)(full, batch)
  before, after = map(elastic.flatten, (state.params, new.params))
  for path, value in after.items():
    still = path.startswith('trunk') or '/layer_1/ffn/fc1' in path
    assert still == bool((value == before[path]).all()), path
  chex.assert_trees_all_close(metrics['loss/full'], other['loss/full'],
                              rtol=1e-5)
  moments = lambda state: elastic.flatten(_mu(state.opt_state))
  mine, theirs = moments(new), moments(old)
  scale = float(metrics['grad_norm'] / other['grad_norm'])
  assert 0 < scale < 1  # The norm is of what is trained.
  for path, value in mine.items():
    np.testing.assert_allclose(value * scale, theirs[path], rtol=1e-3,
                               atol=1e-7, err_msg=path)


def _mu(opt_state):
  """First moments of the one Adam, or of the one part that is trained."""
  found = [s for s in jax.tree.leaves(
      opt_state, is_leaf=lambda s: hasattr(s, 'mu')) if hasattr(s, 'mu')]
  assert len(found) == 1
  return found[0].mu


def test_a_trunk_with_one_trained_layer_is_differentiated_for_that():
  batch = batch_of()
  _, state, model = make('bst', [])
  split = lambda globs: states.trained(
      state.params, optimizers.create(
          dict(name='sgd', lr=1.0, parts={g: dict(frozen=True) for g in globs}),
          dict(name='constant'), state.params, 1.0, 1))
  key = jax.random.key(0)
  _, once, _, _ = shared.run_shared(model, split(['trunk_*']), batch, key)
  assert once == {}
  _, once, pull, _ = shared.run_shared(model, split(['trunk_0']), batch, key)
  assert once.keys() == {'grid'}
  grads = jax.tree.map(jnp.zeros_like, split(['trunk_0'])[0])
  grads = pull(grads, jax.tree.map(jnp.ones_like, once))
  assert 'trunk_0' not in grads and np.any(grads['trunk_1']['kernel'])
