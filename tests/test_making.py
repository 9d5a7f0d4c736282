"""Making data sets: killed makers, several of them, full disks, lost shards."""
import errno
import importlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import types

from bst_jax.data import buckets, records, source
from bst_jax.data.builders import found, region_files
from bst_jax.data.builders.class_folders.builder import ClassFolders
from bst_jax.data.builders.folder.builder import Folder
from bst_jax.data.builders.problems import Problems, Unusable
from bst_jax.data.making import (
  data_sets,
  half,
  maker,
  mending,
  plan,
  preparing,
  shards,
  workers,
)
import made_up
import numpy as np
import pytest

SHARD = 4_000  # bytes; a picture of the folder below takes about 400

# Makes data sets in processes of its own, each of which kills itself at an
# event of that number, be it a record written or a file renamed. TensorFlow is not
# there, even where it is installed.
MAKER = '''
import json, os, signal, sys

class Hiding:
  def __init__(self, finder):
    self.finder = finder
  def __getattr__(self, name):
    return getattr(self.finder, name)
  def find_spec(self, name, *args):
    if name.partition('.')[0] != 'tensorflow':
      return self.finder.find_spec(name, *args)

sys.meta_path[:] = map(Hiding, sys.meta_path)
from bst_jax.data.builders.folder import builder
from bst_jax.data.making import half, preparing, shards, workers

events, pids = dict(record=0, replace=0, rename=0), []

def counted(what, function):
  def call(*args, **keywords):
    events[what] += 1
    if last == (events[what] if kind == what else
                kind == 'any' and sum(events.values())):
      tell()
      os.kill(os.getpid(), signal.SIGKILL)
    return function(*args, **keywords)
  return call

def tell():
  assert 'tensorflow' not in sys.modules
  print(json.dumps([sum(events.values()), pids]), flush=True)

class Workers(workers.Workers):
  def _start(self):
    super()._start()
    pids[:] = [p.pid for p in self._processes]

for line in sys.stdin:
  name, home, mine, processes, shard_bytes, kind, last = json.loads(line)
  if not os.fork():
    shards.zlib = type('zlib', (), {'crc32': staticmethod(
        counted('record', shards.zlib.crc32))})
    os.replace = counted('replace', os.replace)
    os.rename = counted('rename', os.rename)
    workers.Workers = Workers
    preparing.prepare(name, home, mine, processes=processes,
                      shard_bytes=shard_bytes)
    tell()
    os._exit(0)
  print(os.wait()[1], flush=True)
'''

# An ordinary builder of TFDS, with a generator that counts what it is asked.
BUILDER = '''
import numpy as np
import tensorflow_datasets as tfds

class Builder(tfds.core.GeneratorBasedBuilder):
  """Squares."""
  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    return tfds.core.DatasetInfo(builder=self, features=(
        tfds.features.FeaturesDict({
            'square': np.int64, 'text': tfds.features.Text()})))

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(400),
            'test': self._generate_examples(7)}

  def _generate_examples(self, count):
    for i in range(count):
      yield f'number {i}', {'square': i * i, 'text': f'{i} ' * 40}
'''


@pytest.fixture(scope='module')
def mine(tmp_path_factory):
  """A folder of 60 and 20 pictures with region features."""
  folder = tmp_path_factory.mktemp('mine')
  made_up.folder(folder, 60, 20)
  return folder


def make(home, manual_dir, name='folder/regions', **options):
  return preparing.prepare(name, str(home), str(manual_dir),
                           **dict(shard_bytes=SHARD, processes=1) | options)


def content(folder):
  """Bytes of all files below a folder, by name."""
  return {os.path.relpath(path, folder): pathlib.Path(path).read_bytes()
          for path in found.files(folder)}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Function that makes a data set in a process of its own.

  It returns whether that was killed, its events, and pids of its workers.
  """
  place = tmp_path_factory.mktemp('builders')
  (place / 'squares').mkdir()
  (place / 'squares' / 'builder.py').write_text(BUILDER)
  process = subprocess.Popen(
      [sys.executable, '-c', MAKER], stdin=subprocess.PIPE,
      stdout=subprocess.PIPE, text=True, env=os.environ | {
          'PYTHONPATH': os.pathsep.join([str(place), *sys.path])})

  def run(name, home, mine, processes, kind, last):
    json.dump([name, str(home), str(mine), processes, SHARD, kind, last],
              process.stdin)
    print(file=process.stdin, flush=True)
    events, pids = json.loads(process.stdout.readline())
    status = int(process.stdout.readline())
    assert status in (0, signal.SIGKILL)
    return status != 0, events, pids

  yield run
  process.stdin.close()
  process.wait()


def alive(pid):
  try:
    stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    return 'Z' not in stat.split(')')[1]
  except OSError:
    return False


@pytest.mark.parametrize('name, least', [
    ('folder/regions', 6), ('squares.builder', 9)])
def test_a_killed_maker_goes_on(run, mine, tmp_path, name, least):
  killed, events, _ = run(name, tmp_path / 'whole', mine, 1, 'any', 0)
  assert not killed
  rng, kept = np.random.default_rng(0), []
  # The last one dies while the files get their last names.
  kills = [('any', int(n)) for n in rng.integers(20, events // 3, 4)]
  for kind, last in [*kills, ('rename', 3)]:
    assert run(name, tmp_path / 'killed', mine, 1, kind, last)[0]
    begun, = (tmp_path / 'killed').rglob(f'*{half.ENDING}')
    kept.append(len([*begun.glob('*-*.json')]))
  assert kept == sorted(kept) and 0 < kept[0] < kept[-1]
  killed, rest, _ = run(name, tmp_path / 'killed', mine, 1, 'any', 0)
  assert not killed and 0 < rest < events
  whole = content(tmp_path / 'whole')
  assert content(tmp_path / 'killed') == whole
  assert sum('.array_record-' in path for path in whole) >= least


def test_other_processes_make_the_same_and_end_with_the_maker(
    run, mine, tmp_path):
  make(tmp_path / 'one', mine)
  # It dies when it notes the second shard: amid the others.
  killed, _, pids = run('folder/regions', tmp_path / 'two', mine, 2, 'replace',
                        4)
  assert killed and len(pids) == 2
  begun, = (tmp_path / 'two').rglob(f'*{half.ENDING}')
  assert [*begun.glob('train-*.records')]
  wait = threading.Event()
  for _ in range(100):
    if not any(map(alive, pids)):
      break
    wait.wait(0.05)
  assert not any(map(alive, pids))
  make(tmp_path / 'two', mine, processes=2)
  assert content(tmp_path / 'two') == content(tmp_path / 'one')


def leave(item):
  os._exit(7)


def cannot(item):
  raise ZeroDivisionError(f'item {item}')


def test_what_happens_in_another_process_is_told(tmp_path):
  encoder = maker.encoder(data_sets.builder_of('fashion_mnist', str(tmp_path)))
  with workers.workers(1) as pool:
    for read, error, message in (
        (cannot, ZeroDivisionError, 'item 5'),
        (leave, RuntimeError, r'died \(exit code 7\).*stay')):
      job = shards.Job(str(tmp_path / 'a'), shards.Shard(0, 1), [5], read,
                       encoder, 0)
      with pytest.raises(error, match=message):
        [*pool.make([job], lambda *done: None)]
  assert not (tmp_path / 'a').exists()


def test_a_set_of_several_shards_is_read(mine, tmp_path):
  builder = make(tmp_path, mine)
  assert len(builder.info.splits['train'].filenames) > 4
  assert builder.info.metadata['kept'] == {
      'regions': 'float16', 'boxes': 'float32'}
  read = records.read(builder, 'train', ['image_id', 'regions', 'boxes'])
  assert [r['image_id'].decode() for r in read] == [f'p{i}' for i in range(60)]
  assert read[7]['regions'].dtype == np.float16
  assert read[7]['boxes'].dtype == np.float32
  assert (read[7]['regions'][:, 1] == 1).all()
  assert len(read.questions().start) == 60 + 1
  data = source.load(dict(name='folder/regions', data_dir=str(tmp_path),
                          manual_dir=str(mine), eval='val', batch=4))
  assert next(data.train())['regions'].dtype == np.float32


def test_a_set_that_tfds_wrote_is_read_as_it_is(mine, tmp_path):
  config = data_sets.builder_of('folder', str(tmp_path), str(mine)
                                ).builder_config
  old = Folder(config=config, data_dir=str(tmp_path),
               file_format='array_record', store_dtype='float32')
  old.source = found.fingerprint(mine)
  old._kept = dict  # It did not tell.
  old.download_and_prepare(download_config=maker.tfds.download.DownloadConfig(
      manual_dir=str(mine)))
  assert not pathlib.Path(old.data_dir, half.INDEX).exists()
  before = content(tmp_path)
  builder = make(tmp_path, mine)
  assert builder.info.features['regions'].np_dtype == np.float32
  read = records.read(builder, 'val', ['regions', 'boxes', 'image_id'])
  features, boxes, *_ = made_up.region_arrays(61, 3, 16)
  record, = (r for r in read if r['image_id'] == b'p61')
  assert record['regions'].dtype == np.float32
  np.testing.assert_allclose(
      record['boxes'], boxes / np.array([100, 50, 100, 50]), atol=1e-6)
  paths = content(tmp_path)
  assert {p: paths[p] for p in before} == before


def test_float32_is_another_way_and_float16_has_bounds(mine, tmp_path, log):
  builder = make(tmp_path / 'a', mine, store_dtype='float32')
  assert builder.info.metadata['kept']['regions'] == 'float32'
  assert 'regions are kept as float32' in log.text
  shutil.copytree(mine, tmp_path / 'mine')
  made_up.npz(tmp_path / 'mine' / 'features' / 'p7.npz',
              x=np.full((3, 16), 1e5, np.float32))
  with pytest.raises(ValueError, match='p7.*reach 100000.*store_dtype=float32'):
    make(tmp_path / 'b', tmp_path / 'mine')
  read = records.read(make(tmp_path / 'b', tmp_path / 'mine',
                           store_dtype='float32'), 'train', ['regions'])
  assert max(r['regions'].max() for r in read) == 1e5
  with pytest.raises(ValueError, match='no config.data.store_dtype .int8'):
    make(tmp_path / 'c', mine, store_dtype='int8')


# Disks and folders.


class Full:
  """A writer of array_record on a disk that has no room for three records."""

  def __init__(self, *args):
    self.left = 3

  def write(self, record):
    self.left -= 1
    if self.left < 0:
      raise RuntimeError('write() failed: No space left on device; writing x')

  def close(self):
    pass


def test_a_full_disk_is_told_and_nothing_is_lost(mine, tmp_path, monkeypatch):
  usage = shutil.disk_usage(tmp_path)
  with monkeypatch.context() as patch:
    patch.setattr(shutil, 'disk_usage', lambda p: usage._replace(free=1000))
    with pytest.raises(ValueError, match='(?s)to be made, .* GB .*are free. '
                       'Make room'):
      make(tmp_path, mine)
  replace, calls = os.replace, []

  def full(*args):
    calls.append(args)
    if len(calls) == 7:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return replace(*args)

  with monkeypatch.context() as patch:
    patch.setattr(os, 'replace', full)
    with pytest.raises(ValueError, match='the disk is full. Make room.*stay'):
      make(tmp_path, mine)
  begun, = tmp_path.rglob(f'*{half.ENDING}')
  kept = content(begun)
  assert sum(path.endswith('.records') for path in kept) == 3
  with monkeypatch.context() as patch:
    patch.setattr(shards, 'array_record_module',
                  types.SimpleNamespace(ArrayRecordWriter=Full))
    with pytest.raises(ValueError, match='the disk is full. Make room.*stay'):
      make(tmp_path, mine)
  assert content(begun) == kept
  make(tmp_path, mine)
  make(tmp_path / 'other', mine)
  assert content(tmp_path / 'other' / 'folder') == content(tmp_path / 'folder')


def stopped(monkeypatch, home, mine, count=3):
  """Makes so many shards, as far as Ctrl-C."""
  keep, calls = half.Half.keep, []

  def kept(self, *args):
    keep(self, *args)
    calls.append(args)
    if len(calls) == count:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(half.Half, 'keep', kept)
    with pytest.raises(KeyboardInterrupt):
      make(home, mine)
  begun, = home.rglob(f'*{half.ENDING}')
  return begun


def test_a_folder_that_changed_is_not_mixed(mine, tmp_path, monkeypatch, log):
  other = tmp_path / 'mine'
  shutil.copytree(mine, other)
  begun = stopped(monkeypatch, tmp_path / 'home', other)
  assert len([*begun.glob('*.records')]) == 3
  made_up.npz(other / 'features' / 'p0.npz', 5, count=4)
  builder = make(tmp_path / 'home', other)
  assert 'made halfway' in log.text and 'change of source' in log.text
  first = records.read(builder, 'train', ['boxes'])[0]['boxes']
  assert len(first) == 4
  assert not begun.exists()


def test_more_bad_records_may_be_allowed_without_beginning_anew(
    mine, tmp_path, monkeypatch):
  other = tmp_path / 'mine'
  shutil.copytree(mine, other)
  for picture in ('p50', 'p59'):
    (other / 'features' / f'{picture}.npz').write_bytes(b'nothing')
  with pytest.raises(ValueError, match='(?s)unusable features: .*p5.*max_bad'):
    make(tmp_path, other, max_bad=1)
  make_shard = shards.make

  def rest(job, tell):
    assert 'train-00000' not in job.path
    return make_shard(job, tell)

  with monkeypatch.context() as patch:
    patch.setattr(shards, 'make', rest)
    builder = make(tmp_path, other, max_bad=2)
  left_out = builder.info.metadata['left_out']['unusable features']
  assert left_out['count'] == 2
  assert ['p50' in left_out['first'][0], 'p59' in left_out['first'][1]] == [
      True, True]
  assert len(builder.info.metadata['pictures']['train']) == 58


def test_the_second_maker_waits(mine, tmp_path, log):
  builder = data_sets.builder_of('folder/regions', str(tmp_path), str(mine))
  lock = tmp_path / f'.folder_{builder.builder_config.name}.lock'
  second = threading.Thread(target=make, args=(tmp_path, mine))
  with preparing._alone(lock, 'x'):
    second.start()
    for _ in range(200):
      if 'Another process makes' in log.text:
        break
      threading.Event().wait(0.02)
    assert 'Another process makes' in log.text
    assert not [*tmp_path.rglob('*.records')]
  second.join()
  assert data_sets.is_whole(builder)


# Files of records that are lost.


def test_one_lost_file_is_made_alone(mine, tmp_path, log):
  builder = make(tmp_path / 'a', mine)
  folder = pathlib.Path(builder.data_dir)
  lost = sorted(folder.glob('*train.array_record*'))[2]
  before, times = content(folder), {p: p.stat().st_mtime_ns
                                    for p in folder.iterdir()}
  assert str(lost) in mending.remedy(folder, lost.name)
  for damage in (lost.unlink,
                 lambda: lost.write_bytes(before[lost.name][:999])):
    damage()
    with pytest.raises(ValueError, match=f'{lost.name}.*manual_dir is empty'):
      again = Folder(config=builder.builder_config,
                     data_dir=str(tmp_path / 'a'), file_format='array_record')
      mending.check(again, mending.broken(folder), '')
    with pytest.raises(ValueError, match=f'{lost.name}.*is no folder'):
      mending.check(again, mending.broken(folder), str(tmp_path / 'gone'))
    make(tmp_path / 'a', mine)
    assert content(folder) == before
    assert {p: p.stat().st_mtime_ns for p in times if p != lost} == {
        p: t for p, t in times.items() if p != lost}
    assert f'{lost} is missing or cut short: it is made again' in log.text
    log.clear()


def test_a_lost_file_of_a_generator_is_made_alone(tmp_path, monkeypatch):
  (tmp_path / 'squares').mkdir()
  (tmp_path / 'squares' / 'builder.py').write_text(
      BUILDER.replace("f'{i} '", "f'{i + OFFSET} '") + '\nOFFSET = 0\n')
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.delitem(sys.modules, 'squares.builder', raising=False)
  builder = make(tmp_path, '', 'squares.builder')
  folder = pathlib.Path(builder.data_dir)
  before = content(folder)
  lost = sorted(folder.glob('*train*'))[3]
  lost.unlink()
  assert content(make(tmp_path, '', 'squares.builder').data_dir) == before
  read = records.read(builder, 'train', ['square'])
  assert [r['square'] for r in read] == [i * i for i in range(400)]
  lost.unlink()
  importlib.import_module('squares.builder').OFFSET = 1
  with pytest.raises(ValueError, match='would not be what they were'):
    make(tmp_path, '', 'squares.builder')
  assert not lost.exists()


# Plans.


def test_items_are_cut_into_runs_of_as_many_bytes():
  assert plan.cut([1] * 6, 2) == [(0, 2), (2, 4), (4, 6)]
  assert plan.cut([], 2) == []
  assert plan.cut([9], 2) == [(0, 1)]
  assert plan.cut([9, 1, 9, 1], 4) == [(0, 1), (1, 3), (3, 4)]
  rng = np.random.default_rng(0)
  sizes = rng.integers(1, 2_000_000, 5_000)
  for limit in (1 << 30, 1 << 27, 1 << 22):
    edges = plan.cut(sizes, limit)
    assert [a for a, _ in edges[1:]] == [b for _, b in edges[:-1]]
    assert edges[0][0] == 0 and edges[-1][1] == len(sizes)
    totals = [sizes[a:b].sum() for a, b in edges]
    assert max(totals) <= limit + sizes.max()
    assert max(totals) - min(totals) <= 2 * sizes.max()
  assert len(plan.cut(sizes, 1 << 30)) == 16


def test_pictures_of_classes_come_in_the_order_that_tfds_gives_them(tmp_path):
  for kind in ('cat', 'dog', 'cow'):
    for i in range(8):
      path = tmp_path / 'mine' / 'train' / kind / f'{i}.jpg'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(made_up.picture(i))
  builder = make(tmp_path / 'a', tmp_path / 'mine', 'class_folders')
  read = records.read(builder, 'train', ['file_name', 'label'])
  names = [r['file_name'].decode() for r in read]

  class Shuffled(ClassFolders, skip_registration=True):  # As TFDS writes it.

    def _plan(self, folder, noted):
      for example in super()._plan(folder, noted):
        yield example[1]['file_name'], example[1]

  Shuffled.name = 'class_folders'
  old = Shuffled(config=builder.builder_config, data_dir=str(tmp_path / 'b'),
                 file_format='array_record')
  old.source, old.most_bad = '', 0
  old.download_and_prepare(download_config=maker.tfds.download.DownloadConfig(
      manual_dir=str(tmp_path / 'mine')))
  assert names == [r['file_name'].decode()
                   for r in records.read(old, 'train', ['file_name'])]
  assert {n.split('/')[0] for n in names[:8]} == {'cat', 'dog', 'cow'}
  assert read.column('label').tolist() == [r['label'] for r in read]


@pytest.mark.parametrize('ends', ['\n', '\r\n'])
def test_rows_are_found_without_reading_them(tmp_path, ends):
  lines = [made_up.tsv_line(i, i, count, 2048).rstrip('\n') for i, count in (
      (3, 2), (1, 1), (5, 4), (9, 2), (4, 3))]
  lines[2:2] = ['7\t100\t50\t2\tAAAA', '', 'x', lines[0][:-30]]
  (tmp_path / 'a.tsv').write_bytes(ends.join(lines).encode())
  places = [*region_files.places(tmp_path, ['1', '3', '4', '5', '7'])]
  assert [(p.picture, p.where.split()[1]) for p in places] == [
      ('3', '1'), ('1', '2'), ('7', '3'), ('3', '6'), ('5', '7'), ('4', '9')]
  for i in (0, 1, 4, 5):
    features, boxes, width, height = region_files.load(places[i])
    wanted = made_up.region_arrays(int(places[i].picture), len(boxes), 2048)
    np.testing.assert_array_equal(features, wanted[0])
    np.testing.assert_array_equal(boxes, wanted[1])
  with pytest.raises(ValueError, match='5 columns, not 6'):
    region_files.load(places[2])


def test_of_many_files_some_are_asked_for_their_times(tmp_path, monkeypatch):
  for i in range(10):
    (tmp_path / f'{i}').write_text('x')
  whole, full = found.fingerprint(tmp_path), found.fingerprints(tmp_path)
  assert full == (whole, whole) and not whole.startswith('sampled')
  monkeypatch.setattr(found, '_MOST_ASKED', 4)
  few, all_ = found.fingerprints(tmp_path)
  assert few.startswith('sampled') and all_ == whole
  assert found.is_fingerprint(few, tmp_path)
  assert found.is_fingerprint(whole, tmp_path)  # Of a set made before.
  (tmp_path / '1').write_text('changed')
  assert found.is_fingerprint(few, tmp_path)
  assert not found.is_fingerprint(whole, tmp_path)
  (tmp_path / '1').rename(tmp_path / '11')
  assert not found.is_fingerprint(few, tmp_path)


def test_what_is_unusable_is_added_up():
  problems = Problems(3)
  problems.add('bad', 'a')
  problems.merge({'bad': {'count': 2, 'first': ['b', 'c']}})
  assert problems.report() == {'bad': {'count': 3, 'first': ['a', 'b', 'c']}}
  with pytest.raises(ValueError, match='bad: 3, as a; b; c\n  worse: 1, as d'):
    problems.merge({'worse': {'count': 1, 'first': ['d']}})
  error = Unusable('kind', 'words')
  assert (error.kind, str(error)) == ('kind', 'words')


def test_a_bucket_is_no_folder_here(mine, tmp_path, monkeypatch):
  assert os.fspath(data_sets.data_dir('gs://mine/data')) == 'gs://mine/data'
  assert data_sets.data_dir('here') == pathlib.Path('here').absolute()
  monkeypatch.setenv('BST_JAX_DATA', 'gs://mine')
  assert os.fspath(data_sets.data_dir()) == 'gs://mine'
  builder = data_sets.builder_of('folder/regions', str(tmp_path), str(mine))
  monkeypatch.setattr(buckets, 'is_remote', lambda path: True)
  with pytest.raises(ValueError, match='made on disks only.*gcloud storage cp'):
    preparing._check_place(builder, 'folder', str(tmp_path))
  assert not [*tmp_path.iterdir()]
