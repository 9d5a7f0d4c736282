"""Words that are masked in texts, and texts that belong to a picture."""
import re

from bst_jax import models as backbones
from bst_jax import tasks
from bst_jax.data import source, text, word_pieces
from bst_jax.data.byte_pairs import BytePairs
from bst_jax.data.forms import pretraining
from bst_jax.scores import masked
from configs import das_scenes
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

NAME = 'digit_scenes/tiny'


@pytest.fixture(scope='module')
def load(tmp_path_factory):
  home = str(tmp_path_factory.mktemp('datasets'))

  def load(shard=(0, 1), **options):
    return source.load(dict(
        name=NAME, form='pretraining', inputs=('image',), batch=16,
        texts_per_picture=4, eval_texts_per_picture=2, data_dir=home) | options,
                       None, None, *shard)
  return load


def rows_of(words=100, share=0.15, most=5):
  return pretraining.Texts(
      [], np.zeros(1), mask=words, kept=(0, 2), size=words, share=share,
      most=most)


def test_words_are_masked_in_the_published_shares():
  rows, rng = rows_of(share=0.5, most=40), np.random.default_rng(0)
  ids = np.concatenate([[2], np.arange(10, 70), np.zeros(4, int)]).astype(
      np.int32)
  fates = np.zeros(3)
  for _ in range(300):
    new, places, told = pretraining.masked(ids, rows, rng)
    assert told.sum() == 30 and (np.diff(places[:30]) > 0).all()
    assert not np.isin(ids[places[:30]], rows.kept).any()
    untouched = np.setdiff1d(np.arange(len(ids)), places[:30])
    np.testing.assert_array_equal(new[untouched], ids[untouched])
    was, now = ids[places[:30]], new[places[:30]]
    fates += [(now == 100).sum(), ((now != 100) & (now != was)).sum(),
              (now == was).sum()]
  np.testing.assert_allclose(fates / fates.sum(), [0.8, 0.1, 0.1], atol=0.01)


@pytest.mark.parametrize('length, share, most, count', [
    (20, 0.15, 5, 3), (1, 0.15, 5, 1), (60, 0.5, 5, 5), (0, 0.15, 5, 0)])
def test_how_many_words_are_masked(length, share, most, count):
  ids = np.concatenate([np.full(length, 7), np.zeros(3, int)]).astype(np.int32)
  _, places, told = pretraining.masked(
      ids, rows_of(share=share, most=most), np.random.default_rng(0))
  assert told.sum() == count and len(places) == most


def test_words_are_told_of_a_picture_s_own_text_alone(load):
  data = load()
  batch = next(data.train())
  own = batch['match'] > 0
  np.testing.assert_array_equal(own, np.arange(16) % 4 == 0)
  assert not batch['told'][~own].any() and batch['told'][own].any(1).all()
  # Texts of other pictures are masked too, or masks would tell them apart.
  hidden = (batch['tokens'] == text.UNK).any(1)
  assert hidden[~own].mean() > 0.8
  # What is to be told stood there.
  for i in np.flatnonzero(own):
    there = batch['tokens'][i].copy()
    count = batch['told'][i].sum()
    there[batch['places'][i][:count]] = batch['words'][i][:count]
    said = data.vocab.decode(there)
    assert re.match('a (small|large) |.* plates?|a picture|the digits', said)
    assert text.UNK not in there


def test_evaluation_masks_alike_every_time(load):
  data = load()
  one, two = (list(data.evaluation('test')) for _ in range(2))
  for a, b in zip(one, two, strict=True):
    for key, array in a.items():
      np.testing.assert_array_equal(array, b[key], err_msg=key)
  captions = load(form='captions', eval_texts_per_picture=2)
  assert sum(batch['mask'].sum() for batch in one) == sum(
      batch['mask'].sum() for batch in captions.evaluation('test'))
  assert all((batch['match'] == batch['mask']).all() for batch in one)


def test_a_run_that_goes_on_draws_the_same_masks(load):
  order = load().train()
  next(order)
  place, wanted = order.get_state(), next(order)
  again = load().train()
  again.set_state(place)
  for key, array in next(again).items():
    np.testing.assert_array_equal(array, wanted[key], err_msg=key)


def test_hosts_share_what_one_host_sees(load):
  wanted = next(load().train())
  halves = [next(load(shard=(host, 2)).train()) for host in range(2)]
  for key, array in wanted.items():
    np.testing.assert_array_equal(
        np.concatenate([half[key] for half in halves]), array, err_msg=key)


@pytest.mark.parametrize('options, said', [
    (dict(masked=0.0), 'config.data.masked is 0.0'),
    (dict(masked=1.5), 'a share above 0 and at most 1'),
    (dict(max_masked=0), 'max_masked 0'),
    (dict(max_masked=31), 'at most max_tokens = 30')])
def test_shares_that_cannot_be(options, said):
  with pytest.raises(ValueError, match=re.escape(said)):
    pretraining.Options(**options)


def test_a_vocabulary_without_a_mask():
  words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a']
  assert word_pieces.WordPieces(words).mask == 4
  assert word_pieces.WordPieces(words).special == (0, 2, 3)
  words.remove('[MASK]')
  with pytest.raises(ValueError, match=r'has \[MASK\] 0 times'):
    _ = word_pieces.WordPieces(words).mask
  pairs = ['<s>', '<pad>', '</s>', '<unk>', 'a', '<mask>']
  assert BytePairs(pairs, []).mask == 5


def task_batch():
  """Two texts of one picture; the second is another's."""
  logits = np.zeros((2, 3, 5), np.float32)
  logits[0, 0, 4] = 9.0
  return {'words': jnp.asarray(logits), 'match': jnp.array([2.0, 1.0])}, {
      'words': jnp.array([[4, 1, 2], [3, 3, 3]]),
      'told': jnp.array([[True, True, False], [False] * 3]),
      'mask': jnp.array([True, True]), 'match': jnp.array([1, 0]),
      'picture': jnp.array([0, 0])}


def test_losses_of_words_and_of_matches():
  outputs, batch = task_batch()
  right = -9.0 + np.log(np.exp(9.0) + 4)
  words = (right + np.log(5)) / 2
  match = np.log(1 + np.exp(-1.0))
  loss = lambda **options: float(tasks.hard(
      tasks.create(dict(name='words', **options)), outputs, batch))
  np.testing.assert_allclose(loss(), words, rtol=1e-5)
  np.testing.assert_allclose(loss(match=2.0), words + 2 * match, rtol=1e-5)
  batch['mask'] = jnp.array([False, True])
  assert loss() == 0.0


def test_percent_of_words_that_are_right():
  outputs, batch = task_batch()
  measure = masked.make()
  sums = jax.tree.map(np.asarray, measure.read(outputs, batch))
  assert measure.finish(sums, None) == {'overall': 50.0}


@pytest.mark.parametrize(
    'name', ['vilt', 'meter', 'uniter', 'clip_vil', 'minivlm'])
def test_words_at_places_do_not_depend_on_the_others(name):
  """Each place has the logits that a model asked for it alone would give."""
  sizes, make_batch = models.TINY[name]
  made = backbones.create(sizes | dict(outputs=('words',)))
  batch, places = make_batch(), jnp.array([[0, 2], [0, 0], [1, 4], [3, 1]])
  params, _ = models.prepare(made, batch | {'places': places})
  run = jax.jit(lambda places: made.apply(
      {'params': params}, batch | {'places': places})['words'])
  whole, swapped = run(places), run(places[:, ::-1])
  assert whole.shape == (4, 2, 11)
  np.testing.assert_allclose(whole, swapped[:, ::-1], atol=1e-6)
  assert np.abs(whole[0, 0] - whole[0, 1]).max() > 1e-3
  with pytest.raises(ValueError, match="no key of the batch 'places'"):
    made.apply({'params': params}, batch)


def test_mcan_reads_its_text_alone_and_tells_no_words():
  with pytest.raises(ValueError, match="no output.*'words'"):
    models.build('mcan_vqa', outputs=('words',))


def test_the_scenes_model_is_pre_trained_so():
  config = das_scenes.get_config('pretrain')
  task = tasks.create(config.task)
  assert task.outputs == ('words', 'match') and task.form == config.data.form
