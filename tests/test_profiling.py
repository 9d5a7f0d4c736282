"""Steps that are traced, on a tiny function."""
import json
import re

from absl import logging
from bst_jax.run import profiling
import jax
import jax.numpy as jnp
import pytest


def traces(workdir):
  return sorted(workdir.glob('profile/plugins/profile/*/*.xplane.pb'))


def steps_of(file):
  """The numbers by which XProf tells the steps apart."""
  data = jax.profiler.ProfileData.from_file(str(file))
  return {int(value) for plane in data.planes for line in plane.lines
          for event in line.events if event.name == 'train'
          for name, value in event.stats if name == 'step_num'}


def loop(workdir, text, first, total, stop_after=None):
  step = jax.jit(lambda x: jnp.sin(x @ x))
  x = jnp.ones((8, 8))
  with profiling.Trace(profiling.parse(text), workdir, total) as trace:
    for n in range(first + 1, total + 1):
      trace.before(n, x)
      x = step(x)
      trace.after(n, x)
      if n == stop_after:
        break
  return x


def test_trace_holds_the_named_steps(tmp_path, caplog):
  logging.use_absl_handler()
  with caplog.at_level('INFO'):
    loop(tmp_path, '3:4', 0, 6)
  file, = traces(tmp_path)
  assert steps_of(file) == {3, 4}

  memory = json.loads((tmp_path / 'profile/memory.json').read_text())
  assert memory['step'] == 4
  assert [row['device'] for row in memory['devices']] == [
      str(d) for d in jax.local_devices()]
  assert (tmp_path / 'profile/memory.prof').stat().st_size
  known = memory['devices'][0]['statistics'] is not None
  assert ('keeps no statistics' in caplog.text) != known


def test_a_run_that_ends_or_begins_in_the_middle(tmp_path, caplog):
  loop(tmp_path / 'stopped', '2:5', 0, 6, stop_after=3)
  assert steps_of(*traces(tmp_path / 'stopped')) == {2, 3}
  loop(tmp_path / 'resumed', '2:5', 4, 6)
  assert steps_of(*traces(tmp_path / 'resumed')) == {5}
  loop(tmp_path / 'past', '2:3', 4, 6)
  assert not traces(tmp_path / 'past')
  loop(tmp_path / 'none', None, 0, 2)
  assert not (tmp_path / 'none').exists()


@pytest.mark.parametrize('text, message', [
    ('15:10', '10:15 would trace'), ('10-15', 'give FIRST:LAST'),
    ('10', 'give FIRST:LAST'), ('0:5', 'counted from 1'),
    ('', 'cannot be read'),
])
def test_wrong_text(text, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    profiling.parse(text)


def test_steps_beyond_the_last(tmp_path):
  profiling.Trace(profiling.parse('5:6'), tmp_path, 6)
  with pytest.raises(ValueError, match='whose last step is 6'):
    profiling.Trace(profiling.parse('5:7'), tmp_path, 6)
