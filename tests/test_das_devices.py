"""A search on one, two and four virtual devices, in a process of its own."""
import pytest
import virtual

# data x fsdp / micro-batches
RUNS = '1x1', '2x1', '1x2', '4x1', '1x1/2', '2x1/2'

SEARCHES = '''
import json, sys
from bst_jax import elastic
from bst_jax.learn import sharding
import jax, jax.numpy as jnp, numpy as np
import models, test_das

out = {}
for name in sys.argv[1:]:
  shape, _, micro = name.partition('/')
  sizes = tuple(map(int, shape.split('x')))
  mesh = sharding.make_mesh(dict(zip(('data', 'fsdp'), sizes)),
                            jax.devices()[:sizes[0] * sizes[1]])
  model = test_das.Toy()
  batches = [test_das.labelled(16, i) for i in range(8)]
  boxed = jax.eval_shape(model.init, jax.random.key(0), batches[0])['params']
  params = elastic.unbox(model.init(jax.random.key(0), batches[0])['params'])
  with jax.set_mesh(mesh):
    method, now, step, traced = test_das.made(
        model, batches[0], params, micro=int(micro or 1), skips=2, interval=2,
        warmup=2)
    where = sharding.shardings(
        jax.eval_shape(method.init, jax.random.key(0), boxed), mesh,
        'fsdp' if sizes[1] > 1 else 'replicated')
    now = jax.device_put(now, where)
    losses = []
    for i, batch in enumerate(batches):
      placed = {stream: sharding.place(
          {k: np.asarray(v) for k, v in of.items()}, mesh)
          for stream, of in (('train', batch), ('held_out', batches[-i - 1]))}
      now, metrics = step(now, placed)
      now = jax.device_put(now, where)
      losses.append(float(metrics['loss/full']))
  out[name] = {
      'losses': losses, 'gates': np.asarray(now.extra['gate']).tolist(),
      'traced': len(traced), 'skip': method.choice(now).skip,
      'sums': [float(jnp.abs(x).sum()) for x in jax.tree.leaves(now.params)]}
print(json.dumps(out))
'''


@pytest.fixture(scope='module')
def runs():
  """What the program above prints."""
  return virtual.run(SEARCHES, 4, *RUNS)


@pytest.mark.parametrize('run', RUNS[1:4] + RUNS[5:])
def test_a_search_finds_the_same_on_any_number_of_devices(runs, run):
  one, many = runs['1x1/2' if '/' in run else '1x1'], runs[run]
  assert many['losses'] == pytest.approx(one['losses'], rel=1e-5)
  assert many['gates'] == pytest.approx(one['gates'], abs=1e-6)
  assert many['sums'] == pytest.approx(one['sums'], rel=1e-5)
  assert many['skip'] == one['skip'] and len(one['skip']) == 2
  assert max(one['gates']) > 1e-4  # They moved.


@pytest.mark.parametrize('run', RUNS)
def test_it_is_one_program_whatever_is_drawn(runs, run):
  assert runs[run]['traced'] == 1
