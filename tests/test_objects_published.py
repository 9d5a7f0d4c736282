"""COCO, Objects365 and Visual Genome from files in their published forms."""
import json
import shutil

from bst_jax.data import source
from bst_jax.data.builders import splitting
from bst_jax.data.builders.visual_genome import names
import numpy as np
import pytest
from test_objects import back, box, CATEGORIES, evaluated, load, paint, write


@pytest.fixture
def coco(tmp_path):
  folder = tmp_path / 'coco'
  write(folder, 'annotations/instances_train2017.json',
        [(9, '000000000009.png', 60, 40)], [box(1, 9, 3, [1, 2, 30, 20])],
        paints=False)
  write(folder, 'annotations/instances_val2017.json',
        [(139, '000000000139.png', 60, 40)], [box(2, 139, 90, [0, 0, 6, 4])],
        paints=False)
  (folder / 'annotations' / 'image_info_test-dev2017.json').write_text(
      json.dumps(dict(images=[dict(id=1, file_name='000000000001.png',
                                   height=40, width=60)],
                      categories=CATEGORIES)))
  paint(folder / 'train2017' / '000000000009.png', 60, 40)
  paint(folder / 'val2017' / '000000000139.png', 60, 40)
  # Another picture of that name, as the panoptic maps are.
  paint(folder / 'panoptic_val2017' / '000000000139.png', 8, 8)
  paint(folder / 'test2017' / '000000000001.png', 60, 40)
  return folder


def test_coco(coco):
  data = load(coco, name='coco_detection')
  (number, one), = evaluated(data).items()
  assert number == 139 and data.answers[one['object_classes'][0]] == 'owl'
  np.testing.assert_allclose(
      back(one, one['object_boxes'][:1]), [[0, 0, 6, 4]], atol=1e-6)
  assert not data.has_answers('test') and data.ids('test') == ['1']
  with pytest.raises(ValueError, match='none of its pictures has an object'):
    data.prior('test')
  assert next(data.train())['object_mask'].all(1).tolist() == [True, True]


def test_coco_without_files_says_which(tmp_path):
  paint(tmp_path / 'coco' / 'a.png')
  with pytest.raises(ValueError, match='annotations_trainval2017.zip'):
    load(tmp_path / 'coco', name='coco_detection')


# Objects365, T4.


@pytest.fixture
def patches(tmp_path):
  """Four pictures named in the manners of both versions, one not there."""
  folder = tmp_path / 'o365'
  files = ['images/v1/patch0/objects365_v1_00000001.png',
           'images/v2/patch1/objects365_v2_00000002.png',
           'objects365_v1_00000003.png', 'images/v2/patch9/absent.png']
  write(folder, 'objects365.json', [
      (i, name, 60, 40) for i, name in enumerate(files, 1)], [
          box(i, i, 1, [i, i, 20, 20]) for i in range(1, 5)], paints=False)
  for i, patch in enumerate(('v1/patch0', 'v2/patch1', 'v1/patch1')):
    paint(folder / 'train' / patch / files[i].split('/')[-1], 60, 40)
  return folder


def test_patches_are_found_and_lists_tell_splits(patches):
  with pytest.raises(ValueError, match='of 4 of its pictures no split is known'
                     ', as of images/v1/patch0/objects365_v1_00000001.png'):
    load(patches, name='objects365', max_bad=1)
  (patches / 'train.txt').write_text(
      'objects365_v1_00000001.png\npatch1/objects365_v2_00000002.jpg\n4\n')
  (patches / 'val.txt').write_text('objects365_v1_00000003\n')
  with pytest.raises(ValueError, match='missing picture: 1, as images/v2/pa'):
    load(patches, name='objects365')
  data = load(patches, name='objects365', max_bad=1, allow_overlap=True)
  assert set(evaluated(data, 'train')) == {1, 2}
  (number, one), = evaluated(data).items()
  assert number == 3
  np.testing.assert_allclose(
      back(one, one['object_boxes'][:1]), [[3, 3, 23, 23]], atol=1e-5)


def test_a_field_tells_splits_and_no_picture_has_two(patches):
  path = patches / 'objects365.json'
  found = json.loads(path.read_text())
  for image, split in zip(found['images'], ('train', 'val', 'validation', 'x')):
    image['split'] = split
  path.write_text(json.dumps(found))
  with pytest.raises(ValueError, match='of 1 of its pictures no split'):
    load(patches, name='objects365', max_bad=1)
  found['images'][3] = found['images'][1] | dict(id=4, split='train')
  path.write_text(json.dumps(found))
  with pytest.raises(ValueError, match='Splits train and val of objects365.*'
                     '00000002.png is in both'):
    load(patches, name='objects365')
  found['images'] = found['images'][:3]
  found['annotations'] = found['annotations'][:3]
  path.write_text(json.dumps(found))
  assert set(evaluated(load(patches, name='objects365'))) == {2, 3}


def test_files_of_the_second_version(tmp_path):
  folder = tmp_path / 'o365'
  for i, split in enumerate(('train', 'val')):
    write(folder, f'zhiyuan_objv2_{split}.json', [
        (i, f'images/v2/patch{i}/{i}.png', 60, 40)],
        [box(i, i, 1, [0, 0, 20, 20])], paints=False)
    paint(folder / split / f'patch{i}' / f'{i}.png', 60, 40)
  assert set(evaluated(load(folder, name='objects365'))) == {1}
  (folder / 'val' / 'patch7').mkdir()
  shutil.copy(folder / 'val' / 'patch1' / '1.png', folder / 'val' / 'patch7')
  with pytest.raises(ValueError, match='Delete|several pictures of a name'):
    load(folder, name='objects365')


# A folder of one's own.


def test_one_file_is_split_by_share(tmp_path):
  write(tmp_path / 'm', 'all.json', [(i, f'{i}.png', 8, 8) for i in range(40)],
        [box(i, i, 1, [0, 0, 4, 4]) for i in range(40)])
  data = load(tmp_path / 'm', allow_overlap=True)
  train, val = (set(evaluated(data, split)) for split in ('train', 'val'))
  assert not train & val and train | val == set(range(40)) and 1 < len(val) < 12
  assert val == {i for i in range(40)
                 if splitting.by_share(f'{i}.png', 0.1) == 'val'}


def test_shares_are_shares():
  found = [splitting.by_share(str(i), 0.25) for i in range(4000)]
  assert abs(found.count('val') / 4000 - 0.25) < 0.03


def test_exports_of_labelling_services_are_read(tmp_path):
  for i, split in enumerate(('train', 'valid')):
    write(tmp_path / 'm' / split, '_annotations.coco.json', [
        (0, 'a.png', 20 + i, 20)], [box(0, 0, 1, [0, 0, 9, 9])], paints=False)
    paint(tmp_path / 'm' / split / 'a.png', 20 + i, 20)
  one, = evaluated(load(tmp_path / 'm')).values()
  assert one['picture_size'].tolist() == [20, 21]


@pytest.mark.parametrize('lists, says', [
    (dict(train='a.png', val='b/a.jpg'), "lists 'b/a.jpg', which train.txt do"),
    (dict(train='1\n2', val='2'), "lists '2', which train.txt does")])
def test_lists_do_not_overlap(tmp_path, lists, says):
  for name, text in lists.items():
    (tmp_path / f'{name}.txt').write_text(text)
  with pytest.raises(ValueError, match=says):
    splitting.lists(tmp_path)


@pytest.mark.parametrize('name, split', [
    ('instances_val2017.json', 'val'), ('valid/_annotations.coco.json', 'val'),
    ('my_training_set.json', 'train'), ('all.json', ''),
    ('train_and_val.json', ''), ('test-dev.json', 'test'),
    ('interval.json', ''), ('trainval.json', '')])
def test_a_name_may_tell_the_split(name, split):
  assert splitting.of_file(name) == split


def test_files_that_differ_in_categories_are_refused(tmp_path):
  write(tmp_path / 'm', 'train.json', [(1, 'a.png', 9, 9)],
        [box(1, 1, 1, [0, 0, 9, 9])])
  write(tmp_path / 'm', 'val.json', [(2, 'b.png', 9, 9)], [],
        [*CATEGORIES[:2], dict(id=3, name='fox')])
  with pytest.raises(ValueError, match="are not the same: 3, 'dog', is in one "
                     'of them alone, as are 1 more'):
    load(tmp_path / 'm')


# Visual Genome, T6.


def thing(id, said, x=10, y=10, w=30, h=30, **more):
  return dict(object_id=id, names=said, x=x, y=y, w=w, h=h, **more)


@pytest.fixture
def genome(tmp_path):
  folder = tmp_path / 'vg'
  folder.mkdir()
  (folder / 'objects.json').write_text(json.dumps([
      dict(image_id=1, objects=[
          thing(1, ['man'], synsets=[]),
          thing(2, ['Man '], x=60, synsets=['man.n.01']),
          thing(3, ['guy', 'man'], x=11),  # Almost the box of the first.
          thing(4, ['rare thing'], x=5, y=50, w=9, h=9),
          thing(5, ['dog'], x=10)]),
      dict(image_id=2, objects=[thing(6, ['dog'], x=0, y=0)])]))
  (folder / 'attributes.json').write_text(json.dumps([
      dict(image_id=1, attributes=[
          thing(1, ['man'], attributes=['tall']), thing(2, ['man'],
                                                        attributes=None),
          thing(3, ['guy'], attributes=['dark  blue', 'Dark Blue']),
          thing(5, ['dog'], attributes=[])]),
      dict(image_id=2, attributes=[thing(6, ['dog'], attributes=[
          'tall', 'odd'])])]))
  (folder / 'object_alias.txt').write_text('man,guy\n')
  (folder / 'objects_vocab.txt').write_text('dog,hound\nman\n')
  (folder / 'attributes_vocab.txt').write_text('tall\ndark blue\n')
  (folder / 'train.txt').write_text('VG_100K/1.jpg\n')
  (folder / 'val.txt').write_text('2\n')
  paint(folder / 'VG_100K' / '1.jpg', 100, 80, kind='JPEG')
  paint(folder / 'VG_100K_2' / '2.jpg', 100, 80, kind='JPEG')
  return folder


def vg(folder, **options):
  return load(folder, name='visual_genome', allow_overlap=True, **options)


def test_names_attributes_and_duplicates_of_visual_genome(genome):
  data = vg(genome, most_attributes=3)
  assert data.answers == ('dog', 'man')
  assert data.vocabularies['attributes'] == ('tall', 'dark blue')
  assert data.sizes['num_attributes'] == 2
  one, = evaluated(data, 'train').values()
  assert one['object_mask'].tolist() == [True, True, True]
  assert one['object_classes'].tolist() == [1, 1, 0]
  # The first has the attributes of its duplicate; the others are unlabelled.
  assert one['object_attributes'].tolist() == [[0, 1, 0], [0] * 3, [0] * 3]
  assert one['object_attribute_mask'].tolist() == [
      [True, True, False], [False] * 3, [False] * 3]
  np.testing.assert_allclose(
      back(one, one['object_boxes'])[0], [10, 10, 40, 40], rtol=1e-5)
  other, = evaluated(data).values()
  assert other['object_attribute_mask'][0].tolist() == [True, False, False]


def test_more_attributes_than_slots_are_left_out(genome):
  one, = evaluated(vg(genome, most_attributes=1), 'train').values()
  assert one['object_attributes'][0].tolist() == [0]


def test_without_lists_the_most_frequent_names_are_taken(genome):
  for name in ('objects_vocab', 'attributes_vocab', 'train', 'val',
               'object_alias'):
    (genome / f'{name}.txt').unlink()
  with pytest.raises(ValueError, match="split.*'val'|val"):
    vg(genome)  # Neither of the two pictures is the twentieth.
  data = vg(genome, eval='train')
  assert data.answers == ('dog', 'man', 'guy', 'rare thing')
  assert data.vocabularies['attributes'] == ('tall', 'dark blue', 'odd')


@pytest.mark.parametrize('file, entries, says', [
    ('objects', [dict(image_id=1, objects=[dict(object_id=1, x=1, y=1, w=2,
                                                h=2, synsets=['a'])])],
     "'names'"),
    ('attributes', [dict(image_id=1, attribute=[])], "'attributes'"),
    ('objects', [dict(image_id=1, objects=[thing(1, ['a'], w=None)])],
     'object 1 has the box'),
    ('objects', ['x'], 'one of its entries is')])
def test_versions_without_a_field_are_refused_by_its_name(
    genome, file, entries, says):
  (genome / f'{file}.json').write_text(json.dumps(entries))
  with pytest.raises(ValueError, match=says):
    vg(genome)


def test_overlaps_and_names():
  assert names.overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
  assert names.overlap((0, 0, 1, 1), (5, 0, 1, 1)) == 0
  assert names.overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0
  assert names.plain(' Dark  Blue ') == 'dark blue'


def test_no_model_of_attributes_is_asked_of_data_without(genome, mine_like):
  """A detector of Visual Genome's classes is evaluated on boxes alone."""
  vg(genome).save_vocab(genome.parent / 'vocab')
  data = source.load(dict(
      name='object_folder', form='objects', manual_dir=str(mine_like),
      train='train', eval='val', data_dir=str(genome.parent / 'home'), batch=2,
      image_size=64), genome.parent / 'vocab')
  assert data.answers == ('dog', 'man')


@pytest.fixture
def mine_like(tmp_path):
  same = [dict(id=0, name='dog'), dict(id=1, name='man')]
  for i, split in enumerate(('train', 'val')):
    write(tmp_path / 'm', f'{split}.json', [(i, f'{i}.png', 9, 9)],
          [box(1, i, 1, [0, 0, 9, 9])], same)
  return tmp_path / 'm'
