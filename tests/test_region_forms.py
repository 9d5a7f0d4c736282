"""Region features as archives and users have them: parts, mixtures, damage."""
import io
import json

from bst_jax.data import records, source
from bst_jax.data.builders import region_tsv, regions
from bst_jax.data.builders.problems import Problems
import made_up
import numpy as np
import pytest


def check(got, **seeds):
  """The arrays of each picture are those of its seed."""
  assert sorted(got) == sorted(seeds)
  for picture, seed in seeds.items():
    features, boxes, *_ = made_up.region_arrays(
        seed, len(got[picture]['boxes']), 16)
    np.testing.assert_array_equal(got[picture]['regions'], features)
    np.testing.assert_allclose(
        got[picture]['boxes'], boxes / np.float32([100, 50, 100, 50]),
        atol=1e-6)


def read(folder, *wanted, most=0):
  problems = Problems(most)
  return dict(regions.read(folder, wanted, problems)), problems


# Which files are read.


@pytest.mark.parametrize('names', [
    ('a.tsv', 'b.tsv'), ('a.tsv.0', 'a.tsv.1'), ('a.tsv.0', 'b.tsv'),
    ('a.TSV', 'deep/er/b.tsv.12')])
def test_parts_of_tsv_are_read(tmp_path, names):
  for name, pictures in zip(names, ('pq', 'rs')):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(''.join(
        made_up.tsv_line(p, ord(p)) for p in pictures))
  got, _ = read(tmp_path, *'pqrs')
  check(got, **{p: ord(p) for p in 'pqrs'})


def test_kinds_are_read_beside_each_other(tmp_path):
  (tmp_path / 'all.tsv').write_text(''.join(
      made_up.tsv_line(p, ord(p)) for p in 'pqr'))
  np.savez(tmp_path / 'stray.npz', x=1)
  made_up.npz(tmp_path / 's.npz', ord('s'))
  np.savez(tmp_path / 'q.npz', y=1)  # Another program's; the row holds.
  got, _ = read(tmp_path, *'pqrs')
  check(got, **{p: ord(p) for p in 'pqrs'})


@pytest.mark.parametrize('name', [
    'b.tsv.gz', 'b.npy', 'b.zip', 'b.h5', 'b.hdf5', 'b.pkl', 'b.tsv.part'])
def test_files_that_are_not_read_are_named(tmp_path, log, name):
  (tmp_path / name).write_bytes(b'1')
  with pytest.raises(ValueError, match=f'there are none, only .*{name}. Put'):
    read(tmp_path, 'p')
  (tmp_path / 'a.tsv').write_text(made_up.tsv_line('p', 1))
  with pytest.raises(ValueError, match=f'(?s)picture q.*Not read: .*{name}:'):
    read(tmp_path, 'p', 'q')
  check(read(tmp_path, 'p')[0], p=1)
  assert f'these files are not read: {tmp_path / name}' in log.text


def test_notes_and_strays_beside_features_are_no_matter(tmp_path, log):
  for name in ('readme.txt', '.DS_Store', '._a.tsv', '__MACOSX/a.npz',
               'list.csv'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b'1')
  (tmp_path / 'a.tsv').write_text(made_up.tsv_line('p', 1))
  check(read(tmp_path, 'p')[0], p=1)
  assert 'not read' not in log.text


def test_ids_with_zeros_in_front_are_others(tmp_path):
  (tmp_path / 'a.tsv').write_text(
      made_up.tsv_line('042', 1) + made_up.tsv_line('42', 2))
  made_up.npz(tmp_path / 'x_007.npz', 3)
  got, _ = read(tmp_path, '42', '042', '7', '007')
  check(got, **{'42': 2, '042': 1, '7': 3, '007': 3})
  with pytest.raises(ValueError, match='missing features: 1, as picture 0042'):
    read(tmp_path, '42', '0042')
  (tmp_path / 'x_007.npz').rename(tmp_path / 'x_7.npz')
  with pytest.raises(ValueError, match='missing features: 1, as picture 007'):
    read(tmp_path, '7', '007')


def test_a_link_that_leads_nowhere_is_named(tmp_path):
  made_up.npz(tmp_path / 'q.npz', 1)
  (tmp_path / 'p.npz').symlink_to(tmp_path / 'gone')
  with pytest.raises(ValueError, match='(?s)unusable features: 1.*p.npz'):
    read(tmp_path, 'p', 'q')
  (tmp_path / 'p.npz').unlink()
  (tmp_path / 'p.tsv').symlink_to(tmp_path / 'gone')
  with pytest.raises(ValueError, match='p.tsv was to be read, but cannot be'):
    read(tmp_path, 'p', 'q')


def test_several_files_of_a_picture_are_a_bad_record(tmp_path):
  for name in ('a_1', 'b_1', '2'):
    made_up.npz(tmp_path / f'{name}.npz', 2)
  with pytest.raises(ValueError, match="'1' was looked for, but 2 could"):
    read(tmp_path, '1', '2')
  got, problems = read(tmp_path, '1', '2', most=1)
  check(got, **{'2': 2})
  assert problems.counts == {'unusable features': 1}


# Rows that are cut off.


WHOLE = made_up.tsv_line('p', 7)


@pytest.mark.parametrize('cut', [
    WHOLE[:-40] + '\n', 'p\t100\t80\n', 'p\n', 'p\t100\t50\t3\tAAAA\tAAAA\n',
    WHOLE.replace('\t3\t', '\t4\t'), WHOLE.replace('\t3\t', '\tinf\t'),
    'p\t100\t50\t3\t\t\n', WHOLE[:300] + '\n'])
@pytest.mark.parametrize('first', [True, False])
def test_a_row_that_is_cut_does_not_use_up_its_picture(tmp_path, log, cut,
                                                       first):
  before = cut if first else made_up.tsv_line('r', 3) + cut
  (tmp_path / 'a.tsv').write_text(
      before + ''.join(made_up.tsv_line(p, ord(p)) for p in 'qr') + WHOLE)
  got, problems = read(tmp_path, *'pq')
  check(got, p=7, q=ord('q'))
  assert not problems.counts
  assert f'Picture p of line {1 if first else 2} of' in log.text


def test_a_file_that_is_no_text_does_not_fill_the_memory(tmp_path, monkeypatch):
  monkeypatch.setattr(region_tsv, '_MOST_BYTES', 2_000)
  (tmp_path / 'a.tsv').write_text('p\t' + 'x' * 9_000 + '\n' + WHOLE.replace(
      'p\t', 'q\t'))
  with pytest.raises(ValueError, match='the row has 9,003 bytes'):
    read(tmp_path, 'p', 'q')
  assert list(read(tmp_path, 'p', 'q', most=1)[0]) == ['q']


# Arrays.


def shares(seed=1):
  return made_up.region_arrays(seed, 3, 16)[1] / np.float32([100, 50, 100, 50])


@pytest.mark.parametrize('changed', [
    dict(x=made_up.region_arrays(1, 3, 16)[0].astype(np.float64)),
    dict(x=made_up.region_arrays(1, 3, 16)[0].T),
    dict(x=np.asfortranarray(made_up.region_arrays(1, 3, 16)[0])),
    dict(x=made_up.region_arrays(1, 3, 16)[0].astype('>f4')),
    dict(bbox=shares(), image_w=None, image_h=None),
    dict(bbox=shares(), image_w=1, image_h=1.0),
    dict(image_w=np.array([100]), image_h=np.array([[50.0]])),
    dict(num_bbox=3), dict(num_boxes=np.array([3])), dict(cls=np.arange(3)),
])
def test_arrays_of_other_types_are_the_same_numbers(tmp_path, changed):
  made_up.npz(tmp_path / 'p.npz', 1, **changed)
  check(read(tmp_path, 'p')[0], p=1)


def test_float16_and_whole_numbers_are_read_as_they_are(tmp_path):
  exact = np.arange(48).reshape(3, 16)
  for dtype in ('float16', 'uint8', 'int64', 'bool'):
    made_up.npz(tmp_path / 'p.npz', 1, x=exact.astype(dtype))
    got, _ = read(tmp_path, 'p')
    np.testing.assert_array_equal(
        got['p']['regions'], exact.astype(dtype).astype(np.float32))
    assert got['p']['regions'].dtype == np.float32


X = made_up.region_arrays(1, 3, 16)[0]


@pytest.mark.parametrize('changed, message', [
    (dict(num_bbox=2), 'it tells of 2 boxes, but bbox has the shape'),
    (dict(image_w=None), 'it tells one side of the picture alone'),
    (dict(bbox=shares()), 'lie in one pixel of 100 x 50: if they are shares'),
    (dict(bbox=np.float32([[50, 20, 10, 10]] * 3)), 'not x y width height'),
    (dict(x=np.where(X > 0.5, np.inf, X)), 'not finite'),
    (dict(x=X.astype(np.float64) * 1e300), 'not finite'),
    (dict(bbox=np.full((3, 4), np.nan)), 'not finite'),
    (dict(x=X.astype(str)), 'features are <U.*no numbers'),
    (dict(x=X.astype(complex)), 'features are complex128, no numbers'),
    (dict(x=X[None]), r'the shape \(1, 3, 16\)'),
    (dict(bbox=np.float32(1)), r'boxes have the shape \(\)'),
    (dict(image_w='100'), 'image_w is no number'),
    (dict(image_w=np.arange(3)), 'image_w is no number'),
    (dict(image_w=np.nan, image_h=np.nan), 'the picture is nan'),
    (dict(bbox=None), "it has no 'bbox', only"),
    (dict(x=np.array([X, None], object)), 'allow_pickle'),
])
def test_arrays_that_cannot_be_are_bad_records(tmp_path, changed, message):
  made_up.npz(tmp_path / 'p.npz', 1, **changed)
  made_up.npz(tmp_path / 'q.npz', 2)
  with pytest.raises(ValueError, match=f'(?s)unusable features: 1.*{message}'):
    read(tmp_path, 'p', 'q')
  got, _ = read(tmp_path, 'p', 'q', most=1)
  check(got, q=2)


@pytest.mark.parametrize('place', range(0, 1000, 50))
def test_a_damaged_archive_is_a_bad_record_or_whole(tmp_path, place):
  """Whatever numpy and zipfile raise of it."""
  file = io.BytesIO()
  features, boxes, *_ = made_up.region_arrays(1, 3, 16)
  np.savez_compressed(file, x=features, bbox=boxes, image_w=100, image_h=50)
  data = bytearray(file.getvalue())
  place = place * len(data) // 1000
  data[place:place + 12] = bytes(255 - b for b in data[place:place + 12])
  (tmp_path / 'p.npz').write_bytes(data)
  got, problems = read(tmp_path, 'p', most=1)
  if got:  # It was a date, or the like.
    check(got, p=1)
  else:
    assert problems.counts == {'unusable features': 1}


# GQA's files.


def h5(folder, info=(), features=(3, 4, 16)):
  h5py = pytest.importorskip('h5py')
  with h5py.File(folder / 'gqa_objects_0.h5', 'w') as file:
    file['features'] = np.zeros(features, np.float32)
    file['bboxes'] = np.zeros((*features[:2], 4), np.float32)
    for i in range(3):
      one, boxes, *_ = made_up.region_arrays(i, 3, features[-1])
      file['features'][i, :3], file['bboxes'][i, :3] = one, boxes
  about = {p: dict(file=0, idx=i, objectsNum=3, width=100, height=50)
           for i, p in enumerate('pqr')} | dict(info)
  made_up.write(folder / 'gqa_objects_info.json', about)


GOOD = dict(file=0, idx=2, objectsNum=3, width=100, height=50)


@pytest.mark.parametrize('entry, message', [
    (GOOD | dict(idx=99), 'idx is 99, but there are 3 pictures'),
    (GOOD | dict(idx=-1), 'idx is -1, not a number as it should be'),
    (GOOD | dict(idx=1.5), 'idx is 1.5'), (GOOD | dict(idx='2'), "idx is '2'"),
    (GOOD | dict(idx=10 ** 30), 'idx is 10000.*, but there are 3 pictures'),
    (GOOD | dict(width=10 ** 400), 'width is 10000'),
    (GOOD | dict(height=float('nan')), 'height is nan'),
    (GOOD | dict(objectsNum=None), 'objectsNum is None'),
    (GOOD | dict(objectsNum=5), 'objectsNum is 5, but a picture has 4 rows'),
    (GOOD | dict(objectsNum=0), r'boxes have the shape \(0, 4\)'),
    (GOOD | dict(objectsNum=True), 'objectsNum is True'),
    (GOOD | dict(width=None), 'width is None'),
    (GOOD | dict(width=0), 'the picture is 0'),
    (GOOD | dict(file=7), 'gqa_objects_7.h5, which is missing'),
    ([1], 'its entry is .1., without'), (None, 'its entry is None'),
    ({'file': 0}, 'its entry is .* without'),
])
def test_bad_entries_of_gqa_are_bad_records(tmp_path, entry, message):
  h5(tmp_path, {'r': entry})
  with pytest.raises(ValueError, match=f'(?s)unusable features: 1.*{message}'):
    read(tmp_path, *'pqr')
  got, problems = read(tmp_path, *'pqr', most=1)
  check(got, p=0, q=1)
  assert problems.counts == {'unusable features': 1}


@pytest.mark.parametrize('change, message', [
    (lambda f: (f / 'gqa_objects_info.json').write_text('[1]'), 'holds a list'),
    (lambda f: (f / 'gqa_objects_info.json').write_text('{'), 'it is no JSON'),
    (lambda f: (f / 'gqa_objects_info.json').rename(f / 'info.json'),
     'gqa_objects_info.json is missing'),
    (lambda f: (f / 'gqa_objects_0.h5').write_bytes(b'1'),
     'objects_0.h5 was to be read'),
    (lambda f: h5(f, features=(3, 4, 16, 1)), 'features have the shape'),
    (lambda f: (f / 'gqa_objects_0.h5').rename(f / 'objects.h5'),
     'there are none, only .*objects.h5'),
])
def test_files_of_gqa_that_are_none_are_named(tmp_path, change, message):
  h5(tmp_path)
  try:
    change(tmp_path)
  except (TypeError, ValueError):  # More axes than `h5` fills; it is there.
    made_up.write(tmp_path / 'gqa_objects_info.json', {'p': GOOD})
  with pytest.raises(ValueError, match=message):
    read(tmp_path, 'p', most=9)


def test_other_files_of_gqa_are_passed_over(tmp_path, log):
  h5(tmp_path)
  (tmp_path / 'gqa_spatial_0.h5').write_bytes(b'1')
  made_up.write(tmp_path / 'gqa_spatial_info.json', {'p': 1})
  (tmp_path / 'others.h5').write_bytes(b'1')
  check(read(tmp_path, *'pqr')[0], p=0, q=1, r=2)
  assert 'others.h5' in log.text and 'spatial' not in log.text


# The whole way.


def test_all_bad_records_of_a_folder_are_told_and_counted(tmp_path):
  """Of all kinds and splits; as many may be left out as there are."""
  mine = tmp_path / 'mine'
  made_up.folder(mine, train=6, val=3)
  (mine / 'features' / 'p0.npz').write_bytes(b'none')
  (mine / 'features' / 'p1.npz').unlink()
  made_up.npz(mine / 'features' / 'p7.npz', x=np.ones((2, 5)))
  path = mine / 'val_questions.json'
  rows = json.loads(path.read_text())
  rows['questions'][-1]['question'] = ' '
  path.write_text(json.dumps(rows))
  load = lambda most: source.load(dict(
      name='folder/regions', manual_dir=str(mine), eval='val', batch=2,
      data_dir=str(tmp_path / 'home'), min_answers=1, max_bad=most))
  for most in (0, 3):
    with pytest.raises(ValueError) as raised:
      load(most)
    for what in ('p0.npz', 'picture p1', 'p7.npz', 'question 81'):
      assert what in str(raised.value)
  data = load(4)
  assert sum(kind['count'] for kind in
             data.builder.info.metadata['left_out'].values()) == 4
  found = [r['image_id'].decode() for split in ('train', 'val')
           for r in records.read(data.builder, split, ['image_id'])]
  assert found == ['p2', 'p3', 'p4', 'p5', 'p6', 'p8']
