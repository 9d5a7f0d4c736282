"""Files of region features that users bring, and what is bad of them."""
from absl import logging
from bst_jax.data import forms, text, vocabularies
from bst_jax.data.builders import region_files, regions
from bst_jax.data.builders.problems import Problems
from bst_jax.data.forms import questions
import made_up
import numpy as np
import pytest


def wanted(seed, count=3, size=16):
  features, boxes, *_ = made_up.region_arrays(seed, count, size)
  return features, boxes / np.array([100, 50, 100, 50], np.float32)


def check(got, ids):
  for picture, arrays in got.items():
    features, boxes = wanted(ids[picture], len(arrays['boxes']))
    np.testing.assert_array_equal(arrays['regions'], features)
    np.testing.assert_allclose(arrays['boxes'], boxes, atol=1e-6)
    assert arrays['regions'].flags['C_CONTIGUOUS']


def test_npz_either_way_round(tmp_path):
  made_up.npz(tmp_path / '1.npz', 1)
  made_up.npz(tmp_path / 'deep' / 'COCO_2.jpg.npz', 2, transposed=True)
  made_up.npz(tmp_path / '3.npz', 3, image_w=None, image_h=None, width=100,
              height=50)
  made_up.npz(tmp_path / '4.npz', 4, image_w=None, image_h=None,
              bbox=wanted(4)[1])
  got = dict(regions.read(tmp_path, ['4', '2', '3', '1'], Problems(), 16))
  assert list(got) == ['4', '2', '3', '1']
  check(got, {str(i): i for i in range(1, 5)})


def test_tsv_in_its_own_order_and_once(tmp_path):
  (tmp_path / 'a.tsv').write_text(''.join(
      made_up.tsv_line(i, i, 2 + i % 2) for i in (3, 9, 1, 3)))
  (tmp_path / 'b.tsv').write_text(made_up.tsv_line(2, 2))
  got = dict(regions.read(tmp_path, ['1', '2', '3'], Problems()))
  assert list(got) == ['3', '1', '2']
  check(got, {str(i): i for i in range(1, 4)})


def test_h5_of_gqa(tmp_path):
  h5py = pytest.importorskip('h5py')
  about = {}
  for number in range(2):
    with h5py.File(tmp_path / f'gqa_objects_{number}.h5', 'w') as file:
      features = np.zeros((2, 100, 16), np.float32)
      boxes = np.zeros((2, 100, 4), np.float32)
      for i in range(2):
        seed = 2 * number + i
        features[i, :3], boxes[i, :3], width, height = made_up.region_arrays(
            seed, 3, 16)
        about[f'n{seed}'] = dict(width=width, height=height, objectsNum=3,
                                 idx=i, file=number)
      file['features'], file['bboxes'] = features, boxes
  made_up.write(tmp_path / 'gqa_objects_info.json', about)
  got = dict(regions.read(tmp_path, ['n3', 'n1', 'n0'], Problems(), 16))
  assert list(got) == ['n0', 'n1', 'n3']
  check(got, {f'n{i}': i for i in range(4)})
  damaged = tmp_path / 'gqa_objects_1.h5'
  damaged.write_bytes(damaged.read_bytes()[:-100])
  with pytest.raises(ValueError, match='objects_1.h5 was to be read'):
    list(regions.read(tmp_path, ['n3'], Problems()))
  (tmp_path / 'gqa_objects_info.json').unlink()
  with pytest.raises(ValueError, match='gqa_objects_info.json is missing'):
    list(regions.read(tmp_path, ['n0'], Problems()))


@pytest.mark.parametrize('changed, message', [
    (dict(size=8), 'regions have 8 features, not 16'),
    (dict(x=np.ones((2, 16))), 'does not fit 3 boxes'),
    (dict(bbox=np.ones((3, 5))), r'shape \(3, 5\)'),
    (dict(bbox=np.ones((0, 4))), r'shape \(0, 4\)'),
    (dict(x=np.full((3, 16), np.nan)), 'not finite'),
    (dict(bbox=np.full((3, 4), 500)), 'boxes reach from 500'),
    (dict(image_w=0), 'the picture is 0'),
    (dict(image_w=None, image_h=None), 'boxes reach from'),
    (dict(x=None), "it has no 'x'"),
    (dict(x=np.array([{}], object)), 'allow_pickle'),
    (b'', 'not a zip file'), (b'PK\x03\x04 no more', ''), (None, ''),
])
def test_bad_features_are_listed(tmp_path, changed, message):
  path = tmp_path / '2.npz'
  made_up.npz(tmp_path / '1.npz', 1)
  if isinstance(changed, dict):
    made_up.npz(path, **changed)
  elif changed is not None:
    path.write_bytes(changed)
  with pytest.raises(ValueError, match=f'(?s)picture 2.*{message}.*max_bad'):
    list(regions.read(tmp_path, ['1', '2'], Problems()))
  problems = Problems(1)
  assert list(dict(regions.read(tmp_path, ['1', '2'], problems))) == ['1']
  assert problems.counts.total() == 1


def test_features_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
  made_up.npz(tmp_path / '1.npz')
  monkeypatch.setattr(region_files, '_MOST_BYTES', 100)
  with pytest.raises(ValueError, match='it unpacks to'):
    list(regions.read(tmp_path, ['1'], Problems()))


def test_words_that_are_not_read_are_told_of(caplog):
  vocab = text.Vocabulary.build(['is it red'])
  asked_ = questions.Questions(
      ['is it red', 'is it mauve', 'is it red is it'], ['other'] * 3, ['yes'] * 3,
      [('yes',) * 10] * 3, [''] * 3, np.arange(4))
  logging.get_absl_logger().addHandler(caplog.handler)
  with caplog.at_level('INFO', 'absl'):
    rows = questions.encode(
        asked_, vocabularies.Vocabularies(vocab, ('yes',), ('other',)),
        forms.Context(questions.Options(max_tokens=4)))
  logging.get_absl_logger().removeHandler(caplog.handler)
  assert rows.tokens.tolist() == [[3, 4, 5, 0], [3, 4, 1, 0], [3, 4, 5, 3]]
  assert ('Of 3 different questions 1 have words that training lacks, and 1 '
          'have more than 4 words') in caplog.text


@pytest.mark.parametrize('line, message', [
    (made_up.tsv_line(2)[:200], 'padding|do not fit|multiple of'),
    ('2\t100\n', '2 columns, not 6'),
    (made_up.tsv_line(2).replace('\t3\t', '\t4\t'), 'do not fit 4 regions'),
    (made_up.tsv_line(2).replace('\t3\t', '\tx\t'), 'could not convert'),
])
def test_bad_lines_of_tsv_are_listed(tmp_path, line, message):
  (tmp_path / 'a.tsv').write_text(made_up.tsv_line(1, 1) + line)
  with pytest.raises(ValueError, match=f'(?s)picture 2 of line 2.*({message})'):
    list(regions.read(tmp_path, ['1', '2'], Problems()))


def test_no_features_at_all(tmp_path):
  with pytest.raises(ValueError, match='looked for below'):
    list(regions.read(tmp_path, ['1'], Problems(9)))
