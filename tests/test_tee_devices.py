"""TEE with statistics of the batch: the same on any number of devices."""
import numpy as np
import pytest
import virtual

DEVICES = '''
import json, sys
from bst_jax import elastic, methods, tasks
from bst_jax.learn import sharding
from bst_jax.models import tee
import jax, jax.numpy as jnp, numpy as np, optax

# In float32 rounding may choose another proposal.
jax.config.update('jax_enable_x64', True)
model = tee.Model(
    num_answers=3, num_attributes=2, image_size=32, stem=8, stages=(8,) * 7,
    layers=(1,) * 7, pyramid=8, cells=1, anchor_sizes=(6, 8, 12, 16, 24),
    hidden=8, each=(20, 10), proposals=(12, 6), rois=8, regions=4, least=1,
    depth_dropout=0.0, batch_stats='batch', dtype=jnp.float64)
rng = np.random.default_rng(0)
low = rng.uniform(0, 0.4, (8, 2, 2))
batch = {'image': rng.integers(0, 256, (8, 32, 32, 3), np.uint8),
         'object_boxes': np.concatenate([low, low + 0.4], 2).astype('float32'),
         'object_classes': rng.integers(0, 3, (8, 2)).astype('int32'),
         'object_mask': np.arange(2) < np.array([[1], [2]] * 3 + [[0], [2]]),
         'object_attributes': rng.integers(0, 2, (8, 2, 1)).astype('int32'),
         'object_attribute_mask': np.ones((8, 2, 1), bool),
         'mask': np.ones(8, bool)}
boxed = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
params = jax.tree.map(
    lambda leaf: rng.uniform(0.1, 0.5, leaf.shape)
    * rng.choice([-1, 1], leaf.shape) ** (len(leaf.shape) > 1),
    elastic.unbox(boxed))
method = methods.create(
    dict(name='plain'), model=model, task=tasks.create({'name': 'regions'}),
    tx=optax.sgd(1e-3), axes=elastic.names(boxed), micro_batches=1,
    space=elastic.Space())
out = {}
for count in sys.argv[1:]:
  mesh = sharding.make_mesh({'data': -1}, jax.devices()[:int(count)])
  with jax.set_mesh(mesh):
    state = jax.device_put(method.init(jax.random.key(3), params),
                           sharding.NamedSharding(mesh, jax.P()))
    placed, step = sharding.place(batch, mesh), jax.jit(method.step)
    for _ in range(2):
      state, metrics = step(state, {'train': placed})
  out[count] = {path: np.asarray(x, np.float64).reshape(-1).tolist()
                for path, x in elastic.flatten(state.params).items()}
out['before'] = {path: np.asarray(x).reshape(-1).tolist()
                 for path, x in elastic.flatten(params).items()}
print(json.dumps(out))
'''


@pytest.fixture(scope='module')
def runs():
  return virtual.run(DEVICES, 4, '1', '2', '4')


@pytest.mark.parametrize('count', ['2', '4'])
def test_two_steps_agree_on_any_number_of_devices(runs, count):
  """Pictures of one, two and no objects stand in the batch."""
  for path, leaf in runs['1'].items():
    np.testing.assert_allclose(runs[count][path], leaf, atol=1e-7, err_msg=path)
    moved = np.abs(np.array(leaf) - runs['before'][path])
    if '/stats/' in path:
      assert moved.max() > 1e-4, path
  assert sum(np.abs(np.array(leaf) - runs['before'][path]).max() > 1e-6
             for path, leaf in runs['1'].items()) > 30
