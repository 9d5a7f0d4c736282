"""MiniVLM's pre-training with tags, and its retrieval: batches and losses."""
import re

from bst_jax import tasks
from bst_jax.data import records, source
from bst_jax.data.forms import Place, pretraining, retrieval
from bst_jax.run import experiment, validation
from captioners import build, opened
from configs import minivlm_pretrain, minivlm_retrieval
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_opening

CLS = 2


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  return str(tmp_path_factory.mktemp('datasets'))


@pytest.fixture(scope='module')
def load(home):
  return lambda config=minivlm_pretrain, **options: opened(
      home, config, **options)


@pytest.fixture(scope='module')
def said(load):
  """Captions, tags and regions of the pictures of training, from records."""
  found = []
  for record in records.read(load().builder, 'train', [
      'captions', 'plates', 'regions']):
    colors = 'red green blue yellow purple cyan'.split()
    plates = record['plates']
    tags = {f'{colors[c]} {d}' for c, d in zip(
        plates['color'], plates['digit'])}
    found.append(([c.decode() for c in record['captions']],
                  ' '.join(sorted(tags)), record['regions']))
  return found


# --- masks ----------------------------------------------------------------------


def rows_of(share, most):
  return pretraining.Texts([], np.zeros(1), mask=99, size=99, share=share,
                           most=most)


# [CLS] 10 11 [SEP] . . | 12 13 [SEP] . : its last tag is the ninth token.
TEXT = np.array([2, 10, 11, 3, 0, 0, 12, 13, 3, 0], np.int32)
WITHOUT = np.where(np.arange(10) < 6, TEXT, 0)


@pytest.mark.parametrize('ids, share, most, count, places', [
    (TEXT, 0.34, 5, 3, {1, 2, 3, 6, 7, 8}),    # round(0.34 * 9)
    (TEXT, 0.15, 5, 1, {1, 2, 3, 6, 7, 8}),    # round(1.35)
    (TEXT, 0.01, 5, 1, {1, 2, 3, 6, 7, 8}),    # One at least
    (TEXT, 0.9, 4, 4, {1, 2, 3, 6, 7, 8}),     # and as many at most
    (TEXT, 0.9, 7, 6, {1, 2, 3, 6, 7, 8}),     # as there are.
    (WITHOUT, 0.45, 5, 2, {1, 2, 3}),          # round(0.45 * 4)
    (np.zeros(10, np.int32), 0.5, 5, 0, set())])
def test_counts_and_places_of_masks_by_hand(ids, share, most, count, places):
  rng, seen = np.random.default_rng(0), set()
  for _ in range(60):
    new, found, told = pretraining.masked_with_tags(
        ids, rows_of(share, most), rng)
    assert told.tolist() == [i < count for i in range(most)]
    assert (np.diff(found[:count]) > 0).all() and not found[count:].any()
    seen |= set(found[:count].tolist())
    rest = np.setdiff1d(np.arange(10), found[:count])
    np.testing.assert_array_equal(new[rest], ids[rest])
  assert seen == places


def test_shares_over_ten_thousand_draws():
  rows, rng = rows_of(0.34, 3), np.random.default_rng(1)
  times, fates = np.zeros(10), np.zeros(3)
  for _ in range(10_000):
    new, places, _ = pretraining.masked_with_tags(TEXT, rows, rng)
    times[places] += 1
    now, was = new[places], TEXT[places]
    fates += [(now == 99).sum(), ((now != 99) & (now != was)).sum(),
              (now == was).sum()]
  np.testing.assert_allclose(times / 10_000, [
      0, .5, .5, .5, 0, 0, .5, .5, .5, 0], atol=0.02)
  np.testing.assert_allclose(fates / 30_000, [.8, .1 * 98 / 99, .1 + .1 / 99],
                             atol=0.01)


# --- batches of pre-training ----------------------------------------------------


def made(data, count):
  """A batch of so many texts, without pictures."""
  numbers = data.numbers()
  which = np.arange(count) % len(numbers.texts)
  return numbers, which, pretraining.make(numbers, Place(
      numbers.owner[which], which[:, None], np.ones((count, 1), bool), True,
      [(3, 1, i, 0) for i in range(count)]), {})


def test_half_of_the_texts_have_the_tags_of_another_picture(load, said):
  data = load()
  numbers, which, batch = made(data, 10_000)
  match, length = batch['match'] > 0, 32
  assert abs(match.mean() - 0.5) < 0.015 and batch['tags'].shape == (10_000, 8)
  whole = np.concatenate([batch['tokens'], batch['tags']], 1)
  # Of wrong tags no masked word is told, of their texts each one is.
  real = np.arange(5) < (batch['places'] > 0).sum(1, keepdims=True)
  of_tags = batch['places'] >= length
  np.testing.assert_array_equal(
      batch['told'], real & ~(of_tags & ~match[:, None]))
  assert (real & of_tags & ~match[:, None]).any(1).mean() > 0.1
  np.put_along_axis(whole, np.where(real, batch['places'], 0), np.where(
      real, batch['words'], whole[:, :1]), 1)
  of_picture = [data.vocab.encode(tags, 8).tolist() for _, tags, _ in said]
  assert (batch['tokens'][:, 0] == CLS).all()
  for row in range(500):
    picture = numbers.owner[which[row]]
    text = data.vocab.decode(whole[row, :length]).split()
    assert text[0] == text[-1] == 'CLS'
    assert ' '.join(text[1:-1]) in [
        ' '.join(data.vocab.decode(data.vocab.encode(one, 40)).split())
        for one in said[picture][0]]
    tags = whole[row, length:].tolist()
    assert tags in of_picture
    assert (tags == of_picture[picture]) == match[row]


def test_evaluation_has_the_right_tags_and_the_same_masks(load):
  data = load()
  batch, again = (next(iter(data.evaluation('val'))) for _ in range(2))
  for key, array in batch.items():
    np.testing.assert_array_equal(array, again[key], err_msg=key)
  assert (batch['match'] == batch['mask']).all() and batch['told'].any()
  training = next(data.train())
  assert {k: v.shape for k, v in training.items()} == {
      k: v.shape for k, v in data.example.items()}
  assert len(training['tokens']) == len(training['regions']) == 16


def test_questions_have_their_answers_as_tags(tmp_path):
  files = test_opening.folder(tmp_path / 'files')
  data = source.load(dict(
      name='folder/regions', form='pretraining', negatives='tags', max_tags=2,
      max_tokens=6, max_masked=2, batch=2, eval='val',
      data_dir=str(tmp_path / 'home'), manual_dir=str(files)))
  rows = data.split('train').rows
  assert rows.texts[:3] == ['What is 0?', 'What is 1?', 'What is 2?']
  assert rows.tags[:3] == ['yes', 'no ü', 'yes']
  numbers, which, batch = made(data, 200)
  match = batch['match'] > 0
  assert 0.35 < match.mean() < 0.65
  other = {'yes': 'no ü', 'no ü': 'yes'}
  in_text = np.flatnonzero(batch['places'].max(1) < 6)  # No mask is of a tag.
  assert len(in_text) > 50
  for i in in_text:
    answer = rows.tags[which[i]]
    assert data.vocab.decode(batch['tags'][i]) == (
        answer if match[i] else other[answer])
  assert next(data.train())['regions'].shape == (2, 1, 4)


# --- losses ---------------------------------------------------------------------


def test_a_pair_that_matches_or_not_is_two_classes():
  two = np.array([[0.3, 1.5], [2.0, -1.0], [0.1, 0.4]])
  label, mask = np.array([1, 1, 0]), np.array([True, True, False])
  odds = np.exp(two) / np.exp(two).sum(1, keepdims=True)
  match = -np.log([odds[0, 1], odds[1, 1]]).mean()
  logits = np.log(np.array([[[.5, .5]], [[.2, .8]], [[.9, .1]]]))
  batch = dict(words=jnp.array([[0], [1], [0]]), match=jnp.array(label),
               told=jnp.array([[True], [False], [True]]), mask=jnp.array(mask),
               picture=jnp.array([4, 4, 7]))
  outputs = {'words': jnp.array(logits), 'match': jnp.array(two[:, 1] - two[:, 0])}
  loss = lambda **task: float(tasks.hard(tasks.create(task), outputs, batch))
  np.testing.assert_allclose(loss(name='match', loss='yes_or_no'), match,
                             rtol=1e-5)
  np.testing.assert_allclose(
      loss(name='words', match=1.0, match_loss='yes_or_no'),
      match - np.log(.5), rtol=1e-5)
  wrong = -np.log([odds[0, 1], odds[1, 0]]).mean()
  batch['match'] = jnp.array([1, 0, 0])
  np.testing.assert_allclose(loss(name='match', loss='yes_or_no'), wrong,
                             rtol=1e-5)
  with pytest.raises(ValueError, match="Did you mean 'yes_or_no'"):
    tasks.create(dict(name='match', loss='yes_or_not'))


def test_a_match_is_of_tags_alone_where_the_first_word_sees_no_text():
  model, params, batch, _ = build(mask='caption', outputs=('words', 'match'))
  batch = batch | {'places': jnp.array([[2, 6]] * 4)}  # A word, the first tag.
  run = jax.jit(lambda batch: model.apply({'params': params}, batch))
  said = run(batch)
  text = run(batch | {'tokens': batch['tokens'].at[:, 1].set(7)})
  tags = run(batch | {'tags': batch['tags'].at[:, 0].add(1)})
  np.testing.assert_array_equal(text['match'], said['match'])
  np.testing.assert_array_equal(text['words'][:, 1], said['words'][:, 1])
  assert np.abs(text['words'][:, 0] - said['words'][:, 0]).max() > 1e-4
  assert np.abs(tags['match'] - said['match']).min() > 1e-5
  assert np.abs(tags['words'] - said['words']).max(-1).min() > 1e-5


# --- retrieval ------------------------------------------------------------------


def test_one_wrong_pair_of_either_kind_for_each_right_one(load, said):
  data = load(minivlm_retrieval)
  rows, batches = data.split('train').rows, data.train()
  kinds = []
  for _ in range(4):
    batch = next(batches)
    assert {k: v.shape for k, v in batch.items()} == {
        k: v.shape for k, v in data.example.items()}
    assert len(batch['regions']) == len(batch['tokens']) == 16
    assert batch['match'].tolist() == [1, 0] * 8
    for i in range(16):
      picture, text = batch['picture'][i], batch['text'][i]
      regions = said[picture][2]
      np.testing.assert_allclose(batch['regions'][i, :len(regions)], regions)
      assert batch['tags'][i].tolist() == data.vocab.encode(
          said[picture][1], 8).tolist()
      assert (rows.texts[text] in said[picture][0]) == batch['match'][i]
      words = data.vocab.decode(batch['tokens'][i]).split()
      assert words[0] == words[-1] == 'CLS'
      assert words[1:-1] == data.vocab.decode(
          data.vocab.encode(rows.texts[text], 40)).split()
    same = [batch[key].reshape(8, 2) for key in ('picture', 'text')]
    kinds += [(p[0] == p[1], t[0] == t[1]) for p, t in zip(*same)]
  assert {*kinds} == {(True, False), (False, True)}


def test_shares_of_both_kinds():
  rows = retrieval.Texts([*'abcdefgh'], np.arange(0, 10, 2)[:5], same=np.arange(
      8), drawn=2, either=True)
  rng = np.random.default_rng(0)
  pairs = np.array([retrieval.wrong(rows, 1, 2, rng) for _ in range(10_000)])
  other_text, other_picture = pairs[:, 0] == 1, pairs[:, 1] == 2
  assert (other_text ^ other_picture).all()
  assert abs(other_text.mean() - 0.5) < 0.015
  # Each wrong one is as often drawn as the others.
  texts = np.bincount(pairs[other_text, 1], minlength=8) / other_text.sum()
  np.testing.assert_allclose(texts, [1/6, 1/6, 0, 0] + [1/6] * 4, atol=0.02)
  shown = np.bincount(pairs[other_picture, 0], minlength=4) / (
      other_picture.sum())
  np.testing.assert_allclose(shown, [1/3, 0, 1/3, 1/3], atol=0.03)
  # A picture with an equal text is never the wrong one.
  rows.same[0] = 2
  pairs = [retrieval.wrong(rows, 1, 2, rng) for _ in range(200)]
  assert (0, 2) not in pairs and (2, 2) in pairs
  rows.same[:] = 0
  with pytest.raises(ValueError, match='pictures without the text of another '
                     'one were to be drawn, but there are 0|texts of other'):
    for _ in range(9):
      retrieval.wrong(rows, 1, 2, rng)


def test_evaluation_has_every_pair_with_the_picture_s_tags(load):
  data = load(minivlm_retrieval, limit=5, eval_texts_per_picture=2,
              texts='joined')
  seen = set()
  for batch in data.evaluation('test'):
    real = batch['mask']
    seen |= {*zip(batch['picture'][real].tolist(), batch['text'][real].tolist())}
    for i in np.flatnonzero(real):
      assert batch['match'][i] == (batch['picture'][i] == batch['text'][i])
      assert batch['tags'][i].tolist() == data.numbers('test').tag_tokens[
          batch['picture'][i]].tolist()
  assert seen == {(p, t) for p in range(5) for t in range(5)}


@pytest.mark.parametrize('module', [minivlm_pretrain, minivlm_retrieval])
def test_hosts_share_what_one_host_sees(load, home, module):
  wanted = next(load(module).train())
  config = dict(module.get_config('tiny').data) | dict(data_dir=home)
  halves = [next(source.load(config, None, None, host, 2).train())
            for host in range(2)]
  for key, array in wanted.items():
    np.testing.assert_array_equal(
        np.concatenate([half[key] for half in halves]), array, err_msg=key)


# --- what cannot be -------------------------------------------------------------


@pytest.mark.parametrize('options, says', [
    (dict(negatives='tags'), 'max_tags 0, but tags are what is wrong'),
    (dict(max_tags=3), "use negatives='tags' with a max_tags"),
    (dict(negatives='either'), 'There are: tags, texts.')])
def test_options_that_cannot_be(options, says):
  with pytest.raises(ValueError, match=re.escape(says)):
    pretraining.Options(**options)


@pytest.mark.parametrize('config, part, change, says', [
    (minivlm_pretrain, 'data', dict(negatives='texts', max_tags=0),
     'the first word, of which a match is told, never sees the text'),
    (minivlm_retrieval, 'model', dict(mask='caption'), "or the mask 'both'"),
    (minivlm_pretrain, 'task', dict(match_loss='one_of_many'),
     "Set config.task.match_loss='yes_or_no'"),
    (minivlm_retrieval, 'task', dict(loss='one_of_many'),
     "Set config.task.loss='yes_or_no'"),
    (minivlm_pretrain, 'data', dict(limit=1), 'there are 1 different tags'),
    (minivlm_pretrain, 'data', dict(plate_tags=('colour',)), "'color'")])
def test_settings_that_do_not_fit_are_refused(config, part, change, says, home):
  config = config.get_config('tiny')
  config.data.data_dir = home
  config[part].update(change)
  with pytest.raises(ValueError, match=re.escape(says)):
    validation.check(config)
    experiment.load_data(config, home)
