"""MiniVLM answers and compares; its losses, its settings, what it costs."""
import functools
import json

from bst_jax import elastic, tasks, train
from bst_jax.learn import schedules
from bst_jax.models import minivlm
from bst_jax.report import costs
from bst_jax.run import experiment, jobs
from bst_jax.run import start as starts
from bst_jax.store import checkpoint
from captioners import build
from configs import minivlm_nlvr2, minivlm_vqa
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_workdir

# --- losses -------------------------------------------------------------------

LOGITS = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
# One question that nobody agrees on, one of padding, one without any answer.
SCORES = np.float32([[0, 0.3, 0.9, 0, 0], [1, 0, 0, 0, 0], [0.6, 0, 0, 0, 0.3],
                     [0, 0, 0, 0, 0]])
MASK = np.array([True, True, False, True])
CHANCE = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
EACH = -(SCORES * np.log(CHANCE) + (1 - SCORES) * np.log(1 - CHANCE)).sum(1)


def loss_of(scores=SCORES, mask=MASK, **options):
  task = tasks.create(dict(name='vqa', **options))
  return float(tasks.hard(task, {'answers': jnp.asarray(LOGITS)}, {
      'target': jnp.asarray(scores), 'mask': jnp.asarray(mask)}))


def test_the_loss_is_divided_by_what_the_targets_sum_to():
  author = functools.partial(loss_of, reduction='sum_over_soft_targets')
  np.testing.assert_allclose(author(), EACH[[0, 1, 3]].sum() / 2.2, rtol=1e-5)
  # A question without a scored answer is as if it were not there.
  np.testing.assert_allclose(author(scored_only=True), EACH[:2].sum() / 2.2,
                             rtol=1e-5)
  np.testing.assert_allclose(
      author(scored_only=True),
      author(mask=MASK & (SCORES > 0).any(1)), rtol=1e-6)
  # Sums below one divide nothing.
  few = SCORES * np.float32(0.1)
  want = -(few * np.log(CHANCE) + (1 - few) * np.log(1 - CHANCE)).sum(1)
  np.testing.assert_allclose(author(few), want[MASK].sum(), rtol=1e-5)
  # OSCAR: the mean over all numbers times the number of answers.
  np.testing.assert_allclose(
      loss_of(reduction='mean_batch', mask=np.ones(4, bool)),
      (EACH.sum() / SCORES.size) * 5, rtol=1e-5)


def test_a_teacher_s_scores_divide_too():
  task = tasks.create(dict(name='vqa', reduction='sum_over_soft_targets'))
  soft = np.float32(np.random.default_rng(1).random((4, 5)))
  want = -(soft * np.log(CHANCE) + (1 - soft) * np.log(1 - CHANCE)).sum(1)
  got = tasks.taught(
      task, {'answers': jnp.asarray(LOGITS)}, jnp.asarray(soft),
      {'target': jnp.asarray(SCORES), 'mask': jnp.asarray(MASK)})
  np.testing.assert_allclose(
      got, want[MASK].sum() / soft[MASK].sum(), rtol=1e-5)
  assert task.mean  # Parts of a batch are averaged.


def test_a_task_without_scores_says_so():
  task = tasks.create(dict(name='pair', reduction='sum_over_soft_targets'))
  with pytest.raises(ValueError, match=(
      "reduction is 'sum_over_soft_targets', but targets .* no scores")):
    tasks.hard(task, {'pair': jnp.zeros((2, 2))}, {
        'pair': jnp.zeros(2, int), 'mask': jnp.ones(2, bool)})


def test_a_captioner_hands_on_its_words_at_masked_places():
  task = tasks.create(dict(name='captioning', smoothing=0.1))
  teacher, student = np.random.default_rng(2).standard_normal((2, 2, 3, 6))
  softmax = lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)
  p, q = softmax(teacher), softmax(student)
  divergence = (p * np.log(p / q)).sum(-1)                  # [B, K]
  told = np.array([[True, True, False], [True, False, False]])
  batch = dict(words=jnp.zeros((2, 3), int), told=jnp.asarray(told),
               mask=jnp.array([True, True]))
  say = lambda x: {'words': jnp.asarray(x, jnp.float32)}
  soft = task.soften(say(teacher))
  np.testing.assert_allclose(tasks.taught(task, say(student), soft, batch),
                             divergence[told].mean(), rtol=1e-5)
  np.testing.assert_allclose(tasks.taught(task, say(teacher), soft, batch), 0,
                             atol=1e-6)
  batch['mask'] = jnp.array([False, True])
  np.testing.assert_allclose(tasks.taught(task, say(student), soft, batch),
                             divergence[1, 0], rtol=1e-5)


# --- as published -------------------------------------------------------------


def rates(config, total, steps):
  rate = schedules.create(config.schedule, config.optimizer.lr, 10, total)
  return [float(rate(step)) for step in steps]


def test_vqa_as_published():
  config = minivlm_vqa.get_config()
  assert (config.data.batch, config.epochs, config.data.max_tokens) == (
      128, 40, 128)
  assert config.optimizer.to_dict() == dict(
      name='adamw', lr=5e-5, weight_decay=0.05, clip=1.0)
  # The first step has the whole rate, and the last would have none.
  np.testing.assert_allclose(rates(config, 100, (0, 50, 100)),
                             [5e-5, 2.5e-5, 0], atol=1e-10)
  exp = experiment.build(config, config.data.sizes)
  assert exp.task.terms == {'answers': (1.0, 'sum_over_soft_targets')}
  assert (exp.model.mask, exp.model.dropout) == ('both', 0.3)
  assert exp.shapes['head']['kernel'].shape == (384, 3129)
  # Words and matches stay behind: the rest is the pre-trained transformer.
  head = 385 * 3129
  assert elastic.size(exp.shapes) - head == 33_936_572 - (
      384 * 385 + 2 * 384 + 30522) - 385 * 2


def test_nlvr2_as_published():
  config = minivlm_nlvr2.get_config()
  assert (config.data.batch, config.epochs, config.data.max_tokens,
          config.data.num_regions) == (72, 20, 55, 40)
  assert config.optimizer.to_dict() == dict(
      name='adamw', lr=3e-5, weight_decay=0.05, clip=1.0)
  np.testing.assert_allclose(
      rates(config, 24_000, (0, 5_000, 10_000, 17_000, 24_000)),
      [0, 1.5e-5, 3e-5, 1.5e-5, 0], atol=1e-10)
  exp = experiment.build(config, config.data.sizes)
  head = exp.shapes['pair_head']
  assert head['fc1']['kernel'].shape == (2, 384, 1152)  # 768 -> 1152.
  assert head['fc2']['kernel'].shape == (1152, 2) and 'norm' in head
  assert minivlm.sizes('oscar_base')['fused'] == 3 * 768


@pytest.mark.parametrize('norm', [True, False])
def test_both_pooled_vectors_are_compared(norm):
  """Linear, ReLU, the normalisation if there is one, linear; by hand."""
  model, params, batch, _ = build(outputs=('pair',), image_norm=norm)
  batch = batch | {key: jnp.tile(batch[key], (4, *(1,) * (batch[key].ndim - 1)))
                   for key in ('regions', 'boxes', 'tags')}
  said, kept = model.apply(
      {'params': params}, batch, mutable=['intermediates'],
      capture_intermediates=lambda module, _: module.name == 'pooler')
  pooled = np.tanh(kept['intermediates']['pooler']['__call__'][0])
  assert pooled.shape == (8, 16)
  head = params['pair_head']
  x = np.concatenate([pooled[0::2], pooled[1::2]], 1)       # Left, right.
  x = np.maximum(x @ head['fc1']['kernel'].reshape(32, -1)
                 + head['fc1']['bias'], 0)
  assert ('norm' in head) == norm
  if norm:
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    x = x * head['norm']['scale'] + head['norm']['bias']
  np.testing.assert_allclose(
      said['pair'], x @ head['fc2']['kernel'] + head['fc2']['bias'], atol=1e-5)


# --- costs --------------------------------------------------------------------


@functools.cache
def whole(name):
  """Millions of parameters, untied, and billions of MACs of 70 + 50 tokens."""
  size = lambda outputs: minivlm.Model(**minivlm.sizes(name) | dict(
      outputs=outputs, tied=False, image_norm=True, tag_start=None))
  channels = minivlm.sizes(name)['feature_size']
  batch = dict(
      tokens=jnp.ones((1, 70), int), places=jnp.zeros((1, 1), int),
      regions=jnp.ones((1, 50, channels)), boxes=jnp.ones((1, 50, 4)))
  shapes = lambda model: elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), batch)['params'])
  alone = size(('match',))
  return elastic.size(shapes(size(('words', 'match')))) / 1e6, costs.of(
      alone, shapes(alone), batch).macs / 1e9


def test_costs_of_the_published_sizes():
  small, large = whole('minilm_l12_h384'), whole('oscar_base')
  assert (round(small[1], 1), round(large[1], 1)) == (2.7, 10.5)
  # By hand: a layer has 12 w^2 weights, and two products of all with all.
  by_hand = lambda w, f: 12 * (12 * w * w * 120 + 2 * 120 * 120 * w) + (
      50 * (f + 6) * w) + w * w + 2 * w
  assert small[1] * 1e9 == by_hand(384, 1024)
  assert large[1] * 1e9 == by_hand(768, 2048)
  # With TEE's 7.50 M in place of the large detector's 63.8 M: -73.3 %.
  saved = 1 - (7.498055 + small[0]) / (63.8 + large[0])
  assert round(100 * saved, 1) == 73.3


# --- trainings ----------------------------------------------------------------


def shrunk(config):
  """Sizes that compile at once."""
  config.model.update(width=8, mlp=16, fused=16, num_layers=2)
  config.data.limit = 16
  config.steps = config.log_every = config.save_every = 2
  config.eval_every = 0
  return config


def test_answers_start_from_a_pre_training(tmp_path):
  config = shrunk(minivlm_vqa.get_config('tiny'))
  words = ('questions', 'pretraining')
  config.data.update(words_of=words)
  before = config.copy_and_resolve_references()
  before.data = dict(name='digit_scenes/tiny', form='pretraining', batch=16,
                     inputs=('regions',), words_of=words, max_tokens=20,
                     limit=16)
  before.task = dict(name='words', match=1.0)
  before.model.tag_start = 20
  random_workdir.make(tmp_path / 'before', before)
  config.start = dict(workdir=str(tmp_path / 'before'), fresh=('head',),
                      leave=minivlm_vqa.HEADS)
  assert minivlm_vqa.get_config('pretrained').start.leave == minivlm_vqa.HEADS
  job, = jobs.prepare(config, tmp_path / 'after')
  found = elastic.flatten(starts.params(job.start, job.exp, 0))
  there = elastic.flatten(checkpoint.load_params(tmp_path / 'before'))
  heads = {path.split('/')[0] for path in there.keys() - found.keys()}
  assert heads == {'words_head', 'match_head'}
  assert {path for path in found.keys() - there.keys()} == {
      'head/bias', 'head/kernel'}
  for path in found.keys() & there.keys():
    np.testing.assert_array_equal(found[path], there[path], err_msg=path)
  np.testing.assert_allclose(found['head/bias'], -np.log(0.99 / 0.01),
                             rtol=1e-6)
  train.run(config, tmp_path / 'after')
  result = json.loads((tmp_path / 'after/evaluation_test.json').read_text())
  assert 0 <= result['rows'][0]['accuracy']['overall'] <= 100


def test_statements_train(tmp_path):
  config = shrunk(minivlm_nlvr2.get_config('tiny'))
  train.run(config, tmp_path)
  result = json.loads((tmp_path / 'evaluation_test.json').read_text())
  assert 0 <= result['rows'][0]['accuracy']['overall'] <= 100
  assert result['floor'] == 'most frequent label'
  params = elastic.flatten(checkpoint.load_params(tmp_path))
  assert params['pair_head/norm/scale'].shape == (16,)
  # On scenes it goes on from the answers, the head apart.
  start = minivlm_nlvr2.get_config('scenes').start
  assert (start.fresh, start.leave) == (('pair_head',), ('head',))
  asked = minivlm_vqa.get_config('scenes')
  assert {key for key in asked.model if asked.model[key] !=
          minivlm_nlvr2.get_config('scenes').model[key]} == {'dropout'}
