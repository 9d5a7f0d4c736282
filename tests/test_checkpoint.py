"""Checkpoints come back bit for bit, on any devices, or say why not."""
import os
import pathlib
import subprocess
import sys
import textwrap
import time
from typing import Any

from bst_jax.store import checkpoint
import chex
import flax
import jax
import jax.experimental.multihost_utils
import jax.numpy as jnp
import numpy as np
import optax
from orbax.checkpoint.experimental import v1 as ocp
import pytest

ROOT = pathlib.Path(__file__).parents[1]


@flax.struct.dataclass
class State:
  step: Any
  params: Any
  opt_state: Any
  rng: Any
  extra: Any = None
  frozen: Any = None
  ema: Any = None


def make_state(size=8, seed=0):
  rng = jax.random.key(seed)
  params = {
      'embed': {'kernel': jax.random.normal(rng, (size, 4))},
      'out': {'kernel': jnp.arange(4, dtype=jnp.bfloat16),
              'scale': jnp.ones(3)},
  }
  tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
  return State(jnp.int32(seed), params, tx.init(params), rng,
               extra={'gates': (jnp.ones(2), None), 'none': {}})


def abstract(tree):
  return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      tree)


def assert_same(a, b):
  """Equal structure, types and bits, keys included."""
  chex.assert_trees_all_equal_structs(a, b)
  chex.assert_trees_all_equal_dtypes(a, b)
  raw = lambda x: np.asarray(
      jax.random.key_data(x)
      if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
    assert raw(x).tobytes() == raw(y).tobytes()


def save(workdir, *steps, **options):
  states = {step: make_state(seed=step) for step in steps}
  with checkpoint.Store(workdir, **options) as store:
    for step, state in states.items():
      store.save(step, state, {'epoch': step, 'order': [1, None, 'a']})
  return states


def kept(workdir):
  return sorted(os.listdir(workdir / 'checkpoints'))


def truncate(folder):
  for path in folder.rglob('*'):
    if path.is_file():
      os.truncate(path, path.stat().st_size // 2)


def test_restored_is_what_was_saved(tmp_path):
  states = save(tmp_path, 1, 2)
  with checkpoint.Store(tmp_path) as store:
    assert store.latest_step() == 2
    for step in (1, 2):
      state, data = store.restore(abstract(states[step]), step)
      assert_same(state, states[step])
      assert data == {'epoch': step, 'order': [1, None, 'a']}
    newest, _ = store.restore(abstract(states[2]))
  assert_same(newest, states[2])
  # The key is one: it still draws, and draws the same.
  assert_same(jax.random.normal(newest.rng), jax.random.normal(states[2].rng))


def test_frozen_is_neither_saved_nor_touched(tmp_path):
  state = make_state().replace(frozen={'teacher': jnp.ones(5)})
  with checkpoint.Store(tmp_path) as store:
    store.save(1, state, {})
    restored, _ = store.restore(abstract(state.replace(frozen=None)))
    assert restored.frozen is None
    mine = {'other': np.zeros(2)}
    restored, _ = store.restore(abstract(state).replace(frozen=mine))
    assert restored.frozen is mine


def test_boxed_parameters_come_back_boxed_and_load_plain(tmp_path):
  boxed = flax.linen.Partitioned(jnp.ones(3), names=('embed',))
  state = make_state().replace(params={'a': boxed}, opt_state=None)
  with checkpoint.Store(tmp_path) as store:
    store.save(1, state, {})
    restored, _ = store.restore(jax.eval_shape(lambda: state))
  assert restored.params['a'].names == ('embed',)
  assert_same(restored.params, state.params)
  assert_same(checkpoint.load_params(tmp_path)['a'], np.ones(3, np.float32))


def test_donating_a_state_right_after_its_save_is_safe(tmp_path):
  step = jax.jit(lambda s: s.replace(params=jax.tree.map(jnp.add, s.params,
                                                         s.params)),
                 donate_argnums=0)
  state = make_state(size=100_000)
  before = jax.tree.map(lambda x: np.array(x), state.params)
  with checkpoint.Store(tmp_path) as store:
    store.save(1, state, {})
    state = step(state)
    jax.block_until_ready(state)
  assert_same(checkpoint.load_params(tmp_path), before)


def test_keeps_the_last_and_every_so_many(tmp_path):
  save(tmp_path, 5, 10, 15, 20, 25, keep=2, keep_every=10)
  assert kept(tmp_path) == ['10', '20', '25']


def test_due_and_saving_twice(tmp_path):
  with checkpoint.Store(tmp_path, save_every=10) as store:
    assert store.latest_step() is None
    assert [s for s in range(31) if store.due(s)] == [10, 20, 30]
    store.save(10, make_state(seed=1), {'n': 1})
    store.save(10, make_state(seed=2), {'n': 2})  # Skipped.
    _, data = store.restore(abstract(make_state()))
    assert data == {'n': 1}
  with checkpoint.Store(tmp_path, save_every=0) as store:
    assert not store.due(10)


def test_a_save_of_two_megabytes_is_quick(tmp_path):
  state = make_state(size=40_000)  # 0.64 MB, thrice with Adam's moments.
  with checkpoint.Store(tmp_path) as store:
    store.save(1, state, {})  # The first loads what orbax needs.
    store.wait()
    best = float('inf')
    for step in (2, 3, 4):
      began = time.perf_counter()
      store.save(step, state, {})
      best = min(best, time.perf_counter() - began)
      store.wait()
  assert best < 0.3


def test_a_damaged_newest_gives_way_to_the_one_before(tmp_path, caplog):
  states = save(tmp_path, 1, 2, 3)
  truncate(tmp_path / 'checkpoints' / '3')
  wanted = abstract(states[2])

  assert_same(checkpoint.load_params(tmp_path),
              jax.tree.map(np.asarray, states[2].params))
  assert kept(tmp_path) == ['1', '2', '3']  # Reading changes nothing.

  with checkpoint.Store(tmp_path) as store:
    with pytest.raises(ValueError, match='Other steps there: 1, 2'):
      store.restore(wanted, 3)
    caplog.clear()
    state, data = store.restore(wanted)
    assert_same(state, states[2])
    assert data['epoch'] == 2
    said = '\n'.join(r.getMessage() for r in caplog.records)
    assert 'checkpoints/2' in said and '3 cannot be read' in said
    assert store.latest_step() == 2
    store.save(3, states[3], {'again': True})
    state, data = store.restore(wanted)
  assert data == {'again': True}
  assert kept(tmp_path) == ['1', '2', '3', '3.unusable']


@pytest.mark.parametrize('part', [
    'params/d', 'train/d', 'params/manifest.ocdbt', '_CHECKPOINT_METADATA',
    'train/_METADATA'])
def test_any_lost_part_is_noticed(tmp_path, part):
  save(tmp_path, 1)
  path = tmp_path / 'checkpoints' / '1' / part
  files = [path] if path.is_file() else [p for p in path.iterdir()]
  for file in files:
    file.unlink()
  with checkpoint.Store(tmp_path) as store:
    with pytest.raises(ValueError, match='looked for in .*damaged'):
      store.restore(abstract(make_state()))


def test_another_models_checkpoint_names_what_differs(tmp_path):
  save(tmp_path, 1)
  other = make_state(size=6)
  other.params['new'] = jnp.ones(1)
  with checkpoint.Store(tmp_path) as store:
    with pytest.raises(ValueError) as error:
      store.restore(abstract(other))
  assert ('params/embed/kernel: saved float32[8, 4], wanted float32[6, 4]'
          in str(error.value))
  assert 'params/new: saved nothing, wanted float32[1]' in str(error.value)
  assert 'another config' in str(error.value)
  with pytest.raises(ValueError, match='params/embed/kernel'):
    checkpoint.load_params(tmp_path, abstract(other.params))
  assert kept(tmp_path) == ['1']  # Wrong, but not damaged.


def test_parameters_only(tmp_path):
  params = make_state().params
  checkpoint.save_params(tmp_path, params)
  assert_same(checkpoint.load_params(tmp_path),
              jax.tree.map(np.asarray, params))
  placed = checkpoint.load_params(tmp_path, abstract(params))
  assert_same(placed, params)
  half = jax.eval_shape(
      lambda: jax.tree.map(lambda x: x.astype(jnp.bfloat16), params))
  assert checkpoint.load_params(
      tmp_path, half)['embed']['kernel'].dtype == jnp.bfloat16

  with checkpoint.Store(tmp_path) as store:
    with pytest.raises(ValueError, match='parameters only.*config.start'):
      store.restore(abstract(make_state()))
  with pytest.raises(ValueError, match='there already'):
    checkpoint.save_params(tmp_path, params)


def test_nothing_there(tmp_path):
  with pytest.raises(ValueError, match='nowhere does not exist'):
    checkpoint.load_params(tmp_path / 'nowhere')
  (tmp_path / 'config.json').write_text('{}')
  with pytest.raises(ValueError, match='only config.json'):
    checkpoint.load_params(tmp_path)
  with checkpoint.Store(tmp_path) as store:
    with pytest.raises(ValueError, match="'checkpoints' is empty"):
      store.restore(abstract(make_state()))
  save(tmp_path, 1, 2)
  with pytest.raises(ValueError, match='only? the steps 1, 2'):
    checkpoint.load_params(tmp_path, step=7)


def test_data_state_must_be_json(tmp_path):
  with checkpoint.Store(tmp_path) as store:
    with pytest.raises(ValueError, match='dict of JSON'):
      store.save(1, make_state(), {'rng': np.zeros(2)})


DEVICES = textwrap.dedent('''
    import os, sys
    import jax
    saved, wanted, workdir, here = sys.argv[1:]
    jax.config.update('jax_platforms', 'cpu')
    jax.config.update('jax_num_cpu_devices', int(here))
    sys.path.insert(0, 'tests')
    import test_checkpoint as t
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    from bst_jax import checkpoint

    mesh = jax.make_mesh((int(here),), ('data',), axis_types=(AxisType.Auto,))
    state = t.make_state(seed=3)
    spec = lambda x: P('data') if x.shape[:1] in ((8,), (4,)) else P()
    where = jax.tree.map(lambda x: NamedSharding(mesh, spec(x)), state)
    state = jax.device_put(state, where)
    if wanted != '-':
      with checkpoint.Store(wanted) as store:
        assert not any('tmp' in name for name in t.kept(t.pathlib.Path(wanted)))
        restored, data = store.restore(t.abstract(state))
      assert data == {'n': 1}
      t.assert_same(restored, state)
      for x, sharding in zip(jax.tree.leaves(restored), jax.tree.leaves(where)):
        assert x.sharding.is_equivalent_to(sharding, x.ndim), (x, sharding)
    with checkpoint.Store(saved) as store:
      store.save(1, state, {'n': 1})
      store.wait()
      store.save(2, state, {'n': 2})
      os._exit(9)  # As if killed: checkpoint 2 is being written.
''')


def test_devices_may_change_and_a_kill_leaves_the_last_whole(tmp_path):
  previous = '-'
  for devices in (4, 1, 4):
    workdir = tmp_path / f'{devices}{previous == "-"}'
    done = subprocess.run(
        [sys.executable, '-c', DEVICES, workdir, previous, workdir,
         str(devices)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert '1' in kept(workdir) and '2' not in kept(workdir)
    previous = str(workdir)


@flax.struct.dataclass
class FirstState:
  """The fields that states had when the first checkpoints were written."""

  step: Any
  params: Any
  opt_state: Any
  rng: Any
  extra: Any = None
  frozen: Any = None


def test_the_first_checkpoints_are_gone_on_with(tmp_path):
  state = make_state(seed=3)
  first = FirstState(state.step, None, state.opt_state,
                     jax.random.key_data(state.rng), state.extra)
  ocp.save_checkpointables(
      tmp_path.absolute() / 'checkpoints' / '3',
      {'params': state.params, 'train': first},
      custom_metadata={'holds': 'state', 'data': [{'next_index': 3}]})
  with checkpoint.Store(tmp_path) as store:
    again, data = store.restore(abstract(state))
  assert_same(again, state)
  assert data == {'next_index': 3}


def test_saving_never_asks_jax_for_its_preemption_service(tmp_path,
                                                          monkeypatch):
  """It is off in runs of several processes, and orbax 0.11 asks all the same."""
  def off(step):
    raise RuntimeError('Preemption sync manager has not been initialized.')
  monkeypatch.setattr(
      jax.experimental.multihost_utils, 'reached_preemption_sync_point', off)
  state = make_state()
  with checkpoint.Store(tmp_path, save_every=1) as store:
    store.save(1, state, {})
  with checkpoint.Store(tmp_path) as store:
    assert_same(store.restore(abstract(state))[0], state)
