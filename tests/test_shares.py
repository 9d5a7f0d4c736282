"""Parts of a batch in which other numbers of words, texts or answers count."""
from bst_jax import elastic, tasks
from bst_jax.learn import sharding
from bst_jax.run import experiment, program
from captioners import opened
import chex
from configs import minivlm_caption_scenes, minivlm_pretrain, minivlm_vqa
import jax
import numpy as np
import pytest
import virtual

CASES = {
    'words and tags': (minivlm_pretrain, {}, {}),
    'words and rivals': (minivlm_pretrain, dict(match_loss='one_of_many'), dict(
        negatives='texts', max_tags=0, texts_per_picture=2)),
    'captions': (minivlm_caption_scenes, {}, {}),
    'answers by their targets': (minivlm_vqa, {}, {}),
}


def case(home, name):
  """A config, its data, and a batch of which every second picture counts less.
  """
  module, of_task, of_data = CASES[name]
  config = module.get_config('tiny')
  config.task.update(of_task)
  config.data.update(of_data | dict(data_dir=home))
  config.model.dropout = 0.0
  config.optimizer = dict(name='sgd', lr=1.0)
  config.schedule = dict(name='constant')
  data = opened(home, module, **config.data)
  batch = next(iter(data.train()))
  rows = len(batch['mask'])
  seldom = (np.arange(rows) * len(batch['regions']) // rows) % 2 == 1
  key = 'told' if 'told' in batch else 'target'
  batch[key] = batch[key] * np.where(seldom[:, None], np.arange(
      batch[key].shape[1]) < 1, 1).astype(batch[key].dtype)
  task = tasks.create(config.task)
  each = [np.asarray(weight, float).reshape(len(batch['regions']), -1)
          for weight in task.weights(batch).values()]
  # Or nothing of what follows could fail.
  assert any(one[::2].sum() > 1.3 * one[1::2].sum() for one in each)
  return config, data, batch


def stepped(config, data, batch, devices=1):
  """Loss and parameters of one step."""
  exp = experiment.build(config, data.sizes)
  mesh = sharding.make_mesh({'data': devices}, jax.devices()[:devices])
  made = program.make(exp, mesh, 10.0, 100)
  with jax.set_mesh(mesh):
    params = elastic.unbox(jax.jit(exp.model.init)(
        jax.random.key(1), exp.example())['params'])
    state = jax.device_put(
        made.method.init(jax.random.key(0), params), made.where)
    state, metrics = made.step(
        state, None, {'train': sharding.place(batch, mesh)})
  return metrics['loss/full'], jax.device_get(state.params)


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  return str(tmp_path_factory.mktemp('datasets'))


@pytest.mark.parametrize('name', CASES)
def test_parts_of_a_batch_step_as_the_whole(home, name):
  config, data, batch = case(home, name)
  whole = stepped(config, data, batch)
  config.micro_batches = 2
  chex.assert_trees_all_close(
      stepped(config, data, batch), whole, rtol=2e-4, atol=2e-5)


DEVICES = '''
import json, sys
import chex, test_shares
config, data, batch = test_shares.case(sys.argv[1], 'words and tags')
order = [*range(0, len(batch['mask']), 2), *range(1, len(batch['mask']), 2)]
batch = {key: x[order] for key, x in batch.items()}  # A device has the seldom.
chex.assert_trees_all_close(
    test_shares.stepped(config, data, batch, 2),
    test_shares.stepped(config, data, batch), rtol=2e-4, atol=2e-5)
print(json.dumps('alike'))
'''


def test_devices_step_as_one(home):
  assert virtual.run(DEVICES, 2, home) == 'alike'
