"""What evaluation tells: accuracy and recall, against numbers by hand."""
from bst_jax import scores, tasks
from bst_jax.scores import accuracy, recall
import numpy as np
import pytest

RNG = np.random.default_rng(0)


class Data:
  types = ('color', 'count', 'never asked')


def gathered(measure, batches, data=Data):
  gather = scores.Gather(measure)
  for outputs, batch in batches:
    gather.add(measure.read(outputs, batch), batch['mask'])
  return gather.finish(data)


def test_accuracy_by_type_of_question_leaves_padding_out():
  batches, earned, kinds = [], [], []
  for _ in range(2):
    logits = RNG.standard_normal((4, 7)).astype(np.float32)
    score = RNG.random((4, 7)).astype(np.float32)
    kind, mask = np.array([0, 1, 1, 0]), np.array([True, True, False, True])
    batches.append(({'answers': logits},
                    {'score': score, 'type': kind, 'mask': mask}))
    earned += score[np.arange(4), logits.argmax(-1)][mask].tolist()
    kinds += kind[mask].tolist()
  earned, kinds = np.array(earned), np.array(kinds)
  got = gathered(accuracy.make('answers'), batches)
  assert list(got) == ['overall', 'color', 'count']
  assert got == pytest.approx({
      'overall': 100 * earned.mean(), 'color': 100 * earned[kinds == 0].mean(),
      'count': 100 * earned[kinds == 1].mean()})


def test_one_class_is_right_or_among_five():
  logits = RNG.standard_normal((40, 9)).astype(np.float32)
  label = RNG.integers(0, 9, 40)
  got = gathered(accuracy.make('classes', 'label'), [
      ({'classes': logits}, {'label': label, 'mask': np.ones(40, bool)})])
  order = (-logits).argsort(1)
  assert got == pytest.approx({
      'overall': 100 * (order[:, 0] == label).mean(),
      'top-5': 100 * (order[:, :5] == label[:, None]).any(1).mean()})


def test_recall_of_a_small_matrix():
  """Three pictures with two texts each; every number counted by hand."""
  match = np.kron(np.eye(3, dtype=bool), np.ones((1, 2), bool))
  scores = np.array([[9, 1, 2, 3, 4, 5],     # Its first text is the best.
                     [7, 8, 6, 0, 1, 2],     # Its best text comes third.
                     [1, 2, 3, 4, 5, 5.5]], np.float32)
  got = recall.of_matrix(scores, match)
  assert got['text_recall@1'] == pytest.approx(200 / 3)
  assert got['text_recall@5'] == 100
  # Of the columns 9 7 1, 1 8 2, 2 6 3, 3 0 4, 4 1 5, 5 2 5.5 the own picture
  # is best in four: the first, the third, the fifth and the sixth.
  assert got['image_recall@1'] == pytest.approx(100 * 4 / 6)
  assert got['image_recall@5'] == got['text_recall@10'] == 100
  assert list(got) == [f'{side}_recall@{k}' for side in ('text', 'image')
                       for k in (1, 5, 10)]


def test_a_tie_counts_against_the_match():
  match = np.eye(2, dtype=bool)
  assert recall.of_matrix(np.zeros((2, 2)), match)['text_recall@1'] == 0


def test_recall_over_blocks_with_padding():
  score = RNG.standard_normal((5, 7)).astype(np.float32)
  match = np.arange(7) % 5 == np.arange(5)[:, None]
  batches = []
  for rows in (range(3), range(3, 6)):  # The last picture is padding.
    for columns in (range(4), range(4, 8)):
      at = [(p, t) for p in rows for t in columns]
      real = np.array([p < 5 and t < 7 for p, t in at])
      p, t = np.where(real, np.array(at).T, 0)
      batches.append(({'match': score[p, t]}, {
          'picture': p, 'text': t, 'match': match[p, t], 'mask': real}))
  got = gathered(recall.make(), batches)
  assert got == pytest.approx(recall.of_matrix(score, match))
  with pytest.raises(ValueError, match='6 pairs came for 3 pictures|pairs came'):
    gathered(recall.make(), batches[:1] + batches[-1:])


def test_the_loss_of_a_match_is_among_the_texts_of_its_picture():
  task = tasks.create(dict(name='match'))
  score = np.array([2.0, 1.0, 0.5, 3.0, -1.0, 9.0], np.float32)
  batch = {'picture': np.array([4, 4, 4, 7, 7, 7]),
           'match': np.array([1, 0, 0, 1, 0, 0]),
           'mask': np.array([True] * 5 + [False])}
  own = [np.exp(score[:3]), np.exp(score[3:5])]
  want = np.mean([-np.log(e[0] / e.sum()) for e in own])
  got = tasks.hard(task, {'match': score}, batch)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_what_people_are_told():
  task = tasks.create(dict(name='gqa'))
  told, = task.tell({'answers': np.log(np.float32([[0.2, 0.5, 0.3]]))},
                    ('a', 'b', 'c'))
  assert [name for name, _ in told] == ['b', 'c', 'a']
  assert [p for _, p in told] == pytest.approx([0.5, 0.3, 0.2])
  pair = tasks.create(dict(name='pair'))
  told, = pair.tell({'pair': np.float32([[0, 3]])}, ())
  assert told[0][0] == 'true' and told[0][1] > 0.9


def test_a_task_may_be_given_another_measure():
  chosen = tasks.create({'name': 'pair', 'measure': {
      'name': 'accuracy', 'label': 'pair'}})
  assert chosen.measure.title == tasks.create({'name': 'pair'}).measure.title
  assert tasks.create({'name': 'match', 'measure': 'recall'}
                      ).measure.name == 'recall'
  with pytest.raises(ValueError, match="measure accuracy 'labels'. Did you "
                     "mean 'label'"):
    tasks.create({'name': 'pair', 'measure': {
        'name': 'accuracy', 'labels': 'pair'}})
