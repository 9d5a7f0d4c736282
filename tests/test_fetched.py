"""Files of a user's own in a bucket: fetched once, gone on with, then made from.

fsspec's file system in memory stands for a bucket.
"""
import os
import pathlib

from bst_jax.data import fetched, source
import fsspec
import made_up
import pytest

ADDRESS = 'memory://mine/questions'


@pytest.fixture
def bucket(tmp_path):
  """A folder of questions and region features, in memory."""
  made_up.folder(tmp_path / 'mine', train=8, val=4)
  files = fsspec.filesystem('memory')
  files.put(os.fspath(tmp_path / 'mine'), '/mine/questions', recursive=True)
  yield files
  files.rm('/mine', recursive=True)


def load(tmp_path, manual_dir, home):
  return source.load(dict(
      name='folder/regions', manual_dir=manual_dir, eval='val', batch=8,
      data_dir=os.fspath(tmp_path / home), min_answers=1))


def test_a_data_set_is_made_of_files_in_a_bucket(bucket, tmp_path):
  remote = load(tmp_path, ADDRESS, 'a')
  local = load(tmp_path, os.fspath(tmp_path / 'mine'), 'b')
  content = lambda data: [path.read_bytes() for path in sorted(
      pathlib.Path(data.builder.data_dir).glob('*.array_record*'))]
  assert content(remote) == content(local) and content(remote)
  # It is known by the address, and nobody asks the bucket again.
  bucket.store.clear()
  again = load(tmp_path, ADDRESS, 'a')
  assert again.builder.data_dir == remote.builder.data_dir
  bucket.put(os.fspath(tmp_path / 'mine'), '/mine/questions', recursive=True)


def test_a_fetch_goes_on(bucket, tmp_path, monkeypatch):
  copied, real = [], type(bucket).get_file

  def get_file(self, name, target, *args, **kwargs):
    copied.append(name)
    if len(copied) == 3:
      raise OSError('the line was cut')
    real(self, name, target, *args, **kwargs)

  monkeypatch.setattr(type(bucket), 'get_file', get_file)
  monkeypatch.setattr(fetched, '_AT_ONCE', 1)
  with pytest.raises(ValueError, match='cannot be read .the line was cut'):
    fetched.fetch(ADDRESS, tmp_path)
  kept = {path: path.stat().st_mtime_ns
          for path in fetched.place(ADDRESS, tmp_path).rglob('[!.]*')
          if path.is_file()}
  assert len(kept) >= 2
  folder = pathlib.Path(fetched.fetch(ADDRESS, tmp_path))
  names = {path.relative_to(folder) for path in folder.rglob('*')
           if path.is_file()}
  assert names == {path.relative_to(tmp_path / 'mine')
                   for path in (tmp_path / 'mine').rglob('*') if path.is_file()}
  assert {path: path.stat().st_mtime_ns for path in kept} == kept
  # A file that changed there is fetched anew, and nothing else.
  bucket.pipe('/mine/questions/val_questions.json', b'{"questions": []}')
  copied.clear()
  fetched.fetch(ADDRESS, tmp_path)
  assert [name.rpartition('/')[2] for name in copied] == ['val_questions.json']


def test_what_cannot_be_fetched(bucket, tmp_path, monkeypatch):
  with pytest.raises(ValueError, match='there are no files'):
    fetched.fetch('memory://mine/nothing', tmp_path)
  with pytest.raises(ValueError, match='manual_dir is nope://x/y, but'):
    fetched.fetch('nope://x/y', tmp_path)
  monkeypatch.setattr(fetched, '_RESERVE', 1 << 62)
  with pytest.raises(ValueError, match='GB of that disk are free'):
    fetched.fetch(ADDRESS, tmp_path)
