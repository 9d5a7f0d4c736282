"""Files that users bring: JSON, pictures, features, and what is bad of them."""
import io
import json

from absl import logging
from bst_jax.data import forms, image, text, vocabularies
from bst_jax.data.builders import asked, found, json_stream, pictures, regions
from bst_jax.data.builders.problems import Problems
from bst_jax.data.forms import questions
import made_up
import numpy as np
from PIL import ExifTags, Image, ImageOps
import pytest

# JSON, one entry at a time.


@pytest.mark.parametrize('block', [1, 2, 7, 1 << 20])
def test_json_comes_as_it_stands(tmp_path, monkeypatch, block):
  monkeypatch.setattr(json_stream, '_BLOCK', block)
  value = {'info': {'a': [1, 2]}, 'list': [{'n': 12345.5}, 'x\\"]', [], -7],
           'empty': [], 'é': None, 'last': 120}
  path = tmp_path / 'x.json'
  for text_ in (json.dumps(value), json.dumps(value, indent=2),
                json.dumps(value, ensure_ascii=False)):
    path.write_text(text_, 'utf-8')
    got = list(json_stream.members(path, 'list'))
    assert got == [('info', value['info']),
                   *(('list', item) for item in value['list']), ('empty', []),
                   ('é', None), ('last', 120)]
    assert dict(json_stream.members(path)) == value
  for text_, wanted in (('[1, {"a": 2}]', [1, {'a': 2}]), ('{}', []),
                        ('[]', [])):
    path.write_text(text_)
    assert [v for _, v in json_stream.members(path)] == wanted


@pytest.mark.parametrize('content', [
    b'', b'{"a": 1', b'{"a": [1, 2', b'{"list": [{"a": 1}, {"a"', b'7',
    b'{"a": 1} x', b'{"a" 1}', b'{"list": [1 2]}', b'\xff\xfe{}', None])
def test_damaged_json_is_named(tmp_path, content):
  path = tmp_path / 'x.json'
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(ValueError, match='x.json was to be read as JSON'):
    list(json_stream.members(path, 'list'))


# Questions and annotations.


def read(tmp_path, questions, annotations=None, most=0, subtype='', **header):
  names = 'q.json', 'a.json'
  made_up.pair(tmp_path, names, questions, annotations, **header)
  problems = Problems(most)
  result = asked.read(
      tmp_path / 'q.json', None if annotations is None else tmp_path / 'a.json',
      problems, subtype)
  return result, problems


def test_questions_by_picture(tmp_path):
  result, _ = read(
      tmp_path, [made_up.question(1, 7, 'Is it?'), made_up.question(2, 'b'),
                 made_up.question(3, 7)],
      [made_up.annotation(3, 7, ['2'] * 6 + ['two'] * 4),
       made_up.annotation(1, 7, answer_type='mine',
                          multiple_choice_answer='no'),
       {'question_id': 2, 'image_id': 'b', 'answer': 'a\ncat'}])
  assert result == {
      '7': [asked.Question('1', 'Is it?', 'mine', 'no', ('yes',) * 10),
            asked.Question('3', 'is it red?', 'number', '2',
                           ('2',) * 6 + ('two',) * 4)],
      'b': [asked.Question('2', 'is it red?', 'other', 'a cat',
                           ('a cat',) * 10)]}
  result, _ = read(tmp_path, [made_up.question(1, 7)])
  assert result['7'][0].answers == ()


GOOD = made_up.question(1, 7), made_up.annotation(1, 7)


@pytest.mark.parametrize('question, annotation, kind', [
    (made_up.question(2, 7, ' ?! '), made_up.annotation(2, 7),
     'empty question'),
    (made_up.question(2, 7, None), made_up.annotation(2, 7), 'empty question'),
    (made_up.question(2, 7), None, 'question twice or without annotation'),
    (made_up.question(1, 7), None, 'question twice or without annotation'),
    (None, made_up.annotation(2, 7), 'annotation without question'),
    (made_up.question(2, 7), made_up.annotation(2, 8),
     'annotation of another picture'),
    ({'question_id': 2}, None, 'malformed question'),
    ('text', None, 'malformed question'),
    (None, made_up.annotation(1, 7), 'annotation twice'),
    (None, made_up.annotation(2, 7, ()), 'malformed annotation'),
    (None, {'question_id': 2, 'image_id': 7, 'answers': [[1]]},
     'malformed annotation'),
    (None, [1], 'malformed annotation'),
])
def test_a_bad_question_is_an_error_or_listed(tmp_path, question, annotation,
                                              kind):
  questions, annotations = ([one] + ([] if other is None else [other])
                            for one, other in zip(GOOD, (question, annotation)))
  with pytest.raises(ValueError, match=f'(?s){kind}: 1, as .*max_bad'):
    read(tmp_path, questions, annotations)
  result, problems = read(tmp_path, questions, annotations, most=1)
  assert [q.id for q in result['7']] == ['1']
  assert problems.report()[kind]['count'] == 1


def test_a_question_twice_where_nobody_was_asked(tmp_path):
  _, problems = read(tmp_path, [GOOD[0]] * 3, most=2)
  assert problems.report() == {'question twice': {
      'count': 2, 'first': ['question 1 of q.json'] * 2}}


def test_files_of_the_wrong_split_are_refused(tmp_path):
  with pytest.raises(ValueError, match='says of itself that it is of val2014'):
    read(tmp_path, [GOOD[0]], [GOOD[1]], subtype='train2014',
         data_subtype='val2014')
  with pytest.raises(ValueError, match='has none of its questions'):
    read(tmp_path, [made_up.question(5, 7)], [GOOD[1]], most=99)
  with pytest.raises(ValueError, match='has no usable question'):
    read(tmp_path, [])
  with pytest.raises(ValueError, match='has no usable annotation'):
    read(tmp_path, [GOOD[0]], [])


@pytest.mark.parametrize('answer, kind', [
    ('Yes', 'yes/no'), ('no', 'yes/no'), ('3', 'number'), ('1,000', 'number'),
    ('2.5', 'number'), ('1.2.3', 'other'), ('two', 'other'), ('', 'other')])
def test_types_are_told_by_answers(answer, kind):
  assert asked.kind_of(answer) == kind


def test_long_and_unknown_words():
  vocab = text.Vocabulary.build(['is it red'])
  assert vocab.encode('is it ' * 20, 14).tolist() == [3, 4] * 7  # Cut off.
  assert vocab.encode('is it mauve', 5).tolist() == [3, 4, 1, 0, 0]


# Pictures.


@pytest.mark.parametrize('mode', ['RGB', 'L', 'P', '1', 'CMYK', 'RGBA', 'LA'])
def test_pictures_of_every_kind_become_rgb(mode):
  kind = 'JPEG' if mode == 'CMYK' else 'PNG'
  data = made_up.picture(mode=mode, kind=kind)
  assert pictures.checked(data, 'x') == data
  assert image.decode(data).shape == (8, 12, 3)


@pytest.mark.parametrize('held', [*range(10), 300])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_photographs_come_upright(held, kind):
  exif = Image.Exif()
  exif[ExifTags.Base.Orientation] = held
  data = pictures.checked(made_up.picture(kind=kind, exif=exif), 'x')
  upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
  assert upright.size == ((8, 12) if 5 <= held <= 8 else (12, 8))
  np.testing.assert_array_equal(image.decode(data), np.asarray(upright))


@pytest.mark.parametrize('exif', [
    b'Exif\0\0', b'Exif\0\0II*\0', b'Exif\0\0MM\0*\xff\xff\xff\xff',
    b'Exif\0\0no TIFF at all'])
def test_damaged_exif_leaves_the_picture_as_it_is(exif):
  data = made_up.picture(exif=exif)
  np.testing.assert_array_equal(
      image.decode(pictures.checked(data, 'x')),
      image.decode(made_up.picture()))


def test_a_preview_behind_a_photograph_is_no_animation():
  file = io.BytesIO()
  frames = [Image.new('RGB', (4, 4), c) for c in ('red', 'blue')]
  frames[0].save(file, 'MPO', save_all=True, append_images=frames[1:])
  assert Image.open(io.BytesIO(file.getvalue())).n_frames == 2
  data = pictures.checked(file.getvalue(), 'x.jpg')
  assert image.decode(data)[0, 0].argmax() == 0  # The red one.


def animated():
  file = io.BytesIO()
  frames = [Image.new('RGB', (4, 4), c) for c in ('red', 'blue')]
  frames[0].save(file, 'PNG', save_all=True, append_images=frames[1:])
  return file.getvalue()


@pytest.mark.parametrize('data, message', [
    (b'', 'not a whole PNG or JPEG'),
    (made_up.picture(size=(80, 80))[:-900], 'not a whole PNG or JPEG'),
    (made_up.picture(kind='PNG', size=(80, 80))[:-900],
     'not a whole PNG or JPEG'),
    (made_up.picture(mode='P', kind='GIF'), 'not a whole PNG or JPEG'),
    (animated(), 'it is animated'),
])
def test_bad_pictures_are_listed(tmp_path, data, message):
  (tmp_path / '1.png').write_bytes(data)
  (tmp_path / '2.png').write_bytes(made_up.picture(kind='PNG'))
  files = found.Found([tmp_path], pictures.SUFFIXES)
  problems = Problems(2)
  got = dict(pictures.read(files, ['1', '2', '3'], problems))
  assert list(got) == ['2']
  report = problems.report()
  assert report['missing picture']['first'] == ['picture 3']
  assert message in report['unreadable picture']['first'][0]
  assert '1.png' in report['unreadable picture']['first'][0]
  with pytest.raises(ValueError, match=message):
    list(pictures.read(files, ['1'], Problems()))


def test_a_decompression_bomb_is_refused_before_it_goes_off():
  small = io.BytesIO()
  Image.new('1', (12000, 12000)).save(small, 'PNG')
  assert len(small.getvalue()) < 40_000
  with pytest.raises(ValueError, match='12,000 x 12,000 pixels'):
    pictures.checked(small.getvalue(), 'bomb.png')


def test_files_are_found_by_name_or_number(tmp_path):
  for name in ('a/COCO_val2014_000000000042.jpg.npz', 'b/n161313.npz',
               'cat.npz', 'x_7.npz', 'y_7.npz', 'no.txt'):
    made_up.npz(tmp_path / name) if name.endswith('npz') else (
        tmp_path / name).write_text('')
  files = found.Found([tmp_path], ('.npz',))
  assert files('42').endswith('0042.jpg.npz')
  assert files('COCO_val2014_000000000042') == files('42')
  assert files('n161313') and files('cat') and files('x_7')
  assert files('cats/cat.jpg') == files('cat')
  assert files('no') is files('4') is files('161313') is None
  with pytest.raises(ValueError, match='2 could be meant'):
    files('7')
  before = found.fingerprint(tmp_path)
  (tmp_path / 'no.txt').write_text('more')
  assert found.fingerprint(tmp_path) != before


# Regions.


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
  monkeypatch.setattr(regions, '_MOST_BYTES', 100)
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
