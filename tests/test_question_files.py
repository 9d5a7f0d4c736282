"""Questions that users bring, as JSON, and what is bad of them."""
import json

from bst_jax.data import text
from bst_jax.data.builders import asked, json_stream
from bst_jax.data.builders.problems import Problems
import made_up
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


@pytest.mark.parametrize('identity, picture, kind', [
    (None, 7, 'malformed question'), (2, None, 'malformed question'),
    (2, True, 'malformed question'), (2.5, 7, 'malformed question')])
def test_what_is_no_id_is_listed(tmp_path, identity, picture, kind):
  result, problems = read(
      tmp_path, [made_up.question(1, 7), made_up.question(identity, picture)],
      most=1)
  assert list(result) == ['7'] and problems.counts == {kind: 1}


def test_ids_stay_as_they_were_written(tmp_path):
  result, _ = read(
      tmp_path, [made_up.question(i, p) for i, p in (
          ('01', '07'), (1, 7), (2.0, 8.0))],
      [made_up.annotation(i, p, [a] * 10) for i, p, a in (
          (1, 7, 'one'), ('01', '07', 'other'), (2.0, 8.0, 'two'))])
  assert {p: (of[0].id, of[0].answer) for p, of in result.items()} == {
      '07': ('01', 'other'), '7': ('1', 'one'), '8': ('2', 'two')}


def test_all_that_is_bad_of_two_files_is_told_at_once(tmp_path):
  with pytest.raises(ValueError) as raised:
    read(tmp_path, [made_up.question(1, 7), made_up.question(2, 7, ' '),
                    made_up.question(3, 7), ['a']],
         [made_up.annotation(1, 7), made_up.annotation(2, 7),
          made_up.annotation(5, 7), {'question_id': 6, 'image_id': 7}])
  for what in ('question 2, ', 'question 3 of', 'question 5 of',
               'question 6 has no answers', "['a'] of q.json"):
    assert what in str(raised.value)


def test_a_file_of_a_split_that_nobody_annotated(tmp_path):
  with pytest.raises(ValueError, match='(?s)question 1 has no answers.*has no '
                     'usable annotation.*nobody annotated needs no such file'):
    read(tmp_path, [GOOD[0]], [{'question_id': 1, 'image_id': 7}])


def test_marks_of_byte_order_and_depth(tmp_path):
  path = tmp_path / 'x.json'
  path.write_text('{"a": 1}', 'utf-8-sig')
  assert dict(json_stream.members(path)) == {'a': 1}
  path.write_text('{"a": ' + '[' * 200_000)
  with pytest.raises(ValueError, match='x.json was to be read as JSON'):
    list(json_stream.members(path, 'list'))
