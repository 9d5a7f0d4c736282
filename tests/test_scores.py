"""Official scores on hand-made questions, and files of results."""
import json
import pathlib
import subprocess
import sys

from absl import logging
from bst_jax import score as score_command
from bst_jax.data import answers, gqa_scores, results, vqa_scores
from bst_jax.data.builders import asked
import pytest


def annotation(name, said, answer_type='other', question_type='what is'):
  return {'question_id': name, 'answers': [
      {'answer': a, 'answer_id': i + 1} for i, a in enumerate(said)],
          'answer_type': answer_type, 'question_type': question_type}


@pytest.mark.parametrize('answer, said, percent', [
    ('yes', ['yes'] * 10, 100),
    ('yes', ['yes'] * 4 + ['no'] * 6, 100),
    # Three who agree are two others to each of them.
    ('yes', ['yes'] * 3 + ['no'] * 7, 90),
    ('yes', ['yes'] * 2 + ['no'] * 8, 60),
    ('yes', ['yes'] + ['no'] * 9, 30),
    ('maybe', ['yes'] + ['no'] * 9, 0),
    # The prediction is always normalised; annotators where they differ.
    ('The Cat.', ['cat'] * 10, 100),
    ('t-shirt', ['t-shirt'] * 10, 0),
    ('t-shirt', ['t-shirt'] * 9 + ['shirt'], 100),
    ('two', ['two'] * 9 + ['2'], 30),
    # A mark at the end leaves a space, and so annotators whom nobody can meet.
    ('the cat', ['the cat'] * 5 + ['cat!'] * 5, 0),
    ('1,000', ['1,000'] * 5 + ['1000'] * 5, 100),
])
def test_vqa_accuracy(answer, said, percent):
  assert 100 * vqa_scores.accuracy(answer, said) == pytest.approx(percent)


def test_vqa_scores_by_type():
  entries = [annotation(1, ['yes'] * 10, 'yes/no', 'is the'),
             annotation(2, ['2'] * 2 + ['3'] * 8, 'number', 'how many'),
             annotation(3, ['cat'] * 10), annotation(4, ['dog'] * 10)]
  found = vqa_scores.score({1: 'yes', '2': 'two', 3: 'cat', 4: 'cat'}, entries)
  assert found['overall'] == pytest.approx(65)
  assert found['answer_type'] == pytest.approx(
      {'yes/no': 100, 'number': 60, 'other': 50})
  assert found['question_type'] == pytest.approx(
      {'is the': 100, 'how many': 60, 'what is': 50})


@pytest.mark.parametrize('predictions, again, message', [
    ({1: 'a'}, 0, 'Question 2 was to be scored'),
    ({1: 'a', 2: 'a', 3: 'b'}, 0, r"questions \['3'\] are not annotated"),
    ({1: 'a', 2: 'a'}, 1, 'Question 1 was annotated twice'),
])
def test_vqa_results_must_fit_the_annotations(predictions, again, message):
  entries = [annotation(i, ['a'] * 10) for i in (1, 2)]
  with pytest.raises(ValueError, match=message):
    vqa_scores.score(predictions, entries + entries[:again])


def question(answer, text='is it a cat?', structural='verify', semantic='obj',
             group='animal', detailed='existObj', entailed=(), balanced=True,
             program=(('select', 'cat (1)'), ('exist', '?'))):
  return {'question': text, 'answer': answer, 'isBalanced': balanced,
          'imageId': '1', 'groups': {'global': group, 'local': None},
          'types': {'structural': structural, 'semantic': semantic,
                    'detailed': detailed}, 'entailed': list(entailed),
          'semantic': [{'operation': o, 'argument': a, 'dependencies': []}
                       for o, a in program]}


QUESTIONS = {
    'q1': question('yes', entailed=('q1', 'e1', 'e2')),
    'q2': question('no', 'is that dog big?', semantic='attr', group=None),
    'q3': question('t-shirt', 'what is worn?', 'query', group='clothing',
                   program=(('select', 'man (1)'), ('relate', 'wearing'),
                            ('query', 'name'))),
    'q4': question('color', 'what do both have in common?', 'compare', 'attr',
                   group='clothing', detailed='twoCommon', entailed=('e1',),
                   program=(('select', 'a'), ('select', 'b'), ('common', ''))),
    'q5': question('no', balanced=False),
}
ALL = QUESTIONS | {'e1': question('yes', balanced=False),
                   'e2': question('cat', balanced=False)}
CHOICES = {'q1': {'valid': ['yes', 'no'], 'plausible': ['yes', 'no']},
           'q2': {'valid': ['yes', 'no'], 'plausible': ['yes']},
           'q3': {'valid': ['t-shirt', 'cap'], 'plausible': ['cap']},
           'q4': {'valid': [], 'plausible': []}}
PREDICTIONS = {'q1': 'yes', 'q2': 'no', 'q3': 't shirt', 'q4': 'shape',
               'e1': 'yes', 'e2': 'dog'}


def test_gqa_official_scores():
  found = gqa_scores.score(PREDICTIONS, QUESTIONS)
  assert found['mode'] == 'official'
  assert found['accuracy'] == 50 and found['open'] == 0
  assert found['binary'] == pytest.approx(200 / 3)
  assert found['structural'] == {'verify': 100, 'query': 0, 'compare': 0}
  assert found['semantic'] == {'attr': 50, 'obj': 50}
  # `exist` and `query: name` do not count.
  assert found['steps'] == {1: 100, 2: 0, 3: 0}
  assert found['words'] == {3: 0, 4: 100, 6: 0}
  # Group animal: 1 of 1. Group clothing: both answers missed, 1 + 1, times 2.
  assert found['distribution'] == pytest.approx((0 * 1 + 2 * 2) / 3 / 100)
  assert not found.keys() & {'validity', 'plausibility', 'consistency'}


def test_gqa_fixed_scores_write_answers_as_the_file_does():
  found = gqa_scores.score(PREDICTIONS, QUESTIONS, 'fixed', CHOICES)
  assert found['mode'] == 'fixed'
  assert found['accuracy'] == 75 and found['open'] == 100
  assert found['distribution'] == pytest.approx((0 * 1 + 1 * 2) / 3 / 100)
  assert found['validity'] == 100 and found['plausibility'] == 50


def test_gqa_validity_plausibility_consistency():
  found = gqa_scores.score(PREDICTIONS, QUESTIONS, 'official', CHOICES, ALL)
  # 't shirt' is not 't-shirt'; what two objects share has its own choices.
  assert found['validity'] == 75 and found['plausibility'] == 50
  # Only q1 is right and entails others: one of the two is.
  assert found['consistency'] == 50
  with pytest.raises(ValueError, match='Question e2 was to be scored'):
    gqa_scores.score({k: v for k, v in PREDICTIONS.items() if k != 'e2'},
                     QUESTIONS, entailed=ALL)


@pytest.mark.parametrize('predictions, questions, mode, message', [
    ({}, QUESTIONS, 'official', 'Question q1 was to be scored'),
    ({}, {'q5': QUESTIONS['q5']}, 'official', 'none is balanced'),
    ({}, QUESTIONS, 'offical', "Did you mean 'official'"),
])
def test_gqa_scores_refuse(predictions, questions, mode, message):
  with pytest.raises(ValueError, match=message):
    gqa_scores.score(predictions, questions, mode)


def test_result_files(tmp_path):
  path = tmp_path / 'deep' / results.name('minival', 'w1-2_d1-3', 256, 2)
  assert path.name == 'results_minival_w1-2_d1-3_hidden256_layers2.json'
  results.write(path, 'vqa', {'12': 'café', '3': 'no'})
  assert json.loads(path.read_text('utf-8')) == [
      {'question_id': 12, 'answer': 'café'}, {'question_id': 3, 'answer': 'no'}]
  assert results.read(path) == {'12': 'café', '3': 'no'}
  results.write(path, 'gqa', {'0012': 'no'})
  assert json.loads(path.read_text()) == [
      {'questionId': '0012', 'prediction': 'no'}]
  assert results.read(path) == {'0012': 'no'}
  with pytest.raises(ValueError, match="Did you mean 'vqa'"):
    results.write(path, 'vqa2', {})


@pytest.mark.parametrize('content, message', [
    ('[{"question_id": 1}]', 'row 0 is'), ('{"a": 1}', 'row 0 is'),
    ('[{"question_id": 1', 'row 0 is'), ('[3]', 'row 0 is 3'),
    ('[{"question_id": 1, "answer": "a"}, {"question_id": "1", "answer": "b"}]',
     'question 1 is in it twice'),
])
def test_bad_result_files_are_named(tmp_path, content, message):
  (tmp_path / 'r.json').write_text(content)
  with pytest.raises(ValueError, match=f'r.json was to be read.*{message}'):
    results.read(tmp_path / 'r.json')


def test_the_command_scores_files(tmp_path):
  write = lambda name, value: (tmp_path / name).write_text(
      json.dumps(value)) and str(tmp_path / name)
  answers = str(tmp_path / 'r.json')
  results.write(answers, 'vqa', {'1': 'yes'})
  annotations = write('a.json', {'data_subtype': 'val2014', 'annotations': [
      annotation(1, ['yes'] * 10, 'yes/no'), annotation(2, ['no'] * 10)]})
  found = score_command.score(answers, annotations)
  assert found['overall'] == 100 and found['questions'] == 1
  results.write(answers, 'gqa', PREDICTIONS)
  found = score_command.score(
      answers, questions=write('q.json', QUESTIONS), mode='fixed',
      choices=write('c.json', CHOICES), entailed=write('all.json', ALL))
  assert found == {'questions': 6} | gqa_scores.score(
      PREDICTIONS, QUESTIONS, 'fixed', CHOICES, ALL)
  for both in ({}, dict(annotations=annotations, questions='q.json')):
    with pytest.raises(ValueError, match='give exactly one'):
      score_command.score(answers, **both)


def test_help_of_the_command():
  run = subprocess.run(
      [sys.executable, '-m', 'bst_jax.score', '--help'], text=True, check=True,
      cwd=pathlib.Path(results.__file__).parents[2], capture_output=True)
  assert 'python -m bst_jax.score' in run.stdout and '--mode' in run.stdout


# Files as users have them.


ENTRY = annotation('q', ['red'] * 10)


@pytest.mark.parametrize('said, percent', [
    (dict(answers=[{'answer': 'red'}]), 100),
    (dict(answers=['red']), 100),
    (dict(answers=['red'] * 10), 100),
    (dict(answers=[{'answer': 'red'}] * 2), 100 / 3),
    (dict(answers=[{'answer': 'red'}] * 3), 200 / 3),
    (dict(answers=None, answer='red'), 100),
    (dict(answers='red'), 100),
    (dict(answers=['blue']), 0),
])
def test_scores_read_answers_as_training_does(tmp_path, said, percent):
  results.write(tmp_path / 'r.json', 'vqa', {'q': 'red'})
  entry = {k: v for k, v in (ENTRY | said).items()
           if v is not None and k != 'answer_type'}
  (tmp_path / 'a.json').write_text(
      json.dumps({'annotations': [entry]}), 'utf-8-sig')
  table = score_command.score(tmp_path / 'r.json', tmp_path / 'a.json')
  assert table['overall'] == pytest.approx(percent)
  assert table['answer_type'] == {'other': table['overall']}
  # What a model that is evaluated is measured by.
  scorer = answers.Scorer('vqa', ['red'])
  official = [one for _, _, one in scorer(asked.annotation(entry).said)]
  assert 100 * sum(official) == pytest.approx(percent)


@pytest.mark.parametrize('changed, message', [
    ({'answers': None}, 'question q has no answers.*a test split has none'),
    ({'answers': []}, 'question q has no answers'),
    ({'answers': [{'answer': None}] * 10}, 'question q has no answers'),
    ({'answers': [{'answer': ['red']}]}, 'question q has no answers'),
    ({'question_id': None}, 'malformed annotation: 1'),
    ({'question_id': 1.5}, 'the id is 1.5'),
])
def test_annotations_that_cannot_score_are_told(tmp_path, changed, message):
  results.write(tmp_path / 'r.json', 'vqa', {'q': 'red'})
  (tmp_path / 'a.json').write_text(json.dumps(
      {'annotations': [ENTRY | changed]}))
  with pytest.raises(ValueError, match=f'(?s){message}'):
    score_command.score(tmp_path / 'r.json', tmp_path / 'a.json')


@pytest.mark.parametrize('identity, written', [
    ('0123', '"0123"'), ('123', '123'), ('-7', '-7'), ('0', '0'),
    ('00', '"00"'), ('²', '"²"'), ('٣', '"٣"'), ('1e3', '"1e3"'), ('1.0', '"1.0"'),
    (' 1', '" 1"'), ('9' * 40, f'"{"9" * 40}"')])
def test_ids_stay_as_they_were_read(tmp_path, identity, written):
  path = tmp_path / 'r.json'
  results.write(path, 'vqa', {identity: 'red', 'other': 'no'})
  assert f'"question_id": {written},' in path.read_text('utf-8')
  assert results.read(path) == {identity: 'red', 'other': 'no'}
  (tmp_path / 'a.json').write_text(json.dumps({'annotations': [
      ENTRY | {'question_id': identity}, ENTRY | {'question_id': 'other'},
      ENTRY | {'question_id': 'strange'}]}))
  assert score_command.score(path, tmp_path / 'a.json')['overall'] == 50


@pytest.mark.parametrize('value, text', [
    (12, '12'), ('012', '012'), (12.0, '12'), (-3, '-3'),
    (10 ** 20, '1' + 20 * '0')])
def test_ids_of_json(value, text):
  assert asked.identity(value) == text


@pytest.mark.parametrize('value', [None, True, 1.5, float('nan'), [], {}, ''])
def test_what_is_no_id(value):
  with pytest.raises(ValueError, match='neither text nor a whole number'):
    asked.identity(value)


@pytest.mark.parametrize('changed, message', [
    ({'q1': {'isBalanced': True}}, "question q1 has no 'answer'"),
    ({'q2': {**QUESTIONS['q2'], 'types': None}}, 'question q2 is malformed'),
    ({'q2': {**QUESTIONS['q2'], 'semantic': [{}]}},
     'q2 is malformed.*operation'),
    ({'q2': {**QUESTIONS['q2'], 'groups': {}}}, 'q2 is malformed.*global'),
    ({'q2': [1]}, "entry 'q2' is no object"),
])
def test_malformed_questions_of_gqa_are_named(tmp_path, changed, message):
  results.write(tmp_path / 'r.json', 'gqa', PREDICTIONS)
  (tmp_path / 'q.json').write_text(json.dumps(QUESTIONS | changed))
  with pytest.raises(ValueError, match=message):
    score_command.score(tmp_path / 'r.json', questions=tmp_path / 'q.json')


def test_choices_and_entailed_questions_that_are_missing_are_named():
  with pytest.raises(ValueError, match='q1 is malformed, or its choices'):
    gqa_scores.score(PREDICTIONS, QUESTIONS, choices={})
  with pytest.raises(ValueError, match='e1 is entailed, but in neither file'):
    gqa_scores.score(PREDICTIONS, QUESTIONS, entailed={
        'x': {'answer': 'yes'}})


def test_answers_to_unknown_questions_of_gqa_are_told(tmp_path, caplog):
  results.write(tmp_path / 'r.json', 'gqa', PREDICTIONS | {'q77': 'no'})
  (tmp_path / 'q.json').write_text(json.dumps(QUESTIONS))
  logging.get_absl_logger().addHandler(caplog.handler)
  score_command.score(tmp_path / 'r.json', questions=tmp_path / 'q.json')
  logging.get_absl_logger().removeHandler(caplog.handler)
  assert "3 of the 7 answers are to questions that are not" in caplog.text
