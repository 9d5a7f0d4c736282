"""Captions as a task: masked words, their loss, and what is written."""
import json
import logging as python_logging
import re

from absl import logging
from bst_jax import tasks
from bst_jax.data import source, text, word_pieces
from bst_jax.data.forms import captioning
from bst_jax.tasks import captioning as task_lib
from bst_jax.tasks import losses
import jax.numpy as jnp
import numpy as np
import pytest

WORDS = text.Vocabulary(['a', 'red', 'circle', 'and', 'square'])
PIECES = word_pieces.WordPieces(
    ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'red', 'circle'])


@pytest.fixture
def log(caplog):
  logging.get_absl_logger().addHandler(caplog.handler)
  caplog.set_level(python_logging.INFO, 'absl')
  yield caplog
  logging.get_absl_logger().removeHandler(caplog.handler)


# --- the loss -----------------------------------------------------------------

def test_smoothing_by_hand():
  """0.1 spread over the three other classes of four, and not over four."""
  logits = jnp.log(jnp.array([[.4, .3, .2, .1]]))
  want = -(.9 * np.log(.3) + .1 / 3 * np.log(.4 * .2 * .1))
  got = losses.smoothed(logits, jnp.array([1]), 0.1)
  np.testing.assert_allclose(got, [want], rtol=1e-6)
  np.testing.assert_allclose(losses.smoothed(logits, jnp.array([1]), 0.0),
                             [-np.log(.3)], rtol=1e-6)


def test_masked_words_of_real_captions_alone_count():
  task = tasks.create(dict(name='captioning', smoothing=0.0))
  logits = np.log(np.array([[[.5, .5], [.9, .1]], [[.2, .8], [.6, .4]]]))
  batch = dict(words=jnp.array([[0, 1], [1, 0]]),
               told=jnp.array([[True, False], [True, True]]),
               mask=jnp.array([True, True]))
  of = lambda batch: tasks.hard(task, {'words': jnp.array(logits)}, batch)
  np.testing.assert_allclose(
      of(batch), -np.log([.5, .8, .6]).mean(), rtol=1e-6)
  np.testing.assert_allclose(
      of(batch | {'mask': jnp.array([True, False])}), -np.log(.5), rtol=1e-6)


@pytest.mark.parametrize('options', [
    dict(smoothing=1.0), dict(beams=0), dict(least=-1), dict(block=-1)])
def test_tasks_that_cannot_be(options):
  name, = options
  with pytest.raises(ValueError, match=f'config.task has.*{name}='):
    tasks.create(dict(name='captioning', **options))


def test_another_measure_reads_what_was_written():
  task = tasks.create(dict(name='captioning', measure=dict(name='captions')))
  said = jnp.array([[2, 3, 2]])
  found = task.measure.read(
      {'captions': said, 'words': None},
      dict(tokens=jnp.ones((2, 3), int), whole=jnp.array([[2, 3, 2]] * 2),
           picture=jnp.zeros(2, int)))
  np.testing.assert_array_equal(found['said'], [[2, 3, 2]] * 2)
  np.testing.assert_array_equal(found['tokens'], [[2, 3, 2]] * 2)


# --- what may be said ---------------------------------------------------------

@pytest.mark.parametrize('words, special, never', [
    (WORDS, (2, 2, 1), (0, 1)), (PIECES, (2, 3, 4), (0, 2, 4))])
def test_what_opens_and_closes(words, special, never):
  assert captioning.special(words) == special
  rules = task_lib.rules({'special': [*special]}, 9)
  assert (rules.start, rules.end, rules.never) == (*special[:2], never)
  padded = task_lib.rules({'special': special, 'vocab_size': 8}, 9, rows=10)
  assert padded.never == (*never, 8, 9)  # Rows that no word uses.
  with pytest.raises(ValueError, match='nothing tells which words begin'):
    task_lib.rules({'vocab_size': 9}, 9)


def test_a_vocabulary_without_a_mask_writes_nothing():
  words = word_pieces.WordPieces(['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a'])
  with pytest.raises(ValueError, match=r'has \[MASK\] 0 times'):
    captioning.special(words)


# --- the form -----------------------------------------------------------------

@pytest.mark.parametrize('words, rows', [
    (WORDS, [[2, 3, 4, 5, 2, 0], [2, 3, 4, 5, 6, 2], [2, 3, 4, 5, 6, 3],
             [2, 2, 0, 0, 0, 0]]),
    (PIECES, [[2, 5, 6, 7, 3, 0], [2, 5, 6, 7, 1, 3], [2, 5, 6, 7, 1, 5],
              [2, 3, 0, 0, 0, 0]])])
def test_captions_are_closed_unless_they_are_cut(words, rows, log):
  texts = ['a red circle', 'a red circle and', 'a red circle and a', '']
  got = captioning.numbered(texts, words, 6)
  np.testing.assert_array_equal(got, rows)
  assert '1 of 4 different captions are longer than 6 tokens' in log.text


@pytest.fixture(scope='module')
def load(tmp_path_factory):
  home = str(tmp_path_factory.mktemp('datasets'))

  def load(**options):
    return source.load(dict(
        name='digit_scenes/tiny', form='captioning', batch=16, max_tokens=16,
        eval_texts_per_picture=5, data_dir=home) | options)
  return load


def test_a_batch(load):
  data = load()
  assert data.sizes['special'] == (2, 2, 1) and data.sizes['max_masked'] == 3
  order, closing = data.train(), 0
  for _ in range(4):
    batch = next(order)
    whole, told = batch['whole'], batch['told']
    assert (whole[:, 0] == 2).all() and (batch['tokens'][:, 0] == 2).all()
    assert told.any(1).all() and (batch['places'][told] > 0).all()
    # What is to be told stood there; all else stands as it was.
    rows = np.nonzero(told)[0]
    np.testing.assert_array_equal(
        batch['words'][told], whole[rows, batch['places'][told]])
    again = batch['tokens'].copy()
    again[rows, batch['places'][told]] = batch['words'][told]
    np.testing.assert_array_equal(again, whole)
    # Three of twelve words at most: a caption of 13 has two.
    counts = (whole[:, 1:] != 0).sum(1)
    np.testing.assert_array_equal(
        told.sum(1), np.clip([round(.15 * count) for count in counts], 1, 3))
    closing += (batch['words'][told] == 2).sum()
  assert closing  # The model is to learn to stop.


def test_evaluation_has_pictures_with_all_their_captions(load):
  data = load()
  batch = next(iter(data.evaluation('test')))
  pictures = len(batch['regions'])
  texts = data.split('test').rows
  own = batch['picture'].reshape(pictures, 5)
  mask = batch['mask'].reshape(pictures, 5)
  counts = np.zeros(pictures, int)
  counts[:32] = np.diff(texts.start)
  np.testing.assert_array_equal(mask.sum(1), counts)
  assert (own[mask] == np.repeat(np.arange(pictures), mask.sum(1))).all()
  assert not batch['whole'].reshape(pictures, 5, -1)[~mask].any()
  np.testing.assert_array_equal(
      batch['places'], next(iter(data.evaluation('test')))['places'])


@pytest.mark.parametrize('options, said', [
    (dict(masked=0.0), 'config.data.masked is 0.0'),
    (dict(max_masked=20), 'at most max_tokens - 1 = 19')])
def test_shares_that_cannot_be(options, said):
  with pytest.raises(ValueError, match=re.escape(said)):
    captioning.Options(**options)


def test_sizes_outlive_a_file(load, tmp_path):
  (tmp_path / 'sizes.json').write_text(json.dumps(load().sizes))
  sizes = json.loads((tmp_path / 'sizes.json').read_text())
  assert task_lib.special(sizes) == (2, 2, 1)
