"""One training on 1, 2, 4 and 8 virtual devices, in a process of its own."""
import pytest
import virtual

# data x fsdp / micro-batches
RUNS = '1x1', '2x1', '4x1', '8x1', '1x4', '2x4', '1x1/2', '4x1/2'

EIGHT = '''
import json, re, sys
from bst_jax import elastic, methods, tasks
from bst_jax.learn import sharding
import jax, jax.numpy as jnp, numpy as np, optax
import models

STEPS = 20
model, batch, params, axes = models.toy(num_layers=2, dropout=0.2)
boxed = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
out = {}
for name in sys.argv[1:]:
  shape, _, micro = name.partition('/')
  sizes = tuple(map(int, shape.split('x')))
  mesh = sharding.make_mesh(dict(zip(('data', 'fsdp'), sizes)),
                            jax.devices()[:sizes[0] * sizes[1]])
  method = methods.create(
      dict(name='bst', sampled=1, teacher='labels'), model=model, task=tasks.create(dict(name='vqa')),
      tx=optax.adam(3e-3), axes=axes, micro_batches=int(micro or 1),
      space=elastic.Space(('1/2', '1'), ('1/2', '1')))
  where = sharding.shardings(
      jax.eval_shape(method.init, jax.random.key(0), boxed), mesh,
      'fsdp' if sizes[1] > 1 else 'replicated')
  with jax.set_mesh(mesh):
    now = jax.device_put(method.init(jax.random.key(3), params), where)
    placed = {'train': sharding.place(
        {k: np.asarray(v) for k, v in batch.items()}, mesh)}
    step = jax.jit(method.step, out_shardings=(where, None)).lower(
        now, placed).compile()
    losses = []
    for _ in range(STEPS):
      now, metrics = step(now, placed)
      losses.append(float(metrics['loss/full']))
  sums = jax.tree.map(lambda x: float(jnp.abs(x).sum()), now.params)
  reduced = sum(
      np.prod([int(n) for n in re.findall(r'[0-9]+', dims)])
      for line in step.as_text().splitlines() if ' all-reduce(' in line
      for dims in re.findall(r'f32\\[([0-9,]*)\\]', line.split(' all-reduce(')[0]))
  out[name] = {'losses': losses, 'sums': list(elastic.flatten(sums).values()),
               'reduced': int(reduced), 'split': sum(
                   not x.sharding.is_fully_replicated
                   for x in jax.tree.leaves(now.params))}
print(json.dumps(out | {'size': elastic.size(params)}))
'''


@pytest.fixture(scope='module')
def runs():
  """What the program above prints."""
  return virtual.run(EIGHT, 8, *RUNS)


@pytest.mark.parametrize('run', [run for run in RUNS if run[:3] != '1x1'])
def test_twenty_steps_agree_on_any_number_of_devices(runs, run):
  one, many = runs['1x1/2' if '/' in run else '1x1'], runs[run]
  assert many['losses'] == pytest.approx(one['losses'], rel=1e-5)
  assert many['sums'] == pytest.approx(one['sums'], rel=1e-5)
  assert one['losses'][-1] < 0.99 * one['losses'][0]  # It learns.
  assert bool(many['split']) == ('x1' not in run)


def test_dropout_is_there(runs):
  """Parts draw noise of their own, so that the losses differ."""
  assert runs['1x1/2']['losses'][0] != pytest.approx(
      runs['1x1']['losses'][0], rel=1e-3)


@pytest.mark.parametrize('run', ['2x1', '8x1', '4x1/2'])
def test_gradients_are_reduced_once_a_step(runs, run):
  """Not once a submodel: the bytes are those of one set of parameters."""
  metrics = 3
  assert runs[run]['reduced'] == runs['size'] + metrics
