"""Data sets in buckets are read as those on a disk; what fails says why.

Where gcsfs is installed, a process of its own reads from a server that stands in
for Google's, by the code that reads from Google's.
"""
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

from bst_jax.data import buckets, source
from bst_jax.data.making import mending, preparing
import bucket
import made_up
import pytest

needs_gcsfs = pytest.mark.skipif(
    importlib.util.find_spec('gcsfs') is None,
    reason="gcsfs is not installed: pip install -e '.[gcs]'")
ROOT = pathlib.Path(__file__).parents[1]
ADDRESS = 'gs://bst-shared/data/sets'
READ = """
import hashlib, json, sys, urllib.request
from bst_jax.data import source

def digest(batch):
  sha = hashlib.sha256()
  for key in sorted(batch):
    sha.update(f'{key} {batch[key].dtype} {batch[key].shape}'.encode())
    sha.update(batch[key].tobytes())
  return sha.hexdigest()

def opened(home, name, index=0, count=1, **more):
  return source.load({'name': name, 'data_dir': home, 'batch': 8, **more},
                     shard_index=index, shard_count=count)

def mark(name):  # Seen by the server.
  urllib.request.urlopen(f"{os.environ['STORAGE_EMULATOR_HOST']}/marks/{name}")

def said(config):
  try:
    source.load(config)
  except ValueError as error:
    return str(error)
"""


def run(program, server, *arguments, tmp_path):
  """What a process prints as JSON that takes the server for Google's."""
  out = subprocess.run(
      [sys.executable, '-c', f'import os\n{READ}\n{program}', *arguments],
      capture_output=True, text=True, timeout=120, cwd=ROOT,
      env=os.environ | server.environment | {
          'PYTHONPATH': os.pathsep.join(sys.path),
          'XDG_CACHE_HOME': os.fspath(tmp_path / 'cache'),
          # Only Google's own server knows how its buckets are laid out.
          'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false'})
  assert out.returncode == 0, out.stderr[-4000:]
  return json.loads(out.stdout.splitlines()[-1])


@pytest.fixture
def shared(tmp_path):
  """Data sets on a disk, and a bucket with a copy of them."""
  home, manual = tmp_path / 'home', tmp_path / 'mine'
  made_up.folder(manual, train=40, val=16)
  preparing.prepare('digit_scenes/tiny', os.fspath(home))
  preparing.prepare('folder/regions', os.fspath(home), os.fspath(manual),
                    shard_bytes=1)
  shutil.copytree(home, tmp_path / 'buckets/bst-shared/data/sets')
  (tmp_path / 'buckets/marks').mkdir()
  for index in range(2):
    for name in ('begin', 'end'):
      (tmp_path / f'buckets/marks/{name}_{index}').write_text('x')
  return home, manual


@needs_gcsfs
def test_a_bucket_gives_what_the_disk_gives(shared, tmp_path):
  home, manual = shared
  program = """
home, manual = sys.argv[1:]
result = {}
for name, more in (('digit_scenes/tiny', {}),
                   ('folder/regions', dict(manual_dir=manual, eval='val',
                                           cache=False, min_answers=1))):
  for index, count in ((0, 1), (1, 2)):
    data = opened(home, name, index, count, **more)
    feed = data.train()
    result[f'{name} {index}/{count}'] = [
        *(digest(next(feed)) for _ in range(3)),
        *map(digest, data.evaluation())]
print(json.dumps(result))
"""
  with bucket.served(tmp_path / 'buckets') as server:
    disk, remote = (run(program, server, os.fspath(place), os.fspath(manual),
                        tmp_path=tmp_path) for place in (home, ADDRESS))
  assert remote == disk
  assert len(set(disk['digit_scenes/tiny 0/1'])) > 4  # They are not all alike.
  records = {name for name, _ in server.read if 'array_record' in name}
  assert len(records) > 2  # Of both data sets, and they were read there.


@needs_gcsfs
def test_hosts_read_the_records_of_their_share(shared, tmp_path):
  _, manual = shared  # A record a file.
  program = """
address, manual = sys.argv[1:]
for index in range(2):
  data = opened(address, 'folder/regions', index, 2, manual_dir=manual,
                eval='train', allow_overlap=True, cache=False, min_answers=1,
                limit=32, threads=2)  # None are tried out.
  batches = data.evaluation()
  mark(f'begin_{index}')
  for _ in batches:
    pass
  mark(f'end_{index}')
print('null')
"""
  with bucket.served(tmp_path / 'buckets') as server:
    run(program, server, ADDRESS, os.fspath(manual), tmp_path=tmp_path)
  names = [name for name, _ in server.read]
  shares = [{name for name in names[names.index(f'begin_{index}'):
                                    names.index(f'end_{index}')]
             if 'train.array_record' in name} for index in range(2)]
  assert [len(share) for share in shares] == [16, 17]
  assert [name[-14:] for name in shares[0] & shares[1]] == [
      '00000-of-00040']  # The first record tells shapes.


@needs_gcsfs
def test_questions_are_read_once_and_kept_in_a_cache(shared, tmp_path):
  _, manual = shared
  program = """
address, manual = sys.argv[1:]
texts = [list(opened(address, 'folder/regions', manual_dir=manual, eval='val',
                     min_answers=1).split('train').rows.texts)
         for _ in range(2)]
assert texts[0] == texts[1]
print(json.dumps(len(texts[1])))
"""
  with bucket.served(tmp_path / 'buckets') as server:
    assert run(program, server, ADDRESS, os.fspath(manual), tmp_path=tmp_path
               ) == 80
  asked = [where for name, where in server.read
           if name.endswith('train.questions.jsonl')]
  assert len([where for where in asked if where.startswith('bytes=0-')]) == 1
  assert list((tmp_path / 'cache').rglob('train.questions.npz'))
  assert not list((tmp_path / 'buckets').rglob('*.npz'))  # Left as it was.


@needs_gcsfs
def test_what_cannot_be_read_is_said_in_a_sentence(shared, tmp_path):
  lost = next((tmp_path / 'buckets').rglob('digit_scenes-train*'))
  lost.unlink()
  program = """
from bst_jax.data import buckets

def silent(home):  # As where records alone cannot be reached.
  def in_time(function):
    raise TimeoutError('no answer within 15 seconds')
  buckets.in_time = in_time
  return said({'name': 'digit_scenes/tiny', 'data_dir': home})

print(json.dumps([said({'name': name, 'data_dir': home}) for name, home in (
    ('digit_scenes/tiny', 'gs://bst-locked/x'),
    ('digit_scenes/tiny', 'gs://bst-nowhere/x'),
    ('digit_scenes/easy', sys.argv[1]), ('digit_scenes/tiny', sys.argv[1]))]
    + [silent(sys.argv[1])]))
"""
  began = time.monotonic()
  with bucket.served(tmp_path / 'buckets', locked=('bst-locked',)) as server:
    locked, nowhere, unmade, shard, silent = run(program, server, ADDRESS,
                                                 tmp_path=tmp_path)
  assert time.monotonic() - began < 60  # The library itself tries for minutes.
  assert locked.startswith('Data sets were to be read from gs://bst-locked/x, '
                           'but permission is denied')
  assert 'gcloud auth application-default login' in locked
  assert 'there is no bucket bst-nowhere' in nowhere
  assert f'gcloud storage cp -r DIR/digit_scenes {ADDRESS}/' in unmade
  assert f'{lost.name}, but the file is not there.' in shard
  assert f'gcloud storage cp {lost.name} {ADDRESS}/digit_scenes/tiny/1.0.0/' in (
      shard)
  assert 'cannot be read (no answer within 15 seconds). See that' in silent
  assert 'gcloud auth application-default login' in silent


def test_no_answer_is_not_waited_for(monkeypatch):
  monkeypatch.setattr(buckets, '_PATIENCE', 0.05)
  began = time.monotonic()
  with pytest.raises(TimeoutError, match='no answer within'):
    buckets.in_time(lambda: time.sleep(5))
  assert time.monotonic() - began < 3
  assert buckets.in_time(lambda: 3) == 3
  with pytest.raises(KeyError, match='lost'):
    buckets.in_time(lambda: {}['lost'])


class Answers:
  """A file system of fsspec that answers a list in one way."""

  def __init__(self, answer):
    self._answer = answer

  def __call__(self):
    return self

  def ls(self, path):
    if isinstance(self._answer, Exception):
      raise self._answer
    if self._answer is None:
      time.sleep(5)
    return self._answer

  def exists(self, path):
    return False


class Code(Exception):
  code = 401


@pytest.mark.parametrize(('answer', 'says'), [
    (FileNotFoundError('b'), 'there is no bucket mine, or it is empty'),
    (PermissionError('no'), 'permission is denied'),
    (OSError('Forbidden: b/x'), 'permission is denied'),
    (Code('Anonymous caller'), r'permission is denied \(Anonymous caller\)'),
    (OSError('many\nlines'), r'that fails \(many lines\)'),
    (None, 'did not answer within'),
])
def test_what_a_bucket_answers_is_said(monkeypatch, answer, says):
  fsspec = pytest.importorskip('fsspec')
  monkeypatch.setattr(buckets, '_PATIENCE', 0.05 if answer is None else 15.0)
  monkeypatch.setattr(fsspec, 'get_filesystem_class', lambda _: Answers(answer))
  with pytest.raises(ValueError, match=says) as error:
    buckets.check.__wrapped__('gs://mine/data')
  assert str(error.value).startswith(
      'Data sets were to be read from gs://mine/data, but ')
  assert '\n' not in str(error.value)


def test_a_missing_package_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'fsspec', None)
  with pytest.raises(ValueError, match=r"pip install 'bst_jax\[gcs\]'"):
    source.load({'name': 'digit_scenes/tiny', 'data_dir': 'gs://mine/data'})


def test_other_addresses_are_refused_with_what_works(monkeypatch):
  monkeypatch.setenv('BST_JAX_DATA', 's3://mine/data')
  with pytest.raises(ValueError, match='s3://mine/data, but records .* gs://'):
    source.load({'name': 'digit_scenes/tiny'})


def test_a_folder_of_yours_is_found_by_its_path():
  hint = 'give the config.data.manual_dir that it was made with'
  for by_folder in (True, False):
    said = buckets.refusal_to_make('class_folders/x_1', 'gs://mine/d', by_folder)
    assert said.endswith('gcloud storage cp -r DIR/class_folders gs://mine/d/')
    assert (hint in said) == by_folder


@needs_gcsfs
def test_a_data_set_is_named_by_a_folder_that_is_not_there(shared, tmp_path):
  _, manual = shared
  shutil.rmtree(manual)
  program = """
address, manual = sys.argv[1:]
more = dict(form='questions', eval='val', min_answers=1)
data = opened(address, 'folder/regions', manual_dir=manual, **more)
print(json.dumps([len(data.split('train').rows.texts), said(dict(
    more, name='folder/regions', data_dir=address, batch=8))]))
"""
  with bucket.served(tmp_path / 'buckets') as server:
    count, said = run(program, server, ADDRESS, os.fspath(manual),
                      tmp_path=tmp_path)
  assert count == 80
  assert 'give the config.data.manual_dir that it was made with' in said


def test_a_file_of_a_bucket_is_mended_by_a_copy():
  said = mending.remedy('gs://mine/data/x/1.0.0', 'x-train.array_record')
  assert said.endswith(
      'gcloud storage cp x-train.array_record gs://mine/data/x/1.0.0/')
  assert 'Delete' not in said
