"""A file is whole or not there."""
from bst_jax.host import files
import pytest


def test_the_file_appears_whole(tmp_path):
  path = tmp_path / 'new' / 'a.json'
  with files.beside(path) as place:
    place.write_text('first')
    assert not path.exists() and place.suffix == '.json'
  assert path.read_text() == 'first'
  assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text('old')
  with pytest.raises(OSError, match='full'):
    with files.beside(path) as place:
      place.write_text('ne')
      raise OSError('the disk is full')
  assert path.read_text() == 'old'
  assert list(tmp_path.iterdir()) == [path]
