"""Forms and kinds: what a row of a data set is, and where boxes come to lie."""
import collections
import io
import itertools
import logging
import pathlib
import re
import subprocess
import sys
import types

from bst_jax.ahead import abstract
from bst_jax.data import (
  augment,
  batches,
  forms,
  image,
  kinds,
  records,
  single,
  source,
)
from bst_jax.data import frame as frame_lib
from bst_jax.data.forms import captions, pairs, retrieval
from bst_jax.data.options import Options
from bst_jax.report import scoring
from bst_jax.scores import recall
import numpy as np
from PIL import Image
import pytest

NAME = 'digit_scenes/tiny'


@pytest.fixture(scope='session')
def home(tmp_path_factory):
  folder = tmp_path_factory.mktemp('datasets')
  source.load(dict(name=NAME, data_dir=str(folder)))
  return folder


@pytest.fixture
def load(home):
  def load(form, vocab_dir=None, shard=(0, 1), **options):
    config = dict(name=NAME, form=form, batch=16, data_dir=str(home)) | options
    return source.load(config, vocab_dir, None, *shard)
  return load


def read(home, split, *parts):
  builder = records.prepare(NAME, str(home))
  return list(records.read(builder, split, parts))


def shapes(batch):
  return {key: (x.shape, x.dtype.name) for key, x in batch.items()}


# Which form.


def test_auto_is_questions_or_labels():
  assert forms.pick('auto', {'questions', 'image'}, 'x') == 'questions'
  assert forms.pick('auto', {'label', 'image'}, 'x') == 'labels'
  with pytest.raises(ValueError, match=r"'questions' reads \['questions'\] of "
                     r"each record, but those of x have \['image'\].*none"):
    forms.pick('auto', {'image'}, 'x')


@pytest.mark.parametrize('options, message', [
    (dict(form='pair'), "no form 'pair'. Did you mean 'pairs'"),
    (dict(form='labels'), r"'labels' reads \['label'\] of each record.*Forms "
     'that they have: captioning, captions, objects, pairs, pretraining, '
     'questions, '
     'retrieval'),
    (dict(form='pairs', questions_per_picture=2), 'of config.data of '
     'statements .questions_per_picture'),
    (dict(form='captions', texts_per_pictures=2),
     "Did you mean 'texts_per_picture'"),
    (dict(form='retrieval', texts='lists'), "Did you mean 'list'"),
    (dict(form='retrieval', texts_per_picture=1), 'Use 2 or more'),
    (dict(form='objects', augment=dict(mixup=1.0)), 'mixup, cutmix and'),
    (dict(form='objects', augment=dict(rand_augment=9)), 'leave rand_augment'),
    (dict(form='objects', augment=dict(flip=0.5), inputs=('regions',)),
     'regions are features of whole ones'),
    (dict(form='pairs', canvases=((32, 32),)), "put 'image' there"),
    (dict(form='pairs', inputs=('regions', 'clip')), "no input 'clip'"),
])
def test_what_cannot_be_is_refused_before_data_are_made(
    tmp_path, options, message):
  with pytest.raises(ValueError, match=message):
    source.load(dict(name=NAME, data_dir=str(tmp_path)) | options)
  assert not list(tmp_path.rglob('*.array_record*'))


def test_a_split_without_rows_is_refused(load):
  # The first picture's statements are about pictures that limit leaves out.
  with pytest.raises(ValueError, match="Split 'train' of .* has no statements"):
    load('pairs', limit=1)
  with pytest.raises(ValueError, match='3 texts of other pictures were to be '
                     'drawn, but there are'):
    next(load('retrieval', limit=1, texts='joined').train())


@pytest.mark.parametrize('form, options', [
    ('questions', dict(questions_per_picture=4, eval_questions_per_picture=2)),
    ('pretraining', dict(texts_per_picture=2)),
    ('pairs', dict(eval_batch=8)), ('captions', dict(texts_per_picture=2)),
    ('retrieval', dict(eval_texts_per_picture=8)), ('objects', dict())])
def test_shapes_of_batches_are_known_without_data(load, form, options):
  """Steps are compiled for machines and data that are not there."""
  options = options | dict(inputs=('image', 'regions'))
  data = load(form, **options)
  exp = types.SimpleNamespace(
      sizes=data.sizes, config=types.SimpleNamespace(
          data=dict(name=NAME, form=form, batch=16) | options))
  _, own = abstract.form(exp.config.data, exp.sizes)
  rows = batches.rows_of_evaluation(own, 16)
  for training, wanted in ((True, data.example),
                           (False, next(iter(data.evaluation())))):
    found = abstract.batch(exp, 16 if training else rows, training)
    assert shapes(found) == shapes(wanted)


def test_every_form_goes_on_where_it_was(load):
  for form in ('pairs', 'captions', 'retrieval', 'objects'):
    order = load(form).train()
    next(order)
    place, wanted = order.get_state(), next(order)
    again = load(form).train()
    again.set_state(place)
    for key, array in next(again).items():
      np.testing.assert_array_equal(array, wanted[key], err_msg=key)


@pytest.mark.parametrize('form', ['pairs', 'captions', 'retrieval', 'objects'])
def test_hosts_share_what_one_host_sees(load, form):
  whole, halves = load(form).train(), [
      load(form, shard=(host, 2)).train() for host in range(2)]
  for _ in range(4):
    wanted, found = next(whole), [next(half) for half in halves]
    for key, array in wanted.items():
      np.testing.assert_array_equal(
          np.concatenate([half[key] for half in found]), array, err_msg=key)


# Statements about two pictures.


def said(home, split):
  return [list(zip(r['statements']['statement'], r['statements']['other'],
                   r['statements']['label']))
          for r in read(home, split, 'statements')]


def boxes_of(home, *splits):
  """{padded boxes: number of the picture in the splits, joined}."""
  found = {}
  for split in splits:
    for record in read(home, split, 'boxes'):
      padded = np.zeros((4, 4), np.float32)
      padded[:len(record['boxes'])] = record['boxes']
      found[padded.tobytes()] = len(found)
  return found


def test_a_statement_stands_beside_its_two_pictures(load, home):
  data, number = load('pairs'), boxes_of(home, 'test')
  assert shapes(data.example) == dict(
      regions=((32, 4, 128), 'float32'), boxes=((32, 4, 4), 'float32'),
      tokens=((16, 24), 'int32'), pair=((16,), 'int32'), mask=((16,), 'bool'))
  wanted = collections.Counter(
      (data.vocab.encode(text.decode(), 24).tobytes(), left, int(right), int(is_so))
      for left, each in enumerate(said(home, 'test'))
      for text, right, is_so in each)
  found = collections.Counter()
  for batch in data.evaluation():
    sides = batch['boxes'].reshape(-1, 2, 4, 4)
    for row in np.flatnonzero(batch['mask']):
      left, right = (number[side.tobytes()] for side in sides[row])
      found[batch['tokens'][row].tobytes(), left, right,
            int(batch['pair'][row])] += 1
  assert found == wanted and sum(found.values()) == 64
  assert data.prior() == {'overall': 50.0} and data.types == ()
  assert list(data.vocabularies) == ['words']


def test_two_files_and_a_statement_are_a_batch(load, home, tmp_path):
  data = load('pairs', inputs=('image', 'regions'), eval_batch=1)
  wanted = next(iter(data.evaluation()))
  for side, pixels in enumerate(wanted['image']):
    Image.fromarray(pixels).save(tmp_path / f'{side}.png')
  config = dict(name=NAME, form='pairs', inputs=['image', 'regions'])
  statement = data.split('test').rows.texts[0]
  batch = single.batch(config, data.sizes, data.vocab, [
      tmp_path / '0.png', tmp_path / '1.png'], statement)
  for key in ('image', 'tokens'):
    np.testing.assert_array_equal(batch[key], wanted[key], err_msg=key)
  assert batch['regions'].shape == wanted['regions'].shape
  with pytest.raises(ValueError, match='reads 2 pictures at a time, not 1'):
    single.batch(config, data.sizes, data.vocab, tmp_path / '0.png', statement)


def test_joined_splits_add_their_offset(load, home):
  joined = load('pairs', train='train+val').split('train+val').rows
  first, second = said(home, 'train'), said(home, 'val')
  assert joined.pictures.tolist() == [
      [left, int(right)] for left, each in enumerate(first)
      for _, right, _ in each] + [
          [len(first) + left, len(first) + int(right)]
          for left, each in enumerate(second) for _, right, _ in each]
  data, number = load('pairs', train='train+val'), boxes_of(
      home, 'train', 'val')
  texts = [data.vocab.encode(text, 24).tobytes() for text in joined.texts]
  known = set(zip(texts, map(tuple, joined.pictures.tolist())))
  for batch in itertools.islice(data.train(), 20):
    sides = batch['boxes'].reshape(-1, 2, 4, 4)
    for row, text in enumerate(batch['tokens']):
      assert (text.tobytes(), tuple(
          number[side.tobytes()] for side in sides[row])) in known


def test_limit_leaves_out_statements_whose_picture_is_gone(load, home, caplog):
  logging.getLogger('absl').addHandler(caplog.handler)
  with caplog.at_level('INFO', 'absl'):
    rows = load('pairs', limit=40).split('train').rows
  logging.getLogger('absl').removeHandler(caplog.handler)
  wanted = [[left, int(right)]
            for left, each in enumerate(said(home, 'train')[:40])
            for _, right, _ in each if right < 40]
  assert rows.pictures.tolist() == wanted and 0 < len(wanted) < 80
  assert f'{80 - len(wanted)} of 80 statements are left out' in caplog.text


def test_limit_cuts_the_second_of_joined_splits():
  record = lambda *others: {'statements': dict(
      statement=[b'x'] * len(others), other=others, label=[True] * len(others))}
  rows = pairs.read([record(1), record(0, 1), record(1, 2)], [2, 3])
  # Of the second split of three pictures only the first is left.
  assert rows.pictures.tolist() == [[0, 1], [1, 0], [1, 1]]


# Captions and retrieval.


def test_captions_are_each_seen_once(load, home):
  data = load('captions', texts_per_picture=2, eval_texts_per_picture=3)
  assert data.sizes['max_tokens'] == 30 and data.prior() == {}
  wanted = collections.Counter(
      data.vocab.encode(text.decode(), 30).tobytes()
      for record in read(home, 'test', 'captions')
      for text in record['captions'])
  found = collections.Counter(
      text.tobytes() for batch in data.evaluation()
      for text in batch['tokens'][batch['mask']])
  assert found == wanted
  assert max(data.vocab.count(t) for t in data.split('train').rows.texts) <= 30


@pytest.mark.parametrize('texts', retrieval.TEXTS)
def test_the_first_text_is_the_picture_s_own(load, texts):
  data = load('retrieval', texts=texts, max_tokens=80)
  rows, own = data.split('train').rows, collections.Counter()
  assert len(rows.texts) <= 96 or texts == 'all'
  for batch in itertools.islice(data.train(), len(rows.texts) // 4):
    assert shapes(batch) == shapes(data.example) and batch['mask'].all()
    picture, text = (batch[key].reshape(4, 4) for key in ('picture', 'text'))
    assert (batch['match'].reshape(4, 4) == [1, 0, 0, 0]).all()
    assert (picture == picture[:, :1]).all()
    own.update(text[:, 0].tolist())
    for row in range(16):
      assert batch['tokens'][row].tolist() == data.vocab.encode(
          rows.texts[batch['text'][row]], 80).tolist()
    for one, (p, each) in enumerate(zip(picture[:, 0], text)):
      mine = rows.texts[rows.start[p]:rows.start[p + 1]]
      assert [rows.texts[t] in mine for t in each] == [True] + [False] * 3
      assert len(set(each.tolist())) == 4, one
  # Every text is the first one once an epoch.
  assert max(own.values()) == 1 and len(own) == len(rows.texts) // 4 * 4


def test_evaluation_has_every_picture_with_every_text(load):
  data = load('retrieval', texts='joined', limit=9, texts_per_picture=4)
  seen = []
  for batch in data.evaluation():
    assert shapes(batch).keys() == shapes(data.example).keys()
    real = batch['mask']
    assert (batch['match'][real] == (
        batch['picture'] == batch['text'])[real]).all()
    assert not batch['tokens'][~real].any()
    seen += zip(batch['picture'][real].tolist(), batch['text'][real].tolist())
  assert sorted(seen) == list(itertools.product(range(9), range(9)))
  hosts = [load('retrieval', texts='joined', limit=9, shard=(host, 2))
           for host in range(2)]
  found = [pair for data in hosts for batch in data.evaluation() for pair in zip(
      batch['picture'][batch['mask']].tolist(),
      batch['text'][batch['mask']].tolist())]
  assert sorted(found) == sorted(seen)


def test_pictures_without_a_list_are_left_out_and_told_of(load, home, caplog):
  logging.getLogger('absl').addHandler(caplog.handler)
  with caplog.at_level('INFO', 'absl'):
    data = load('retrieval', texts='list')
    there = data.split('test').rows
  logging.getLogger('absl').removeHandler(caplog.handler)
  plates = [len(r['boxes']) for r in read(home, 'test', 'boxes')]
  without = 0
  for picture, count in enumerate(plates):
    texts = there.texts[there.start[picture]:there.start[picture + 1]]
    without += not texts
    for text in texts:
      assert len(re.findall('small|large', text)) == count
  assert 0 < without < 32
  assert f"{without} of 32 pictures are left out, as they have no text 'list'" in (
      caplog.text)
  assert {row for batch in data.evaluation() for row in batch['picture'][
      batch['mask']].tolist()} == set(np.flatnonzero(np.diff(there.start)))


def test_chance_and_the_highest_recall():
  rows = captions.joined([['a', 'b'], ['a'], [], ['c']])
  # Four texts, three pictures; the first picture has two of the texts.
  assert retrieval.prior(None, rows, None, None) == pytest.approx({
      'text_recall@1': 100 / 3 * (2 / 4 + 1 / 4 + 1 / 4), 'text_recall@5': 100,
      'text_recall@10': 100, 'image_recall@1': 100 / 3, 'image_recall@5': 100,
      'image_recall@10': 100})
  # Nobody tells the second picture by 'a' from the first, which has 'b' too.
  found = retrieval.ceiling(rows)
  assert found['text_recall@1'] == pytest.approx(100 / 3 * (1 + 0 + 1))
  assert found['image_recall@1'] == pytest.approx(100 / 4 * (1 / 2 + 1 + 1 / 2 + 1))
  assert found['text_recall@5'] == found['image_recall@5'] == 100


def test_the_measure_reaches_the_ceiling_and_no_more():
  rows = captions.joined([['a', 'b'], ['a'], ['c'], ['c'], ['c']])
  owner, texts = rows.owner, np.array(rows.texts)
  right = owner == np.arange(5)[:, None]
  rng, found = np.random.default_rng(0), collections.Counter()
  for _ in range(300):  # Equal texts have equal scores; else as it should be.
    scores = np.stack([np.select(
        [texts == text for text in 'abc'], rng.random(3)) + 3 * np.isin(
            texts, texts[own]) for own in right])
    for name, value in recall.of_matrix(scores, right).items():
      found[name] = max(found[name], value)
  ceiling = retrieval.ceiling(rows)
  assert ceiling.keys() == found.keys()
  for name, most in ceiling.items():
    assert found[name] <= most + 1e-9, name
  assert found['text_recall@1'] == ceiling['text_recall@1'] == 20
  assert found['image_recall@1'] == pytest.approx(ceiling['image_recall@1'])


def test_results_say_what_is_possible():
  row = {'submodel': '1x1', 'params': 10, 'macs': 20, 'trained': True,
         'questions': 16, 'measure': 'recall', 'recall': {'text_recall@1': 50.0}}
  result = {'data': NAME, 'split': 'test', 'floor': 'random order',
            'unit': 'pairs', 'prior': {'text_recall@1': 25.0},
            'ceiling': {'text_recall@1': 75.0}, 'types': [],
            'title': 'recall in percent', 'rows': [row]}
  lines = [line.split() for line in scoring.table(result).splitlines()]
  assert ['highest', 'possible', '75.0'] in lines
  assert lines[-2] == ['random', 'order', '25.0']
  del result['ceiling']
  assert 'highest' not in scoring.table(result)


def test_random_order_reaches_the_prior():
  rows = captions.joined([['a', 'b', 'c'], ['d'], ['e', 'f']] + [['x']] * 4)
  rng, owner, hits = np.random.default_rng(0), rows.owner, []
  for _ in range(4000):
    best = owner[rng.permutation(len(owner))[:5]]
    hits.append(np.mean([picture in best for picture in range(7)]))
  assert retrieval.prior(None, rows, None, None)['text_recall@5'] == (
      pytest.approx(100 * np.mean(hits), abs=1))


def test_lists_need_a_data_set_that_has_them():
  context = forms.Context(retrieval.Options(texts='list', name='mine'))
  with pytest.raises(ValueError, match="mine name everything.*'all' or"):
    retrieval.read([], [], context)


# Objects, and where they lie.


def test_objects_are_the_plates(load, home):
  data = load('objects')
  assert shapes(data.example) == dict(
      image=((16, 64, 64, 3), 'uint8'), object_boxes=((16, 4, 4), 'float32'),
      object_classes=((16, 4), 'int32'), object_attributes=((16, 4, 4), 'int32'),
      object_attribute_mask=((16, 4, 4), 'bool'), object_mask=((16, 4), 'bool'),
      object_crowd=((16, 4), 'bool'), object_area=((16, 4), 'float32'),
      picture_size=((16, 2), 'int32'), picture_place=((16, 4), 'float32'),
      mask=((16,), 'bool'))
  plates = [r['plates'] for r in read(home, 'test', 'plates')]
  found = {key: np.concatenate([b[key][b['mask']] for b in data.evaluation()])
           for key in data.example}
  names = data.vocabularies['attributes']
  assert data.answers == tuple('0123456789') and len(names) == 6 + 2 + 2 + 2
  features = data.builder.info.features['plates']
  for i, plate in enumerate(plates):
    count = len(plate['digit'])
    assert found['object_mask'][i].tolist() == [True] * count + [False] * (
        4 - count)
    assert found['object_classes'][i, :count].tolist() == list(plate['digit'])
    assert [[names[n] for n in row] for row in found['object_attributes'][
        i, :count]] == [[features[key].int2str(plate[key][j]) for key in (
            'color', 'shape', 'size', 'ink')] for j in range(count)]


def corners(*numbers):
  """A picture of numbered squares of 8 pixels, and their boxes."""
  picture, boxes = np.zeros((48, 64, 3), np.uint8), []
  for colour, (x, y) in enumerate(numbers, 1):
    picture[y:y + 8, x:x + 8] = 80 * colour
    boxes.append([x / 64, y / 48, (x + 8) / 64, (y + 8) / 48])
  return picture, np.float32(boxes)


@pytest.mark.parametrize('fit', image.FITS)
@pytest.mark.parametrize('size', [(48, 64), (96, 128), (60, 60), (40, 100)])
def test_boxes_go_with_the_picture(fit, size):
  picture, boxes = corners((20, 16), (40, 30), (8, 24))
  rng = np.random.default_rng(0)
  frames = [frame_lib.Frame((48, 64), size, fit),
            frame_lib.Frame((48, 64), size, fit, flip=True)]
  recipe = augment.Recipe(crop=(0.4, 0.9), flip=0.5)
  frames += [recipe.frame((48, 64), size, rng, fit) for _ in range(8)]
  assert {frame.flip for frame in frames} == {True, False}
  for frame in frames:
    drawn, moved = frame.draw(picture), frame.boxes(boxes)
    shown = frame.shown(boxes)
    assert drawn.shape == (*size, 3) and ((0 <= moved) & (moved <= 1)).all()
    for colour, (box, share) in enumerate(zip(moved, shown), 1):
      there = np.argwhere(abs(drawn[..., 0].astype(int) - 80 * colour) < 30)
      x1, y1, x2, y2 = box * np.array([size[1], size[0]] * 2)
      if share < 0.5 or (x2 - x1) * (y2 - y1) < 16:
        continue
      middle = there[((there > [y1, x1]) & (there < [y2, x2])).all(1)]
      inside = (x2 - x1 - 2) * (y2 - y1 - 2)
      assert len(middle) >= 0.6 * inside, (frame, box)


@pytest.mark.parametrize('own, size, shorter, extent', [
    ((600, 800), (640, 640), 384, (384, 512)),
    ((800, 600), (640, 640), 384, (512, 384)),
    ((300, 900), (640, 640), 384, (213, 640)),
    ((300, 900), (640, 640), 0, (213, 640)),
    ((480, 640), (512, 512), 0, (384, 512)),
    ((512, 512), (512, 512), 0, (512, 512)),
    ((512, 512), (512, 512), 100, (100, 100)),
    ((2, 2000), (512, 512), 0, (1, 512))])
def test_a_picture_in_the_corner_of_its_canvas(own, size, shorter, extent):
  """Detectors and ViLT bound both sides."""
  frame = frame_lib.Frame(own, size, 'corner', shorter=shorter)
  assert frame.extent == extent
  drawn = frame.draw(np.full((*own, 3), 200, np.uint8))
  inside = np.zeros(size, bool)
  inside[:extent[0], :extent[1]] = True
  assert (drawn[inside] == 200).all() and not drawn[~inside].any()
  np.testing.assert_allclose(
      frame.boxes([[0, 0, 1, 1]])[0, 2:] * [size[1], size[0]], extent[::-1],
      rtol=1e-6)


def test_batches_say_what_of_a_canvas_is_picture(load):
  data = load('questions', inputs=('image', 'extent'), image_fit='corner',
              image_size=(64, 96), image_shorter=48, augment=dict(
                  flip=0.5, rand_augment=9, erase=0.5))
  batch = next(data.train())
  assert batch['image'].shape[1:] == (64, 96, 3) and data.sizes['extents'] == 2
  assert (batch['extent'] == [48, 48]).all()
  inside = batch['image'][:, :48, :48]
  assert inside.any((1, 2, 3)).all() and not batch['image'][:, 48:].any()
  assert not batch['image'][:, :, 48:].any()
  plain = load('questions', inputs=('image', 'extent'), image_fit='corner',
               image_size=(64, 96), image_shorter=48)
  other = next(plain.train())
  np.testing.assert_array_equal(other['tokens'], batch['tokens'])
  assert (other['image'] != batch['image']).any((1, 2, 3)).mean() > 0.5


@pytest.mark.parametrize('options, said', [
    (dict(inputs=('extent',)), "but no image; put 'image' there, too"),
    (dict(image_shorter=9), "come to their size by image_fit='stretch'"),
    (dict(inputs=('image',), augment=dict(mixup=0.8)),
     'mixup, cutmix and smoothing are of pictures with one class'),
    (dict(augment=dict(flip=0.5)), 'regions are features of whole ones')])
def test_what_becomes_of_pictures_is_checked_first(load, options, said):
  with pytest.raises(ValueError, match=re.escape(said)):
    load('questions', **options)


def test_a_training_batch_has_its_plates_where_its_boxes_are(load):
  """What is in a box is a plate: brighter or more coloured than the ground."""
  options = dict(crop=(0.3, 0.8), flip=0.5)
  order = load('objects', augment=options).train()
  inside, outside = [], []
  for batch in itertools.islice(order, 6):
    for pixels, boxes in zip(batch['image'], batch['object_boxes']):
      painted, spread = np.zeros((64, 64), bool), np.ptp(
          pixels.astype(int), axis=-1)
      for x1, y1, x2, y2 in (64 * boxes).round().astype(int):
        painted[y1:y2, x1:x2] = True
      inside.append(spread[painted].mean() if painted.any() else np.nan)
      outside.append(spread[~painted].mean())
  assert np.nanmean(np.greater(inside, np.array(outside) + 20)) > 0.85
  assert not np.isnan(inside).all()
  cut = np.concatenate([b['object_mask'].sum(1) for b in itertools.islice(
      load('objects', augment=options).train(), 6)])
  whole = np.concatenate([b['object_mask'].sum(1) for b in itertools.islice(
      load('objects').train(), 6)])
  assert cut.mean() < whole.mean() - 0.3  # Some were cut off.


def test_in_memory_or_not_is_the_same(load):
  options = dict(augment=dict(crop=(0.3, 1.0), flip=0.5), limit=20)
  for one, other in zip(*(itertools.islice(load(
      'objects', cache=cache, **options).train(), 3) for cache in (True, False))):
    for key in one:
      np.testing.assert_array_equal(one[key], other[key], err_msg=key)


# Canvases.


def test_a_step_has_one_of_the_declared_canvases(load):
  canvases = ((32, 48), (48, 32), 40)
  options = dict(inputs=('image',), canvases=canvases, image_fit='black')
  data = load('captions', **options)
  assert data.num_shapes == 3 and data.sizes['image_size'] == 64
  sizes = [b['image'].shape[1:3] for b in itertools.islice(data.train(), 24)]
  assert set(sizes) == {(32, 48), (48, 32), (40, 40)}
  assert {b['image'].shape[1:3] for b in data.evaluation()} == {(64, 64)}
  other = load('captions', shard=(1, 2), **options)
  assert [b['image'].shape[1:3] for b in itertools.islice(
      other.train(), 24)] == sizes
  assert data.example['image'].shape[1:3] == (32, 48)
  assert load('captions').num_shapes == 1


# Kinds.


def test_the_table_of_kinds_is_whole():
  sizes = dict(max_tokens=5, max_masked=2, max_tags=4, num_regions=3,
               feature_size=7, image_size=(8, 9), extents=2, clip_size=(2, 8, 9))
  for name, kind in kinds.KINDS.items():
    one = kind.row(sizes)
    assert kind.of in ('picture', 'row') and kind.parts, name
    assert kind.size in kind.sizes(one), name
    assert kind.sizes(one).items() <= sizes.items(), name
    for card in (dict(word_pieces=p, blank_regions=b, image_fit=f)
                 for p in (True, False) for b in (True, False)
                 for f in image.FITS):
      assert kind.about(card), name
  assert kinds.in_sizes(sizes) == tuple(kinds.KINDS)
  assert set(kinds.of_inputs(kinds.INPUTS)) <= kinds.KINDS.keys()


def test_a_decoded_input_has_the_shape_of_its_row(tmp_path):
  file = io.BytesIO()
  Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(file, 'png')
  (tmp_path / 'a.png').write_bytes(file.getvalue())
  reading = kinds.Reading(num_regions=3, image_size=(8, 9))
  record = kinds.KINDS['image'].file(tmp_path / 'a.png', NAME) | {
      'regions': np.ones((5, 7), np.float32),
      'boxes': np.ones((2, 4), np.float32)}
  frame = frame_lib.Frame((20, 30), (8, 9))
  sizes = dict(num_regions=3, feature_size=7, image_size=(8, 9))
  for name in ('regions', 'boxes', 'image'):
    found = kinds.KINDS[name].decode(record, reading, frame)
    wanted = kinds.KINDS[name].row(sizes)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype), name
  with pytest.raises(ValueError, match='there is no picture'):
    kinds.KINDS['image'].file(tmp_path / 'b.png', NAME)


@pytest.mark.parametrize('form', forms.known())
def test_every_form_shares_the_common_options(form):
  own = forms.create(form).options
  assert issubclass(own, Options)
  assert own.of(dict(batch=8, canvases=[]), form).batch == 8
  with pytest.raises(ValueError, match="Did you mean 'batch'"):
    own.of(dict(bach=8), form)


def test_words_of_several_forms_are_the_same_for_each(load):
  """So that one training may go on with another's network."""
  several = ('questions', 'pairs', 'captions')
  words = {form: load(form=form, words_of=several).vocab.words
           for form in ('questions', 'pairs', 'retrieval')}
  assert words['questions'] == words['pairs'] == words['retrieval']
  own = load(form='pairs').vocab.words
  assert set(own) < set(words['pairs'])
  # A form that is not the data's own is read by its default options.
  assert load(form='pairs', words_of=('retrieval',)).vocab.words == load(
      form='captions').vocab.words
  with pytest.raises(ValueError, match="names the form 'objects'.*no texts"):
    load(form='pairs', words_of=('objects',))
  with pytest.raises(ValueError, match="no form 'pair'.*'pairs'"):
    load(form='pairs', words_of=('pair',))


def test_kinds_and_forms_load_no_library_of_data_sets():
  code = ('import sys; from bst_jax.data import forms, kinds\n'
          'for name in forms.known(): forms.create(name)\n'
          "print({'tensorflow_datasets', 'grain', 'av'} & set(sys.modules))")
  out = subprocess.run([sys.executable, '-c', code], capture_output=True,
                       text=True, check=True,
                       cwd=pathlib.Path(source.__file__).parents[2])
  assert out.stdout.strip() == 'set()'
