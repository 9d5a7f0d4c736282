"""COCO's captions and lists of captions: their files, splits and tags."""
import hashlib
import json
import types

from bst_jax.ahead import abstract
from bst_jax.data import source
from bst_jax.data.builders import captioned
from bst_jax.data.forms import captions, Context
import made_up
import numpy as np
import pytest

SIZE = dict(batch=2, image_size=8, inputs=('image',), train='train', eval='val',
            form='captions', max_tokens=8)


def load(name, folder, **options):
  return source.load(dict(
      name=name, manual_dir=str(folder),
      data_dir=str(folder.parent / 'home')) | SIZE | options)


def rows(data, split):
  return data.split(split).rows.texts


def paint(folder, name, seed=0):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(made_up.picture(seed))


def write(folder, name, lines):
  (folder / name).write_text(''.join(json.dumps(line) + '\n' for line in lines))


# COCO.


@pytest.fixture
def coco(tmp_path):
  """Pictures 1 to 4: train, restval, val, test; names of 2014 and of 2017."""
  folder = tmp_path / 'coco'
  folder.mkdir()
  images = []
  for i, split in enumerate(['train', 'restval', 'val', 'test'], 1):
    name = f'COCO_val2014_{i:012}.jpg'
    paint(folder, f'images/val2014/{name}' if i < 3 else
          f'images/val2017/{i:012}.jpg', i)
    images.append(dict(
        filepath='val2014', filename=name, cocoid=i, imgid=90 + i, split=split,
        sentences=[dict(raw=f'A thing of kind {i}.', tokens=['a']),
                   dict(raw=f' It shows\nthing\u2028{i}.')]))
  (folder / 'dataset_coco.json').write_text(json.dumps(
      dict(dataset='coco', images=images)))
  return folder


def changed(folder, change):
  path = folder / 'dataset_coco.json'
  found = json.loads(path.read_text())
  change(found['images'])
  path.write_text(json.dumps(found))


def test_training_has_restval_by_default_and_both_counts_are_told(coco, log):
  data = load('coco_captions', coco)
  assert rows(data, 'train') == ['A thing of kind 1.', 'It shows thing 1.',
                                 'A thing of kind 2.', 'It shows thing 2.']
  assert {name: info.num_examples for name, info in
          data.builder.info.splits.items()} == dict(
              train_only=1, restval=1, val=1, test=1)
  assert '1 pictures that the file calls train and 1 that it calls' in log.text
  assert 'train_only has 1 pictures and not 82,783' in log.text
  assert data.builder.info.metadata['pictures']['restval'] == ['2']
  alone = load('coco_captions', coco, train='train_only')
  assert rows(alone, 'train_only') == ['A thing of kind 1.',
                                       'It shows thing 1.']
  # What training shows is not evaluated on.
  with pytest.raises(ValueError, match="training shows .'restval'"):
    load('coco_captions', coco, eval='restval')


@pytest.mark.parametrize('change, words', [
    (lambda all_: all_[1].update(split='rest'), "picture 2 is of split 'rest'"),
    (lambda all_: all_.append(all_[0] | dict(split='test')),
     'picture 1 is in train and in test'),
    (lambda all_: all_.append(all_[0]), 'picture listed twice: 1'),
    (lambda all_: all_[0].update(sentences=[dict(raw=' \n')]),
     'malformed picture: 1'),
    (lambda all_: all_[0].update(cocoid='x'), 'malformed picture: 1'),
    (lambda all_: all_[0].update(cocoid=77), 'missing picture: 1, as picture'),
])
def test_a_file_that_cannot_be_sorted_is_refused(coco, change, words):
  changed(coco, change)
  with pytest.raises(ValueError, match=words):
    load('coco_captions', coco)


def test_a_folder_of_something_else_is_told_what_belongs_there(tmp_path):
  folder = tmp_path / 'other'
  folder.mkdir()
  (folder / 'notes.md').write_text('nothing')
  for name in ('coco_captions', 'caption_list'):
    with pytest.raises(ValueError, match='no split has its'):
      load(name, folder)


# Lists.


@pytest.fixture
def lists(tmp_path):
  folder = tmp_path / 'lists'
  folder.mkdir()
  for i in range(6):
    paint(folder, f'images/p{i}.jpg', i)
  return folder


def md5(address):
  return hashlib.md5(address.encode()).hexdigest()


def test_lists_as_they_are_published(lists, log):
  address = 'https://x.org/a/p0.jpg?size=2'
  other = 'http://y.org/some%20where'
  paint(lists, f'deep/{md5(other)}.png', 7)
  (lists / 'Train_GCC-training.tsv').write_text(
      f'a dog sits\t{address}\na  red bus \t{other}\nno more\thttp://z.org/q\n')
  (lists / 'train_sbu.json').write_text(json.dumps(dict(
      image_urls=['http://s.org/p1.jpg'], user_ids=[5], captions=['two cats'])))
  write(lists, 'train_open_images.jsonl', [
      dict(dataset_id='open', image_id='p2', annotator_id=1, caption='a tree')])
  (lists / 'val_mine.tsv').write_text(
      'image\tcaption\tcaption_version\np3.jpg\tthe sea\tmodel7\n')
  (lists / 'val_coco.json').write_text(json.dumps(dict(
      images=[dict(id=9, file_name='p4.jpg')],
      annotations=[dict(id=1, image_id=9, caption='a boat'),
                   dict(id=2, image_id=9, caption='one boat')])))
  (lists / 'val_results.json').write_text(json.dumps(
      [dict(image_id='p5', caption='a man')]))
  data = load('caption_list', lists, batch=1)
  assert sorted(rows(data, 'train')) == [
      'a dog sits', 'a red bus', 'a tree', 'two cats']
  assert sorted(rows(data, 'val')) == [
      'a boat', 'a man', 'one boat', 'the sea']
  owner = dict(zip(rows(data, 'val'), data.split('val').rows.owner))
  assert owner['a boat'] == owner['one boat'] != owner['the sea']
  assert data.builder.info.metadata['missing'] == 1
  assert '1 of 8 pictures of the lists have no file' in log.text
  assert 'http://z.org/q of Train_GCC-training.tsv' in log.text
  sea = {record['image_id']: record for record in
         data.builder.as_data_source('val')}[b'images/p3.jpg']
  assert (sea['source'], sea['caption_version']) == (b'val_mine', b'model7')
  assert len(sea['tags']['name']) == 0 and sea['feature_version'] == b''


@pytest.mark.parametrize('name, content, words', [
    ('train.tsv', 'a dog\tnothing here\n', 'columns of which 0 are'),
    ('train.tsv', 'a\tb\tp0.jpg\n', 'its first line has 3 columns'),
    ('train.tsv', 'a dog\tp0.jpg\nhalf a line\n', 'malformed entry: 1, as tra'),
    ('train.tsv', 'a dog\tp0.jpg\n\tp1.jpg\n', 'empty caption: 1, as train'),
    ('train.jsonl', '{"caption": "a"}\n', 'malformed entry: 1'),
    ('train.jsonl', '{"image": "p0", "caption": 7}\n', 'malformed entry: 1'),
    ('train.jsonl', '{"image": "p0", "caption"', 'damaged at line 1'),
    ('train.json', '{"pictures": []}', r"it holds \['pictures'\]"),
    ('train.tsv', 'a\thttp://x.org/p0.jpg\nb\thttp://y.org/p0.jpg\n',
     'several addresses of a file: 1'),
    ('mine.tsv', 'a\tp0.jpg\n', 'Name the file train_mine.tsv'),
    ('train.tsv', 'a\timages/p3.jpg\n', 'is in train and in val'),
])
def test_lists_that_cannot_be_read_are_refused(lists, name, content, words):
  (lists / 'val.tsv').write_text('the sea\tp3.jpg\n')
  (lists / name).write_text(content)
  with pytest.raises(ValueError, match=words):
    load('caption_list', lists)


def test_lists_none_of_whose_pictures_are_there(lists):
  (lists / 'train.tsv').write_text('a\tp8.jpg\nb\tp8.jpg\nc\tp9.jpg\n')
  with pytest.raises(ValueError, match='none of the 2 pictures of its lists has'
                     ' a file there, as p8.jpg of train.tsv; p9.jpg'):
    load('caption_list', lists)


def test_a_tenth_is_for_evaluation_where_nothing_tells(lists):
  for i in range(6, 60):
    paint(lists, f'images/p{i}.jpg', i)
  (lists / 'mine.tsv').write_text(
      ''.join(f'thing {i}\tp{i}.jpg\n' for i in range(60)))
  data = load('caption_list', lists)
  counts = [len(rows(data, split)) for split in ('train', 'val')]
  assert sum(counts) == 60 and 1 <= counts[1] <= 14


def test_who_lacks_regions_is_told_how_they_are_found(lists):
  (lists / 'train.tsv').write_text('a dog\tp0.jpg\n')
  with pytest.raises(ValueError, match='pictures alone.*bst_jax.features'):
    load('caption_list', lists, inputs=('regions',))


# Tags.


def test_tags_are_a_second_text(lists, log):
  (lists / 'train.tsv').write_text('a dog\tp0.jpg\na bus\tp1.jpg\nit\tp0.jpg\n')
  (lists / 'val.tsv').write_text('the sea\tp3.jpg\n')
  write(lists, 'tags.jsonl', [
      {'image': 'p0.jpg', 'version': 'tee3', 'tags': [
          ['dog', 0.9], ['grass', 0.19], ['stop sign', 0.2], ['dog', 0.5]]},
      {'image': 'p3', 'tags': {'water': 0.7}}, {'image': 'p4', 'tags': ['x']}])
  data = load('caption_list', lists, max_tags=5)
  assert data.sizes['max_tags'] == 5
  words = data.vocab.words
  assert set(words[3:]) == set('a dog bus it stop sign'.split())
  found = {}
  for batch in data.calibration():
    assert batch['tags'].shape == (len(batch['tokens']), 5)
    for tokens, tags in zip(batch['tokens'][batch['mask']], batch['tags']):
      text, other = (' '.join(words[t] for t in ids if t)
                     for ids in (tokens, tags))
      found[text] = other
  assert found == {'a dog': 'dog stop sign dog', 'it': 'dog stop sign dog',
                   'a bus': ''}
  sea, = [batch['tags'] for batch in data.evaluation('val')]
  assert sea[0].tolist() == [1, 0, 0, 0, 0]  # Training knows no water.
  records = {record['image_id']: record for record in
             data.builder.as_data_source('train')}
  assert records[b'images/p0.jpg']['tag_version'] == b'tee3'
  # Steps are compiled for data that are not there.
  exp = types.SimpleNamespace(sizes=data.sizes, config=types.SimpleNamespace(
      data=SIZE | dict(name='caption_list', max_tags=5)))
  shapes = lambda batch: {key: (x.shape, x.dtype.name)
                          for key, x in batch.items()}
  assert shapes(abstract.batch(exp, 2)) == shapes(next(data.train()))
  sure = load('caption_list', lists, max_tags=2, unique_tags=True)
  assert sure.split('train').rows.tags in (['dog stop sign', ''],
                                           ['', 'dog stop sign'])
  assert '1 have more than 2 words and are cut off' in log.text
  # Without the option batches are as they were.
  assert 'tags' not in next(load('caption_list', lists).train())


def test_tags_in_word_pieces_have_a_closing_token_alone(lists, tmp_path):
  pieces = tmp_path / 'vocab.txt'
  pieces.write_text('\n'.join(
      ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a', 'dog', 'stop', '##s']))
  (lists / 'train.tsv').write_text('a dog\tp0.jpg\na dog\tp1.jpg\n')
  (lists / 'val.tsv').write_text('a dog\tp3.jpg\n')
  write(lists, 'tags.jsonl', [{'image': 'p3', 'tags': ['dogs stop']}])
  for most, wanted in ((6, [5, 7, 6, 3, 0, 0]), (3, [5, 7, 3])):
    data = load('caption_list', lists, max_tags=most, word_pieces=str(pieces))
    batch, = data.evaluation('val')
    assert batch['tags'][0].tolist() == wanted
    assert batch['tokens'][0].tolist() == [2, 4, 5, 3, 0, 0, 0, 0]
    assert not next(data.train())['tags'].any()


@pytest.mark.parametrize('value, wanted', [
    ([], ()), ([['a', 1]], (('a', 1.0),)), ({'a b': 0.5}, (('a b', 0.5),)),
    (['a'], (('a', 1.0),)), ([['a', 1.5]], None), ([['a', float('nan')]], None),
    ([['', 1]], None), ([['a']], None), ('a', None), ([['a', True]], None)])
def test_what_tags_may_be(value, wanted):
  assert captioned.tags(value) == wanted


def test_tags_that_are_none_are_refused(lists):
  (lists / 'train.tsv').write_text('a dog\tp0.jpg\n')
  (lists / 'val.tsv').write_text('the sea\tp3.jpg\n')
  write(lists, 'tags.jsonl', [{'image': 'p0.jpg', 'tags': [['dog', 3]]}])
  with pytest.raises(ValueError, match='malformed tags: 1, as tags.jsonl, lin'):
    load('caption_list', lists)
  with pytest.raises(ValueError, match='max_tags is -1 and least_confidence'):
    captions.Options(max_tags=-1)
  with pytest.raises(ValueError, match='of digit_scenes/tiny have no tags'):
    captions.read([], (), Context(captions.Options(
        name='digit_scenes/tiny', max_tags=3), {'captions'}))


def test_confidence_is_compared_as_it_is_stored():
  record = {'name': [b'a', b'b'], 'confidence': np.float32([0.7, 0.69])}
  assert captions.chosen(record, captions.Options(least_confidence=0.7)) == 'a'
