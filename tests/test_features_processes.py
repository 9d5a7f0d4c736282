"""Two processes share the files of region features, and write what one does."""
import os
import socket
import subprocess
import sys

from bst_jax.data import picture_source
from bst_jax.run import features
from test_features import detector, extractor, TINY  # noqa: F401  Fixtures.


def test_two_processes_write_what_one_does(
    detector, extractor, tmp_path):  # noqa: F811
  features.write(extractor, picture_source.of(TINY), tmp_path / 'one')
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  runs = [subprocess.Popen(
      [sys.executable, '-m', 'bst_jax.features', f'--workdir={detector}',
       f'--images={TINY}', f'--output={tmp_path / "two"}', '--multihost',
       f'--coordinator=localhost:{port}', '--num_processes=2',
       f'--process_id={i}'], text=True, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, env=os.environ | {'JAX_PLATFORMS': 'cpu'})
          for i in range(2)]
  said = [run.communicate(timeout=300)[0] for run in runs]
  assert not any(run.returncode for run in runs), said
  assert 'of 160 of 160 pictures' in said[0] and '160' not in said[1]
  names = sorted(path.name for path in (tmp_path / 'one').iterdir())
  assert sorted(path.name for path in (tmp_path / 'two').iterdir()) == names
  for name in names:
    assert (tmp_path / 'two' / name).read_bytes() == (
        tmp_path / 'one' / name).read_bytes(), name
