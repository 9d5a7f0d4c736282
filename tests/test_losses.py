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


def test_a_teacher_that_is_the_student_teaches_nothing():
  kl = tasks.create(dict(name='gqa'))
  soft = kl.soften(LOGITS)
  np.testing.assert_allclose(kl.pointwise(LOGITS, soft), 0, atol=1e-5)

  entropy = bce(LOGITS, sigmoid(LOGITS))
  vqa = tasks.create(dict(name='vqa'))
  loss = lambda z, t: vqa.pointwise(z, t).sum()
  soft = vqa.soften(LOGITS)
  np.testing.assert_allclose(vqa.pointwise(LOGITS, soft), entropy, rtol=1e-5)
  np.testing.assert_allclose(jax.grad(loss)(LOGITS, soft), 0, atol=1e-6)


@pytest.mark.parametrize('how, scale', [
    ('sum', 1), ('mean_batch', 1 / 3), ('mean_all', 1 / 21),
    ('mean_all_x500', 500 / 21)])
def test_reductions_count_true_examples_only(how, scale):
  task = tasks.create(dict(name='vqa', reduction=how))
  want = bce(LOGITS, SCORES)[MASK].sum() * scale
  np.testing.assert_allclose(task.loss(LOGITS, SCORES, MASK), want, rtol=1e-5)
  assert task.loss(LOGITS, SCORES, np.zeros(4, bool)) == 0


def test_the_published_reduction_is_the_sum():
  for name in ('vqa', 'gqa'):
    assert tasks.create(dict(name=name)).reduction == 'sum'


def test_targets_from_labels():
  np.testing.assert_array_equal(tasks.TASKS['vqa'].hard(SCORES), SCORES)
  agreed = tasks.TASKS['gqa'].hard(np.array([[0.3, 0.9, 0.6]]))
  np.testing.assert_array_equal(agreed, [[0, 1, 0]])


def test_the_class_of_a_picture():
  task = tasks.create(dict(name='classify'))
  labels = np.array([0, 2, 1, 5], np.int32)
  batch = {'label': labels, 'mask': MASK}
  want = -np.asarray(jax.nn.log_softmax(LOGITS))[np.arange(4), labels]
  assert task.reduction == 'mean_batch'
  np.testing.assert_allclose(
      task.loss(LOGITS, task.labels(batch), MASK), want[MASK].mean(), rtol=1e-5)
  np.testing.assert_allclose(  # Mixed pictures have mixed classes.
      task.pointwise(LOGITS, jax.nn.one_hot(labels, LOGITS.shape[1])), want,
      rtol=1e-5)
  found = task.metrics(LOGITS, batch, num_types=0)
  right = LOGITS.argmax(-1) == labels
  np.testing.assert_array_equal(found['correct'], [right[MASK].sum()])
  np.testing.assert_array_equal(found['count'], [MASK.sum()])
  np.testing.assert_allclose(found['loss'], want[MASK].sum(), rtol=1e-5)


def test_bad_tasks_say_so():
  with pytest.raises(ValueError, match="no task 'vqa2'. Did you mean 'vqa'"):
    tasks.create(dict(name='vqa2'))
  with pytest.raises(ValueError, match="no reduction 'mean'"):
    tasks.create(dict(name='vqa', reduction='mean'))
  with pytest.raises(ValueError, match="no option of task vqa 'reduce'"):
    tasks.create(dict(name='vqa', reduce='sum'))
