"""Meshes and rules; what needs several devices runs in a process of its own."""
from bst_jax import elastic
from bst_jax.learn import sharding
from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
import pytest
import virtual

FOUR = '''
import json
from bst_jax import elastic, methods, tasks
from bst_jax.learn import sharding, state
from bst_jax.layers.ats import ats_select
import jax, numpy as np, optax
import models

assert jax.device_count() == 4
out = {}
for axes in ({'data': 3, 'fsdp': 1}, {'data': -1, 'fsdp': 3},
             {'data': 2, 'fsdp': 1}, {'data': -1, 'fsdp': 8}):
  try:
    sharding.make_mesh(axes)
  except ValueError as error:
    out[json.dumps(axes)] = str(error)
mesh = sharding.make_mesh({'data': -1, 'fsdp': 2})
out['mesh'] = dict(mesh.shape)

# Sampling sees one image at a time: split over devices it is the same.
scores = np.random.default_rng(0).random((4, 16)).astype(np.float32)
pick = lambda s: ats_select(s, num_points=16, capacity=10)
split = jax.sharding.PartitionSpec(('data', 'fsdp'))
apart = jax.shard_map(pick, mesh=mesh, in_specs=split, out_specs=split)(scores)
out['sampling'] = all(bool((a == b).all())
                      for a, b in zip(apart, pick(scores), strict=True))

# Width 16 splits over two, 7 channels of a word do not.
model, batch, _, _ = models.build('mcan_vqa', num_layers=1, word=7, dropout=0.0)
batch = batch | models.batch_of('target', 'mask')
boxed = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
axes, shapes = elastic.names(boxed), elastic.unbox(boxed)
params = models.random_params(shapes)
method = methods.create(
    dict(name='plain'), model=model, task=tasks.create(dict(name='vqa')),
    tx=optax.adam(1e-2), axes=axes, space=elastic.Space(), micro_batches=1)
where = sharding.shardings(
    jax.eval_shape(method.init, jax.random.key(0), boxed), mesh, 'fsdp')
for name in ('words/table', 'question_adapter/kernel', 'question_adapter/bias',
             'classifier/kernel', 'question_pool/scores/fc1/kernel'):
  out[name] = list(elastic.flatten(where.params)[name].spec)
out['moments'] = where.opt_state[0].mu == where.params
out['step'] = list(where.step.spec)
odd = sharding.make_mesh({'data': 1, 'fsdp': 4})
out['odd'] = list(sharding.shardings(
    models.nn.LogicallyPartitioned(
        jax.ShapeDtypeStruct((6, 8), np.float32), ('embed', 'mlp')),
    odd, 'fsdp').spec)

try:
  sharding.check_batch({'tokens': np.ones((4, 5)), 'regions': np.ones((2, 4))},
                       mesh)
except ValueError as error:
  out['check'] = str(error)
batch = dict(batch, regions=np.concatenate([batch['regions']] * 2))
sharding.check_batch(batch, mesh)

begin = method.init(jax.random.key(0), params)
plain = jax.jit(method.step)
with jax.set_mesh(mesh):
  spread = jax.jit(method.step, out_shardings=(where, None))
  now = jax.device_put(begin, where)
  placed = sharding.place({k: np.asarray(v) for k, v in batch.items()}, mesh)
  out['rows'] = sorted({s.data.shape[0]
                        for s in placed['tokens'].addressable_shards})
  many = []
  for _ in range(2):
    now, metrics = spread(now, {'train': placed})
    many.append(float(metrics['loss/full']))
out['shard'] = list(
    now.params['question_adapter']['kernel'].addressable_shards[0].data.shape)
one, now = [], begin
for _ in range(2):
  now, metrics = plain(now, {'train': batch})
  one.append(float(metrics['loss/full']))
print(json.dumps(out | {'many': many, 'one': one}))
'''


@pytest.fixture(scope='module')
def four():
  """What the program above prints on four virtual devices."""
  return virtual.run(FOUR, 4)


def test_a_mesh_covers_all_devices_or_says_what_would(four):
  assert four['mesh'] == {'data': 2, 'fsdp': 2}
  bad = [four[key] for key in four if key.startswith('{')]
  assert len(bad) == 4
  assert all('does not cover the 4 devices here' in message
             and 'One of them may be -1' in message for message in bad)


def test_fsdp_splits_what_divides_and_replicates_the_rest(four):
  assert four['question_adapter/kernel'] == [None, 'fsdp']
  assert four['question_adapter/bias'] == ['fsdp']
  # A square kernel has two such axes, and a mesh axis splits one.
  assert four['question_pool/scores/fc1/kernel'] == ['fsdp', None]
  assert four['classifier/kernel'] == [None, None]  # `fused` stays whole.
  assert four['words/table'] == [None, None]  # 7 channels over 2.
  assert four['odd'] == [None, None]  # 6 over 4.
  assert four['moments'] is True  # The optimiser's follow the parameters.
  assert four['step'] == []
  assert four['shard'] == [6, 8]


def test_a_mesh_changes_no_loss(four):
  assert four['rows'] == [1]  # 4 questions over 4 devices.
  assert four['many'] == pytest.approx(four['one'], rel=1e-4)
  assert four['one'][1] != pytest.approx(four['one'][0], rel=1e-2)


def test_a_batch_that_does_not_split_says_so(four):
  assert "leading sizes {'regions': 2}" in four['check']
  assert 'multiples of 4' in four['check']


def test_rule_tables_name_every_axis():
  for name, rules in sharding.RULES.items():
    assert [axis for axis, _ in rules] == list(elastic.AXES), name
  assert {axis for axis, to in sharding.FSDP if to} == {
      'embed', 'pool', 'word'}
  assert not any(to for _, to in sharding.REPLICATED)


def boxed(*names):
  return {'x': nn.LogicallyPartitioned(
      jax.ShapeDtypeStruct((4,) * len(names), jnp.float32), names)}


def test_an_axis_without_a_rule_is_an_error():
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 1})
  with pytest.raises(ValueError, match=(
      r"no sharding rule for the axis names \['wheels'\].*elastic.AXES")):
    sharding.shardings(boxed('embed', 'wheels'), mesh, 'fsdp')
  with pytest.raises(ValueError, match=r"\['mlp'\]; rules exist for \['embed'"):
    sharding.shardings(boxed('embed', 'mlp'), mesh, [['embed', 'fsdp']])
  with pytest.raises(ValueError, match="Did you mean 'fsdp'"):
    sharding.shardings(boxed('embed'), mesh, 'fsdpp')


def test_rules_read_the_name_and_not_the_owner():
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 1})
  place = lambda *names, rules='fsdp': sharding.shardings(
      boxed(*names), mesh, rules)['x'].spec
  assert place('mlp@a/ffn', 'embed@stage_1') == PartitionSpec(None, 'fsdp')
  # Tables written before these names have the rules of what they were.
  table = [['embed', 'fsdp'], ['heads', None], ['head_dim', None]]
  assert place('heads@a', 'query_dim@a', rules=table) == PartitionSpec(
      None, None)
  assert place('pool@a', rules=table) == PartitionSpec('fsdp')


def test_sampled_tokens_do_not_depend_on_the_mesh(four):
  assert four['sampling'] is True
