"""From records to batches: text, order, shards, state, damage."""
import collections
import importlib
import io
import itertools
import json
import pathlib
import shutil
import subprocess
import sys

from absl import logging
from bst_jax.data import image, source, text
import numpy as np
from PIL import Image
import pytest

NAME = 'digit_scenes/tiny'


@pytest.fixture(scope='session')
def home(tmp_path_factory):
  """A folder with the tiny set, made once."""
  folder = tmp_path_factory.mktemp('datasets')
  source.load(dict(name=NAME, data_dir=str(folder)))
  return folder


@pytest.fixture
def load(home):
  def load(vocab_dir=None, shard=(0, 1), batch=None, **options):
    config = dict(name=NAME, batch=32, questions_per_picture=4,
                  data_dir=str(home)) | options
    return source.load(config, vocab_dir=vocab_dir, batch=batch,
                       shard_index=shard[0], shard_count=shard[1])
  return load


def same(one, other):
  assert one.keys() == other.keys()
  for key in one:
    assert one[key].dtype == other[key].dtype, key
    np.testing.assert_array_equal(one[key], other[key], err_msg=key)


# Text.


@pytest.mark.parametrize('question, words', [
    ("What's the dog's name?", 'whats the dogs name'),
    ('Is it red/white, or black-and-blue?',
     'is it red white or black and blue'),
    ('  "How many" (approx.) #1 *: ;! ', 'how many approx 1'),
    ('', ''),
])
def test_tokenize(question, words):
  assert text.tokenize(question) == words.split()


def test_vocabulary_counts_words_as_they_appear(tmp_path):
  vocab = text.Vocabulary.build(['Is it red?', 'It is a cat.'])
  assert vocab.words == ('PAD', 'UNK', 'CLS', 'is', 'it', 'red', 'a', 'cat')
  ids = vocab.encode('a blue cat', 5)
  assert ids.dtype == np.int32 and ids.tolist() == [6, 1, 7, 0, 0]
  assert vocab.encode('is it a red cat', 3).tolist() == [3, 4, 6]
  vocab.save(tmp_path / 'deep' / 'words.json')
  assert text.Vocabulary.load(tmp_path / 'deep' / 'words.json') == vocab
  assert [p.name for p in (tmp_path / 'deep').iterdir()] == ['words.json']


def test_damaged_vocabulary_is_named(tmp_path):
  path = tmp_path / 'words.json'
  for content in ('["PAD", "UNK"', '{"a": 1}', '[1, 2]'):
    path.write_text(content)
    with pytest.raises(ValueError, match='words.json was to be read'):
      text.Vocabulary.load(path)
  path.write_text('["is", "it"]')
  with pytest.raises(ValueError, match='ids 0 to 2'):
    text.Vocabulary.load(path)
  with pytest.raises(ValueError, match='more than once'):
    text.Vocabulary(['a', 'a'])


def test_soft_scores():
  said = ['a'] * 1 + ['b'] * 2 + ['c'] * 3 + ['d'] * 4
  assert text.soft_scores(said) == {'a': 0.3, 'b': 0.6, 'c': 0.9, 'd': 1.0}


@pytest.mark.parametrize('counts', [
    (10,), (9, 1), (8, 2), (7, 3), (6, 4), (5, 3, 1, 1), (1,) * 10])
def test_accuracy_is_the_mean_over_the_others(counts):
  said = [chr(97 + i) for i, n in enumerate(counts) for _ in range(n)]
  found = text.vqa_accuracies(said)
  for answer in set(said):
    each = [min(1, (said[:i] + said[i + 1:]).count(answer) / 3)
            for i in range(10)]
    assert found[answer] == pytest.approx(sum(each) / 10, abs=1e-12)


def test_answers_are_ranked_by_count_then_name():
  assert text.rank_answers('bbaacd') == ('a', 'b', 'c', 'd')
  assert text.rank_answers('bbaacd', 2) == ('a', 'b')


# Pictures.


def encoded(array, kind='PNG', mode=None):
  file = io.BytesIO()
  Image.fromarray(array, mode).save(file, kind)
  return file.getvalue()


def test_decode_and_resize():
  array = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
  np.testing.assert_array_equal(image.decode(encoded(array)), array)
  assert image.decode(encoded(array), 4).shape == (4, 4, 3)
  assert image.decode(encoded(array, 'JPEG'), (3, 5)).shape == (3, 5, 3)
  grey = image.decode(encoded(array[:, :, 0]))
  assert grey.shape == (6, 9, 3) and (grey == grey[:, :, :1]).all()


# What CLIP-ViL's published transform gives for the first seven.
@pytest.mark.parametrize('own, inner', [
    ((640, 480), (512, 384)), ((640, 427), (575, 384)), ((640, 384), (640, 384)),
    ((640, 360), (640, 360)), ((333, 100), (639, 192)), ((100, 90), (426, 384)),
    ((64, 48), (512, 384)), ((480, 640), (288, 384)), ((500, 500), (384, 384)),
    ((3000, 2), (640, 1)), ((1, 3000), (1, 384))])
def test_pictures_keep_their_proportions_between_bars(own, inner):
  white = np.full((*own[::-1], 3), 255, np.uint8)
  for fit, colour in (('black', (0, 0, 0)), ('mean', (123, 117, 104))):
    found = image.decode(encoded(white), (384, 640), fit=fit)
    assert found.shape == (384, 640, 3)
    inside = (found == 255).all(-1)
    assert inside.any(0).sum() == inner[0] and inside.any(1).sum() == inner[1]
    assert inside.sum() == inner[0] * inner[1]
    assert (found[~inside] == colour).all()
    assert inside.any(0).argmax() == (640 - inner[0] + 1) // 2
    assert inside.any(1).argmax() == (384 - inner[1] + 1) // 2


def test_the_mean_colour_is_nearly_zero_to_clip():
  mean, std = (0.48145466, 0.4578275, 0.40821073), (0.2686, 0.2613, 0.2758)
  zero = (np.array(image.FITS['mean']) / 255 - mean) / std
  assert np.abs(zero).max() < 0.01


@pytest.mark.parametrize('size', [0, (0,), (3, 4, 5), (3, -4), 2.5])
def test_a_size_is_two_whole_numbers_or_one(size):
  with pytest.raises(ValueError, match=r'a size is height and width'):
    image.decode(encoded(np.zeros((2, 2, 3), np.uint8)), size)
  with pytest.raises(ValueError, match="Did you mean 'black'"):
    image.decode(encoded(np.zeros((2, 2, 3), np.uint8)), 4, fit='blak')


def test_a_flag_gives_a_square_as_a_tuple_of_one(load):
  picture = encoded(np.zeros((2, 2, 3), np.uint8))
  assert image.decode(picture, (3,)).shape == (3, 3, 3)
  # 0 is the data set's own size, in either form.
  assert load(inputs=('image',), limit=4, image_size=(0,)).sizes[
      'image_size'] == 64


def test_bad_pictures_are_refused(monkeypatch):
  array = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  for kind in ('PNG', 'JPEG'):
    data = encoded(array, kind)
    for bad in (data[:len(data) // 2], data[:20], b'', b'GIF89a' + data):
      with pytest.raises(ValueError, match='not a whole PNG or JPEG'):
        image.decode(bad)
  monkeypatch.setattr(image, 'MAX_PIXELS', 1000)
  with pytest.raises(ValueError, match='64 x 64 pixels are more than the'):
    image.decode(encoded(array), name='photo.png')


# Batches.


def test_batch_is_what_it_says(load):
  data = load(inputs=('regions', 'image'))
  assert data.sizes == dict(
      vocab_size=len(data.vocab), num_answers=len(data.answers),
      max_tokens=14, num_regions=4, feature_size=128, image_size=64)
  assert data.types == ('compare_count', 'count', 'exist', 'query_color',
                        'query_digit', 'query_shape')
  shapes = {k: (v.shape, v.dtype.name) for k, v in data.example.items()}
  a = len(data.answers)
  assert shapes == dict(
      regions=((8, 4, 128), 'float32'), boxes=((8, 4, 4), 'float32'),
      image=((8, 64, 64, 3), 'uint8'), tokens=((32, 14), 'int32'),
      target=((32, a), 'float32'), score=((32, a), 'float32'),
      type=((32,), 'int32'), mask=((32,), 'bool'))
  assert not any(v.any() for v in data.example.values())
  assert data.epoch == 12 and data.steps_per_epoch == 12

  batch = next(data.train())
  assert {k: (v.shape, v.dtype.name) for k, v in batch.items()} == shapes
  assert batch['mask'].all() and batch['target'].max() == 1
  assert (batch['tokens'] < len(data.vocab)).all()
  # A picture has two to four plates; the rest are rows of zeros.
  plates = batch['boxes'].any(-1)
  assert ((plates.sum(1) >= 2) & (plates == batch['regions'].any(-1)).all(1)
          ).all()
  assert (np.diff(plates.astype(int)) <= 0).all()


def test_targets_and_scores_are_those_of_the_ten_answers(load):
  data = load()
  batch = next(data.train())
  split = data.split('train').rows
  ten = {}
  for words, said in zip(split.texts, split.answers):
    ten.setdefault(' '.join(text.tokenize(words)), []).append(said)
  for tokens, target, score in zip(
      batch['tokens'], batch['target'], batch['score']):
    def dense(scores):
      return [np.float32(scores.get(a, 0)) for a in data.answers]
    assert any(
        target.tolist() == dense(text.soft_scores(said))
        and score.tolist() == dense(text.vqa_accuracies(said))
        for said in ten[data.vocab.decode(tokens)])


def test_the_picture_of_a_question_is_its_own(load):
  """Whoever reads the right picture's plates finds the counted number."""
  data = load(inputs=('regions',))
  split = data.split('train')
  regions = split.pictures(np.arange(96))['regions']
  start = split.rows.start
  row = {regions[p].tobytes(): p for p in range(96)}
  batches = data.train()
  for _ in range(20):
    batch = next(batches)
    for p, picture in enumerate(batch['regions']):
      number = row[picture.tobytes()]
      asked = {' '.join(text.tokenize(t)) for t in split.rows.texts[
          start[number]:start[number + 1]]}
      rows = [data.vocab.decode(t) for t in batch['tokens'][4 * p:4 * p + 4]]
      assert set(rows) <= asked
      if len(asked) >= 4:
        assert len(set(rows)) == 4  # Drawn without repetition.


def test_an_epoch_has_every_picture_once_and_the_next_another_order(load):
  data = load()
  batches = data.train()
  epochs = [[r.tobytes() for _ in range(12) for r in next(batches)['regions']]
            for _ in range(2)]
  assert len(set(epochs[0])) == 96 and set(epochs[0]) == set(epochs[1])
  assert epochs[0] != epochs[1]


def test_one_question_a_picture_visits_every_question_once(load):
  data = load(questions_per_picture=1, batch=1)
  count = len(data.split('train').rows.texts)
  assert data.steps_per_epoch == count
  seen = collections.Counter()
  for batch in itertools.islice(data.train(), count):
    seen[batch['tokens'].tobytes() + batch['regions'].tobytes()] += 1
  # A question may be asked twice of a picture, but not be missed.
  wanted = collections.Counter()
  once = load(batch=1, questions_per_picture=1, eval='train').evaluation()
  for batch in once:
    for i in np.flatnonzero(batch['mask']):
      wanted[batch['tokens'][i].tobytes() + batch['regions'][i].tobytes()] += 1
  assert seen == wanted


@pytest.mark.parametrize('after', [0, 5, 17, 40])
@pytest.mark.parametrize('questions', [1, 4])
def test_resumed_is_what_would_have_followed(load, after, questions):
  """12 batches are an epoch of pictures: 5 and 17 are amid one."""
  data = load(questions_per_picture=questions)
  batches = data.train()
  for _ in range(after):
    next(batches)
  state = json.loads(json.dumps(batches.get_state()))
  wanted = [next(batches) for _ in range(15)]

  again = load(questions_per_picture=questions).train()
  next(again)  # Wherever it is when it is told to go back or on.
  again.set_state(state)
  for batch in wanted:
    same(next(again), batch)


def test_seed_decides_the_order(load):
  same(next(load(seed=3).train()), next(load(seed=3).train()))
  one, other = next(load(seed=3).train()), next(load(seed=4).train())
  assert (one['tokens'] != other['tokens']).any()


@pytest.mark.parametrize('questions', [1, 4])
def test_hosts_share_the_batch_that_one_host_would_see(load, questions):
  whole = load(questions_per_picture=questions).train()
  parts = [load(questions_per_picture=questions, shard=(i, 2)).train()
           for i in range(2)]
  for _ in range(14):
    joined = [next(part) for part in parts]
    same({k: np.concatenate([part[k] for part in joined]) for k in joined[0]},
         next(whole))


@pytest.mark.parametrize('hosts', [1, 2])
@pytest.mark.parametrize('questions', [1, 3, 4])
def test_evaluation_has_every_question_once(load, hosts, questions):
  seen, lengths = collections.Counter(), set()
  for i in range(hosts):
    data = load(batch=24, questions_per_picture=questions, shard=(i, hosts))
    batches = data.evaluation('val')
    lengths.add(len(batches))
    shapes = set()
    found = list(batches)
    assert len(found) == len(batches)
    for batch in found:
      shapes.add(tuple((k, v.shape) for k, v in batch.items()))
      per = len(batch['tokens']) // len(batch['boxes'])
      assert per == questions
      padding = ~batch['mask']
      assert not batch['score'][padding].any()
      for row in np.flatnonzero(batch['mask']):
        seen[batch['boxes'][row // per].tobytes()
             + batch['tokens'][row].tobytes()] += 1
    assert len(shapes) == 1
  assert len(lengths) == 1
  split = data.split('val')
  boxes, wanted = split.pictures(np.arange(32))['boxes'], collections.Counter()
  start = split.rows.start
  for p in range(32):
    for words in split.rows.texts[start[p]:start[p + 1]]:
      wanted[boxes[p].tobytes()
             + data.vocab.encode(words, 14).tobytes()] += 1
  assert seen == wanted


def test_evaluation_can_be_gone_over_again(load):
  batches = load().evaluation('test')
  for one, other in zip(batches, batches, strict=True):
    same(one, other)


def test_reading_from_disk_gives_what_memory_gives(load):
  both = [load(inputs=('regions', 'image'), cache=c, limit=20, image_size=32)
          for c in (True, False)]
  for one, other in zip(*(itertools.islice(d.train(), 7) for d in both)):
    same(one, other)
  for one, other in zip(*(d.evaluation('val') for d in both), strict=True):
    same(one, other)


def test_vocabularies_are_saved_and_read(load, tmp_path):
  data = load()
  data.save_vocab(tmp_path / 'vocab')
  assert sorted(p.name for p in (tmp_path / 'vocab').iterdir()) == [
      'answers.json', 'types.json', 'words.json']
  # Fewer pictures would give fewer words and answers.
  few = load(limit=3)
  assert len(few.vocab) < len(data.vocab)
  again = load(vocab_dir=tmp_path / 'vocab', limit=3)
  assert (again.vocab, again.answers, again.types) == (
      data.vocab, data.answers, data.types)
  assert load(vocab_dir=tmp_path / 'none').vocab == data.vocab
  (tmp_path / 'vocab' / 'answers.json').unlink()
  with pytest.raises(ValueError, match=r"\['answers.json'\] are missing"):
    load(vocab_dir=tmp_path / 'vocab')


def test_prior_needs_no_picture(load):
  data = load()
  prior = data.prior('val')
  assert list(prior) == ['overall', *data.types]
  assert 25 < prior['overall'] < 55 and prior['query_digit'] < 40
  # Of the training split itself it is at least the rate of the commonest.
  own = data.prior('train')
  assert own['exist'] > 50 and own['overall'] > prior['overall']


def test_limit_keeps_so_many_pictures(load):
  data = load(limit=5)
  assert data.epoch == 5 / 8 and data.steps_per_epoch == 1
  assert len({r.tobytes() for _ in range(9)
              for r in next(data.train())['regions']}) <= 5


@pytest.mark.parametrize('options, message', [
    (dict(name='digit_scenes/tyni'), "Did you mean 'digit_scenes/tiny'"),
    (dict(train='tran'), "Did you mean 'train'"),
    (dict(eval='vall'), "Did you mean 'val'"),
    (dict(watch='tests'), "Did you mean 'test'"),
    (dict(inputs=('region',)), "Did you mean 'regions'"),
    (dict(quesions_per_picture=2), "Did you mean 'questions_per_picture'"),
    (dict(batch=30), 'multiple of 4. The closest is 32'),
    (dict(batch=36, shard=(0, 2)), 'multiple of 8. The closest is 3'),
    (dict(shard=(2, 2)), 'use 0 to 1'),
])
def test_what_cannot_be_is_refused(load, options, message):
  with pytest.raises(ValueError, match=message):
    load(**options)
  with pytest.raises(ValueError, match="Did you mean 'val'"):
    load().evaluation('vla')


@pytest.mark.parametrize('damage', ['cut', 'flip', 'empty', 'gone', 'info'])
def test_damaged_files_are_named(load, home, tmp_path, caplog, damage):
  copy = tmp_path / 'copy'
  shutil.copytree(home, copy)
  pattern = 'dataset_info.json' if damage == 'info' else '*-train.array_record*'
  path = next(copy.rglob(pattern))
  whole = path.read_bytes()
  content = bytearray(whole)
  if damage == 'gone':
    path.unlink()
  elif damage == 'flip':
    content[len(content) // 2] ^= 0xff
    path.write_bytes(content)
  else:
    path.write_bytes(content[:len(content) // 2 if damage != 'empty' else 0])
  if damage in ('flip', 'info'):
    with pytest.raises(ValueError, match='Delete th.* made anew') as error:
      load(data_dir=str(copy))
    named = path.parents[1] if damage == 'info' else path
    assert str(named) in str(error.value)
    shutil.rmtree(path.parent)
  else:  # Its length alone tells, and these scenes can be drawn again.
    logging.get_absl_logger().addHandler(caplog.handler)
    load(data_dir=str(copy))
    logging.get_absl_logger().removeHandler(caplog.handler)
    assert f'{path} is missing or cut short: it is made again' in caplog.text
    assert path.read_bytes() == whole
  same(next(load(data_dir=str(copy)).train()), next(load().train()))


def test_the_package_alone_is_light():
  code = ('import bst_jax.data, sys; '
          "print({'tensorflow', 'tensorflow_datasets', 'grain', 'jax'} "
          '& set(sys.modules))')
  out = subprocess.run([sys.executable, '-c', code], capture_output=True,
                       text=True, check=True,
                       cwd=pathlib.Path(source.__file__).parents[2])
  assert out.stdout.strip() == 'set()'
  for name in ('source', 'records'):
    importlib.import_module(f'bst_jax.data.{name}')
  assert 'tensorflow' not in sys.modules
