"""Losses against numpy, in the forms that the published setups use."""
from bst_jax import tasks
from bst_jax.tasks import losses
import jax
import numpy as np
import pytest

RNG = np.random.default_rng(0)
LOGITS = (3 * RNG.standard_normal((4, 7))).astype(np.float32)
SCORES = RNG.choice([0, 0.3, 0.6, 0.9, 1], (4, 7)).astype(np.float32)
MASK = np.array([True, False, True, True])


def sigmoid(x):
  return 1 / (1 + np.exp(-x.astype(np.float64)))


def softmax(x):
  e = np.exp(x.astype(np.float64))
  return e / e.sum(-1, keepdims=True)


def bce(logits, t):
  p = sigmoid(logits)
  return -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(-1)


def test_binary_cross_entropy():
  got = losses.binary_cross_entropy(LOGITS, SCORES)
  np.testing.assert_allclose(got, bce(LOGITS, SCORES), rtol=1e-5)


def test_binary_cross_entropy_of_large_logits_is_finite():
  logits = np.array([[-200.0, 200.0]], np.float32)
  got = losses.binary_cross_entropy(logits, np.array([[1.0, 1.0]]))
  np.testing.assert_allclose(got, [200.0], rtol=1e-6)


def test_kl_divergence():
  t = softmax(SCORES * 3)
  want = (t * (np.log(t) - np.log(softmax(LOGITS)))).sum(-1)
  got = losses.kl_divergence(LOGITS, t.astype(np.float32))
  np.testing.assert_allclose(got, want, rtol=1e-4)


def test_zeros_in_the_target_of_kl_count_nothing():
  one_hot = np.eye(7, dtype=np.float32)[[2, 0, 6, 3]]
  value, slope = jax.value_and_grad(
      lambda z: losses.kl_divergence(z, one_hot).sum())(LOGITS)
  cross_entropy = -np.log(softmax(LOGITS))[range(4), [2, 0, 6, 3]].sum()
  np.testing.assert_allclose(value, cross_entropy, rtol=1e-5)
  np.testing.assert_allclose(slope, softmax(LOGITS) - one_hot, atol=1e-5)


def batch_of(**arrays):
  return {'mask': MASK} | arrays


def answers(logits):
  return {'answers': logits}


def test_a_teacher_that_is_the_student_teaches_nothing():
  kl = tasks.create(dict(name='gqa'))
  soft = kl.soften(answers(LOGITS))
  rows = kl.student(answers(LOGITS), soft, batch_of())['answers']
  np.testing.assert_allclose(rows.loss, 0, atol=1e-5)

  entropy = bce(LOGITS, sigmoid(LOGITS))
  vqa = tasks.create(dict(name='vqa'))
  each = lambda z, t: vqa.student(answers(z), t, batch_of())['answers'].loss
  soft = vqa.soften(answers(LOGITS))
  np.testing.assert_allclose(each(LOGITS, soft), entropy, rtol=1e-5)
  slope = jax.grad(lambda z: each(z, soft).sum())(LOGITS)
  np.testing.assert_allclose(slope, 0, atol=1e-6)


@pytest.mark.parametrize('how, scale', [
    ('sum', 1), ('mean_batch', 1 / 3), ('mean_all', 1 / 21),
    ('mean_all_x500', 500 / 21)])
def test_reductions_count_true_examples_only(how, scale):
  task = tasks.create(dict(name='vqa', reduction=how))
  want = bce(LOGITS, SCORES)[MASK].sum() * scale
  batch = batch_of(target=SCORES)
  np.testing.assert_allclose(
      tasks.hard(task, answers(LOGITS), batch), want, rtol=1e-5)
  np.testing.assert_allclose(
      tasks.taught(task, answers(LOGITS), SCORES, batch), want, rtol=1e-5)
  nobody = batch | {'mask': np.zeros(4, bool)}
  assert tasks.hard(task, answers(LOGITS), nobody) == 0
  assert task.mean == (how != 'sum')


def test_the_published_reduction_is_the_sum():
  for name in ('vqa', 'gqa'):
    assert tasks.create(dict(name=name)).terms == {'answers': (1.0, 'sum')}


def test_targets_from_labels():
  some = np.array([[0.3, 0.9, 0.6]] * 4, np.float32)
  batch, logits = batch_of(target=some), answers(LOGITS[:, :3])
  loss = lambda name: np.asarray(tasks.create(dict(name=name)).loss(
      logits, batch, None)['answers'].loss)
  np.testing.assert_allclose(loss('vqa'), bce(LOGITS[:, :3], some), rtol=1e-5)
  # The most agreed answer is the right one.
  np.testing.assert_allclose(
      loss('gqa'), -np.log(softmax(LOGITS[:, :3]))[:, 1], rtol=1e-4)


def test_the_class_of_a_picture():
  task = tasks.create(dict(name='classify'))
  labels = np.array([0, 2, 1, 5], np.int32)
  batch, outputs = batch_of(label=labels), {'classes': LOGITS}
  want = -np.asarray(jax.nn.log_softmax(LOGITS))[np.arange(4), labels]
  assert task.terms == {'classes': (1.0, 'mean_batch')}
  np.testing.assert_allclose(
      tasks.hard(task, outputs, batch), want[MASK].mean(), rtol=1e-5)
  mixed = batch_of(label=jax.nn.one_hot(labels, LOGITS.shape[1]))
  np.testing.assert_allclose(  # Mixed pictures have mixed classes.
      task.loss(outputs, mixed, None)['classes'].loss, want, rtol=1e-5)
  total, weight = tasks.summed(task, outputs, batch)
  np.testing.assert_allclose(total, want[MASK].sum(), rtol=1e-5)
  assert weight == 3


def test_bad_tasks_say_so():
  with pytest.raises(ValueError, match="no task 'vqa2'. Did you mean 'vqa'"):
    tasks.create(dict(name='vqa2'))
  with pytest.raises(ValueError, match="no reduction 'mean'"):
    tasks.create(dict(name='vqa', reduction='mean'))
  with pytest.raises(ValueError, match="no option of task vqa 'reduce'"):
    tasks.create(dict(name='vqa', reduce='sum'))
  with pytest.raises(ValueError, match="no loss of task answers 'kl'"):
    tasks.create(dict(name='answers', loss='kl'))
