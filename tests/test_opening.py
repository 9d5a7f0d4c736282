"""Opening a data set reads no pictures, and says what is not there."""
import json
import os
import subprocess
import sys
import threading

from array_record.python import array_record_module
from bst_jax.data import example, kept, records, shards, source, widen
import numpy as np
import pytest
import tensorflow_datasets as tfds


def folder(path, pictures=6, val=3):
  """Files of a `folder` data set: two questions a picture."""
  (path / 'features').mkdir(parents=True)
  first = 0
  for split, count in (('train', pictures), ('val', val)):
    of = [first + i // 2 for i in range(2 * count)]
    first += count
    asked = [{'question_id': i, 'image_id': p, 'question': f'What is {i % 3}?'}
             for i, p in enumerate(of)]
    said = [{'question_id': i, 'image_id': p, 'answers': ['yes', 'no ü'][i % 2]}
            for i, p in enumerate(of)]
    (path / f'{split}_questions.json').write_text(
        json.dumps({'questions': asked}))
    (path / f'{split}_annotations.json').write_text(
        json.dumps({'annotations': said}))
  for i in range(first):
    np.savez(path / 'features' / f'{i}.npz', bbox=np.float32([[0, 0, 1, 1]]),
             x=np.full((1, 4), i, np.float32))
  return path


@pytest.fixture
def load(tmp_path):
  files = folder(tmp_path / 'files')
  return lambda **options: source.load(dict(
      name='folder/regions', data_dir=str(tmp_path / 'home'), batch=2,
      eval='val', manual_dir=str(files)) | options)


def one(tmp_path, pattern):
  return next((tmp_path / 'home').rglob(pattern))


def test_opening_reads_one_picture_and_no_questions(load, tmp_path,
                                                    monkeypatch):
  before = load()
  rows = before.split('train').rows
  aside = one(tmp_path, 'train.questions.jsonl')
  content = aside.read_bytes()
  aside.write_bytes(b'\0' * len(content))  # It is not read again.
  read = []
  monkeypatch.setattr(example.Reader, '__call__', lambda self, record, call=(
      example.Reader.__call__): read.append(record) or call(self, record))
  data = load()
  assert len(set(read)) == 1  # Its first picture gives the shapes.
  for name in ('texts', 'types', 'truths', 'answers', 'ids', 'start'):
    assert list(getattr(data.split('train').rows, name)) == list(
        getattr(rows, name)), name
  some = load(limit=2).split('train').rows
  assert list(some.texts) == rows.texts[:4]
  assert some.answers[3] == rows.answers[3] == ('no ü',) * 10
  next(data.train())
  assert len(set(read)) == 6  # Now they are kept in memory.
  aside.write_bytes(content[:-20])
  with pytest.raises(ValueError, match='jsonl was to be read.* Delete'):
    load()


def test_a_folder_that_cannot_be_written_is_read(load, tmp_path, monkeypatch):
  wanted = list(load().split('train').rows.texts)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  place = one(tmp_path, 'train.questions.npz')
  place.unlink()
  place.mkdir()  # As permissions do not bind everybody.
  assert list(load().split('train').rows.texts) == wanted
  cached = list((tmp_path / 'cache').rglob('*.npz'))
  assert len(cached) == 1
  one(tmp_path, 'train.questions.jsonl').touch()
  assert list(load().split('train').rows.texts) == wanted
  cached[0].write_bytes(cached[0].read_bytes()[:-9])  # Made anew.
  assert list(load().split('train').rows.texts) == wanted


def test_columns_are_kept(tmp_path):
  place = kept.Kept(tmp_path / 'set', 'mark')
  place.save('a.npy', np.arange(3))
  assert place.array('a.npy', 3).tolist() == [0, 1, 2]
  assert place.array('a.npy', 4) is None and place.array('b.npy', 3) is None
  place.save('b.npz', {'source': np.int64(5), 'x': np.arange(2)})
  assert place.arrays('b.npz', 5)['x'].tolist() == [0, 1]
  assert place.arrays('b.npz', 6) is None


@pytest.mark.parametrize('damage, why', [
    ('gone', 'is not there'), ('cut', 'is damaged or cut short'),
    ('other', 'it has 1 records, not 6')])
def test_a_damaged_shard_is_named_when_its_split_is_opened(
    load, tmp_path, damage, why):
  builder = load().builder
  path = one(tmp_path, '*-train.array_record*')
  if damage == 'gone':
    path.unlink()
  elif damage == 'cut':
    path.write_bytes(path.read_bytes()[:-100])
  else:
    write(path, [b'x'])
  with pytest.raises(ValueError, match=f'{path}.*{why}.*Delete that file alone'):
    records.Records(builder, 'train', ['regions'])
  path.unlink(missing_ok=True)
  load()  # It alone was made again.
  assert path.exists()


def test_stored_arrays_are_those_that_tfds_reads():
  f, rng = tfds.features, np.random.default_rng(0)
  features = f.FeaturesDict({
      'half': f.Tensor(shape=(None, None), dtype=np.float16, encoding='bytes'),
      'rows': f.Tensor(shape=(None, 4), dtype=np.float32, encoding='bytes'),
      'fixed': f.Tensor(shape=(2, 3), dtype=np.int32, encoding='bytes'),
      'listed': f.Tensor(shape=(None, 2), dtype=np.float32),
      'packed': f.Tensor(shape=(None, 2), dtype=np.float32, encoding='zlib'),
      'number': f.Scalar(np.int64), 'label': f.ClassLabel(num_classes=3),
      'text': f.Text(), 'questions': f.Sequence({'question': f.Text()})})
  for count in (1, 3):
    record = features.serialize_example({
        'half': rng.random((count, 5)).astype(np.float16),
        'rows': rng.random((count, 4), np.float32), 'label': 1,
        'fixed': np.arange(6, dtype=np.int32).reshape(2, 3), 'number': 7,
        'listed': rng.random((count, 2), np.float32), 'text': 'ü',
        'packed': rng.random((count, 2), np.float32),
        'questions': [{'question': 'what?'}] * count})
    wanted = features.deserialize_example_np(record)
    for parts in ([*features], ['half'], ['questions', 'rows'], ['label']):
      found = example.Reader(features, parts)(record)
      assert found.keys() == set(parts)
      for part in parts:
        assert np.asarray(found[part]).dtype == np.asarray(wanted[part]).dtype
        np.testing.assert_equal(found[part], wanted[part])


def test_every_half_float_is_widened_exactly():
  every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
  for values in (every, every[np.isfinite(every)], every[::2],
                 np.float32([1, 2])):
    out = np.zeros(values.shape, np.float32)
    widen.into(values, out)
    np.testing.assert_array_equal(out, values.astype(np.float32))


def write(path, contents):
  writer = array_record_module.ArrayRecordWriter(
      os.fspath(path), 'group_size:1,uncompressed')
  for content in contents:
    writer.write(content)
  writer.close()


def tiny_shards(path, count, each=3):
  path.mkdir(exist_ok=True)
  contents = [[b'%d %d' % (i, j) for j in range(each)] for i in range(count)]
  for i, content in enumerate(contents):
    write(path / str(i), content)
  return [str(path / str(i)) for i in range(count)], sum(contents, [])


def test_few_shards_are_open_at_a_time(tmp_path):
  paths, wanted = tiny_shards(tmp_path, 12)
  pool = shards.Pool(3)
  found = shards.Shards(paths, [3] * 12, pool)
  assert not list(found.check()) and list(found) == wanted
  failures = []

  def read(seed):
    for i in np.random.default_rng(seed).integers(36, size=100).tolist():
      if found[i] != wanted[i] or len(pool) > 3:
        failures.append(i)

  threads = [threading.Thread(target=read, args=(n,)) for n in range(6)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not failures and len(pool) == 3
  write(paths[0], [b'new'] * 3)  # Another file of that name is another file.
  assert shards.Shards(paths, [3] * 12, pool)[0] == b'new'
  pool.close()
  assert not len(pool)


_MANY = '''
import os, resource, sys
from bst_jax.data import records, shards
paths = [os.path.join(sys.argv[1], str(i)) for i in range(60)]
opened = lambda: len(os.listdir('/proc/self/fd'))
resource.setrlimit(resource.RLIMIT_NOFILE, (opened() + int(sys.argv[2]),) * 2)
found = shards.Shards(paths, [3] * 60)
print([why for _, why in found.check()], len(list(found)), len(shards.POOL))
shards.POOL.close()
holding = []
try:
  while True:
    holding.append(open(os.devnull))
except OSError:
  pass
holding.pop()
print(found[0], found[179], len(shards.POOL))
shards.POOL.close()
holding.append(open(os.devnull))
try:
  found[100]
except OSError as error:
  print(shards.advice(error))
'''


@pytest.mark.skipif(sys.platform != 'linux', reason='/proc counts open files')
def test_more_shards_than_the_system_lets_be_open(tmp_path):
  tiny_shards(tmp_path, 60)
  out = subprocess.run(
      [sys.executable, '-c', _MANY, str(tmp_path), '14'], text=True, check=True,
      capture_output=True).stdout.splitlines()
  assert out[0].startswith('[] 180 ') and 2 <= int(out[0].split()[-1]) <= 14
  assert out[1] == "b'0 0' b'59 2' 1"  # With a single one to spare.
  assert 'too many files are open' in out[2] and 'elete' not in out[2]


def test_too_many_open_files_never_advises_to_delete(load, monkeypatch):
  data = load(cache=False)
  found = data.split('train').pictures._records

  def fails(path):
    raise OSError(24, os.strerror(24), path)

  shards.POOL.close()
  monkeypatch.setattr(shards, '_reader', fails)
  with pytest.raises(ValueError, match='ulimit -n') as error:
    found[0]
  assert 'Delete' not in str(error.value)
  cls = type(data.builder)

  def opens(*args, **kwargs):
    raise RuntimeError('it cannot be') from OSError(24, os.strerror(24))

  monkeypatch.setattr(cls, '__init__', opens)
  with pytest.raises(ValueError, match='ulimit -n') as error:
    load()
  assert 'Delete' not in str(error.value)


@pytest.mark.parametrize('cache', [True, False])
def test_uneven_shards_give_each_example_once_an_epoch(tmp_path, cache):
  """On 1, 2 and 4 hosts, and after a stop in the middle."""
  files = folder(tmp_path / 'files', pictures=26)
  home = str(tmp_path / 'home')
  builder = records.prepare('folder/regions', home, str(files), shard_bytes=900)
  lengths = builder.info.splits['train'].shard_lengths
  assert len(set(lengths)) > 1 and len(lengths) > 4, lengths
  config = dict(name='folder/regions', data_dir=home, manual_dir=str(files),
                eval='val', batch=4, cache=cache, threads=2)
  steps = 26  # Two epochs of 52 questions.
  seen = {}
  for hosts in (1, 2, 4):
    streams = [source.load(config, shard_index=i, shard_count=hosts).train()
               for i in range(hosts)]
    seen[hosts] = [[next(stream) for stream in streams] for _ in range(steps)]
    places = [stream.get_state() for stream in streams]
    wanted = [next(stream) for stream in streams]
    for i, (place, batch) in enumerate(zip(places, wanted)):
      again = source.load(config, shard_index=i, shard_count=hosts).train()
      again.set_state(place)
      for key, array in next(again).items():
        np.testing.assert_array_equal(array, batch[key], err_msg=key)
  joined = {hosts: [{key: np.concatenate([one[key] for one in each])
                     for key in each[0]} for each in batches]
            for hosts, batches in seen.items()}
  for hosts in (2, 4):
    for one, other in zip(joined[1], joined[hosts], strict=True):
      for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)
  # A question is told by its picture and the answer that it is trained with.
  for epoch in (joined[1][:13], joined[1][13:]):
    rows = [(int(x), int(t)) for batch in epoch for x, t in zip(
        batch['regions'][:, 0, 0], batch['target'].argmax(1))]
    assert all(batch['mask'].all() for batch in epoch)
    assert sorted(rows) == [(i, t) for i in range(26) for t in range(2)]
