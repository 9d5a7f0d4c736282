"""Objects of COCO's JSON, from files to batches and back into their pixels."""
import contextlib
import io
import json

from bst_jax import scores
from bst_jax.data import records, source
from bst_jax.report import boxes as report
from bst_jax.scores import boxes as detection
import numpy as np
from PIL import Image
import pytest

CATEGORIES = [dict(id=90, name='owl'), dict(id=1, name='cat'),
              dict(id=3, name='dog')]


def paint(path, width=100, height=80, mode='RGB', kind='PNG', **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  image = Image.new('RGB', (width, height), (90, 120, 30)).convert(mode)
  image.save(path, kind, **options)


def box(id, picture, category, bbox, **more):
  return dict(id=id, image_id=picture, category_id=category, bbox=bbox, **more)


def write(folder, name, pictures, boxes, categories=CATEGORIES, paints=True):
  """A file in COCO's form, and its pictures; a picture is (id, file, w, h)."""
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(dict(
      info={}, images=[dict(id=i, file_name=file, width=w, height=h)
                       for i, file, w, h in pictures],
      annotations=boxes, categories=categories)))
  for _, file, width, height in pictures if paints else ():
    paint(folder / 'images' / file, width, height)


def load(folder, vocab_dir=None, name='object_folder', **options):
  return source.load(dict(
      name=name, form='objects', manual_dir=str(folder), train='train',
      eval='val', data_dir=str(folder.parent / 'home'), batch=2, image_size=64,
      inputs=('image', 'extent'), image_fit='corner') | options, vocab_dir)


def evaluated(data, split='val'):
  """Arrays of a split's pictures, by the numbers of these in their file."""
  rows = [{key: x[i] for key, x in batch.items()}
          for batch in data.evaluation(split)
          for i in np.flatnonzero(batch['mask'])]
  return dict(zip(map(int, data.ids(split)), rows))


def back(one, boxes):
  """Boxes as shares of the canvas, in pixels of the picture itself."""
  height, width = one['picture_size']
  x1, y1, x2, y2 = one['picture_place']
  return (boxes - [x1, y1, x1, y1]) / np.tile([x2 - x1, y2 - y1], 2) * [
      width, height, width, height]


@pytest.fixture
def mine(tmp_path):
  """Two pictures to train on; three to evaluate, one of them empty."""
  folder = tmp_path / 'mine'
  write(folder, 'train.json', [(1, 'a.png', 100, 80), (2, 'b.png', 50, 50)], [
      box(1, 1, 90, [10, 20, 30, 40], area=700.5),
      box(2, 1, 3, [0, 0, 100, 80], iscrowd=1, area=8000,
          segmentation=dict(counts=[5, 7995], size=[80, 100])),
      box(3, 1, 1, [50, 40, 20, 20]), box(4, 2, 3, [5, 5, 10, 10])])
  write(folder, 'annotations/val.json', [
      (7, 'c.png', 100, 80), (8, 'd.png', 40, 90), (5, 'e.png', 30, 30)], [
          box(1, 7, 90, [10, 20, 30, 40]), box(2, 8, 1, [0, 9, 40, 18])])
  return folder


def test_classes_are_dense_in_the_order_of_their_numbers(mine, tmp_path):
  data = load(mine)
  assert data.answers == ('cat', 'dog', 'owl')
  assert data.written() == {'cat': '1', 'dog': '3', 'owl': '90'}
  found = evaluated(data)
  assert set(found) == {5, 7, 8}
  assert found[7]['object_classes'][0] == 2
  assert found[8]['object_classes'][0] == 0
  data.save_vocab(tmp_path)
  assert json.loads((tmp_path / 'numbers.json').read_text()) == ['1', '3', '90']


def test_boxes_lie_on_the_canvas_and_go_back_into_the_picture(mine):
  found = evaluated(load(mine))
  one = found[7]  # 100 x 80, on 64 x 64: a scale of 0.64, 51 rows.
  np.testing.assert_array_equal(one['extent'], [51, 64])
  np.testing.assert_allclose(
      one['object_boxes'][0], [.1, .25 * 51 / 64, .4, .75 * 51 / 64], rtol=1e-6)
  np.testing.assert_array_equal(one['picture_size'], [80, 100])
  np.testing.assert_allclose(
      back(one, one['object_boxes'][:1]), [[10, 20, 40, 60]], rtol=1e-6)
  assert one['object_area'][0] == 1200  # Of its box: the file does not tell.
  other = found[8]
  np.testing.assert_allclose(
      back(other, other['object_boxes'][:1]), [[0, 9, 40, 27]], atol=1e-5)
  # The empty picture stays.
  assert not found[5]['object_mask'].any()
  assert not found[5]['object_crowd'].any()


def test_crowds_come_last_and_are_no_objects(mine):
  one = evaluated(load(mine, allow_overlap=True), 'train')[1]
  assert one['object_mask'].tolist() == [True, True, False]
  assert one['object_crowd'].tolist() == [False, False, True]
  assert one['object_classes'].tolist() == [2, 0, 1]
  assert one['object_area'].tolist() == [700.5, 400, 8000]
  np.testing.assert_allclose(back(one, one['object_boxes'])[2], [0, 0, 100, 80],
                             atol=1e-5)


@pytest.mark.parametrize('categories, says', [
    (CATEGORIES[:2], "the first to differ is number 1: 'dog' of the model and "
     "'owl' of the data"),
    ([CATEGORIES[0], dict(id=2, name='dog'), CATEGORIES[1]],
     "numbers of classes.*number 1: '3' of the model and '2' of the data")])
def test_other_categories_than_the_models_are_refused(
    mine, tmp_path, categories, says):
  load(mine).save_vocab(tmp_path / 'vocab')
  other = tmp_path / 'other'
  write(other, 'train.json', [(1, 'a.png', 20, 20)],
        [box(1, 1, 1, [0, 0, 9, 9])], categories)
  write(other, 'val.json', [(2, 'b.png', 20, 20)],
        [box(1, 2, 1, [0, 0, 9, 9])], categories)
  with pytest.raises(ValueError, match=says):
    load(other, tmp_path / 'vocab')
  assert load(mine, tmp_path / 'vocab').answers == ('cat', 'dog', 'owl')


def test_objects_without_room_are_counted_and_told(mine, log):
  data = load(mine, num_objects=1)
  assert ('1 of 2 pictures have more objects than the 1 of a batch, one as '
          'many as 3: 2 objects are not seen. Set config.data.num_objects to 3'
          ) in log.text
  assert evaluated(data)[7]['object_mask'].tolist() == [True]


def test_a_class_without_examples_stays_and_a_name_may_be_there_twice(tmp_path):
  write(tmp_path / 'm', 'train.json', [(1, 'a.png', 20, 20)],
        [box(1, 1, 4, [0, 0, 9, 9])], [
            dict(id=0, name='part'), dict(id=4, name='part'),
            dict(id=2, name='never')])
  data = load(tmp_path / 'm', eval='train', allow_overlap=True)
  assert data.answers == ('part (0)', 'never', 'part (4)')
  assert evaluated(data, 'train')[1]['object_classes'][0] == 2


def test_training_may_leave_empty_pictures_out(tmp_path):
  write(tmp_path / 'm', 'train.json', [
      (i, f'{i}.png', 20, 20) for i in range(1, 7)],
      [box(1, 4, 1, [0, 0, 9, 9]), box(2, 5, 1, [0, 0, 9, 9], iscrowd=1)])
  data = load(tmp_path / 'm', eval='train', allow_overlap=True,
              empty_pictures=False)
  order = data.train()
  for batch in (next(order) for _ in range(3)):
    assert batch['object_mask'].any(1).all()
  assert len(evaluated(data, 'train')) == 6
  order = load(tmp_path / 'm', eval='train', allow_overlap=True).train()
  assert sum(next(order)['object_mask'].any() for _ in range(3)) == 1


def test_training_flips_crops_and_changes_canvases_with_its_boxes(tmp_path):
  """The object is the bright part of the picture."""
  folder = tmp_path / 'm'
  write(folder, 'train.json', [(1, 'a.png', 100, 80)],
        [box(1, 1, 1, [10, 20, 30, 40])])
  pixels = np.zeros((80, 100, 3), np.uint8)
  pixels[20:60, 10:40] = 255
  Image.fromarray(pixels).save(folder / 'images' / 'a.png')
  data = load(folder, eval='train', allow_overlap=True, batch=1,
              augment=dict(flip=0.5, crop=(0.4, 1.0)),
              canvases=((64, 96), (96, 64)))
  order, seen = data.train(), set()
  for batch in (next(order) for _ in range(12)):
    height, width = batch['image'].shape[1:3]
    seen.add((height, width, bool(batch['object_boxes'][0, 0, 0] > 0.4)))
    if not batch['object_mask'][0, 0]:
      continue
    x1, y1, x2, y2 = (batch['object_boxes'][0, 0] * [
        width, height, width, height]).round().astype(int)
    grey = batch['image'][0].mean(-1)
    assert grey[y1 + 2:y2 - 2, x1 + 2:x2 - 2].min() > 200
    grey[max(y1 - 2, 0):y2 + 2, max(x1 - 2, 0):x2 + 2] = 0
    assert grey.max() < 60
  assert len(seen) == 4


# What is wrong of boxes, T3.


def test_boxes_are_cut_or_left_out_and_counted(tmp_path, log):
  boxes = [[10, 10, 20, 20], [90, 70, 30, 30], [200, 10, 20, 20], [5, 5, 0, 9],
           [5, -904, 9, 9], [50, 50, -9, 9]]
  write(tmp_path / 'm', 'train.json', [(1, 'a.png', 100, 80)], [
      box(11 + i, 1, 1, one) for i, one in enumerate(boxes)])
  data = load(tmp_path / 'm', eval='train', allow_overlap=True)
  one = evaluated(data, 'train')[1]
  np.testing.assert_allclose(
      back(one, one['object_boxes']), [[10, 10, 30, 30], [90, 70, 100, 80]],
      rtol=1e-6)
  assert data.builder.info.metadata['changed']['train'] == {
      'cut at the edge': dict(count=1, first=12),
      'left out, a negative side': dict(count=1, first=16),
      'left out, a side below 0.1 pixels': dict(count=1, first=14),
      'left out, outside of the picture': dict(count=2, first=13)}
  assert 'outside of the picture: 2 boxes, the first of annot' in log.text


@pytest.mark.parametrize('bbox', ['[1, 2, NaN, 4]', '[1, 2, Infinity, 4]'])
def test_a_box_that_is_no_number_is_refused(tmp_path, bbox):
  write(tmp_path / 'm', 'train.json', [(3, 'a.png', 100, 80)],
        [box(17, 3, 1, [1, 2, 3, 4])])
  path = tmp_path / 'm' / 'train.json'
  path.write_text(path.read_text().replace('[1, 2, 3, 4]', bbox))
  with pytest.raises(ValueError, match='annotation 17 of picture 3 has the'):
    load(tmp_path / 'm', max_bad=99)


@pytest.mark.parametrize('change, says', [
    (dict(image_id=9), 'annotation 1 of picture 9'),
    (dict(category_id=9), 'annotation 1 of category 9'),
    (dict(bbox=[1, 2, 3]), 'malformed annotation'),
    (dict(id='x'), 'malformed annotation')])
def test_bad_annotations_are_refused_or_left_out(tmp_path, change, says):
  write(tmp_path / 'm', 'train.json', [(3, 'a.png', 100, 80)], [
      box(1, 3, 1, [1, 2, 3, 4]) | change, box(2, 3, 3, [1, 2, 30, 40])])
  with pytest.raises(ValueError, match=says):
    load(tmp_path / 'm', eval='train', allow_overlap=True)
  data = load(tmp_path / 'm', eval='train', allow_overlap=True, max_bad=1)
  assert evaluated(data, 'train')[3]['object_classes'].tolist() == [1]


@pytest.mark.parametrize('change, says', [
    (dict(categories=None), 'it has no categories'),
    (dict(images=None), 'it has no images'),
    (dict(categories=[dict(id=1, name='a'), dict(id=1, name='b')]),
     'gives the number 1 to two categories'),
    (dict(categories=[dict(id='1', name='a')]), 'must have a name and an id')])
def test_what_is_no_file_of_objects_is_refused(tmp_path, change, says):
  write(tmp_path / 'm', 'train.json', [(3, 'a.png', 100, 80)], [])
  path = tmp_path / 'm' / 'train.json'
  found = json.loads(path.read_text()) | change
  path.write_text(json.dumps({k: v for k, v in found.items() if v is not None}))
  with pytest.raises(ValueError, match=says):
    load(tmp_path / 'm')


def test_a_split_without_any_object_cannot_be_trained_on(tmp_path):
  write(tmp_path / 'm', 'train.json', [(3, 'a.png', 100, 80)], [])
  with pytest.raises(ValueError, match='none of its pictures has an object'):
    load(tmp_path / 'm', eval='train', allow_overlap=True)


# Pictures that lie or are turned in another way, T5.


def turned(path, width, height, orientation=6, kind='JPEG'):
  exif = Image.Exif()
  exif[0x0112] = orientation
  paint(path, width, height, kind=kind, exif=exif)


def test_boxes_of_upright_pictures_go_with_turned_files(tmp_path):
  # Stored 30 x 40, upright 40 x 30.
  write(tmp_path / 'm', 'train.json', [(1, 'a.jpg', 40, 30)],
        [box(1, 1, 1, [20, 0, 20, 30])], paints=False)
  turned(tmp_path / 'm' / 'a.jpg', 30, 40)
  data = load(tmp_path / 'm', eval='train', allow_overlap=True)
  one = evaluated(data, 'train')[1]
  assert one['picture_size'].tolist() == [30, 40]
  np.testing.assert_array_equal(one['extent'], [48, 64])
  assert data.builder.info.metadata['changed']['train'] == {}


def test_boxes_of_stored_pictures_take_the_flag_out(tmp_path):
  write(tmp_path / 'm', 'train.json', [(1, 'a.jpg', 30, 40)],
        [box(1, 1, 1, [0, 0, 30, 20])], paints=False)
  turned(tmp_path / 'm' / 'a.jpg', 30, 40)
  data = load(tmp_path / 'm', eval='train', allow_overlap=True)
  one = evaluated(data, 'train')[1]
  assert one['picture_size'].tolist() == [40, 30]
  np.testing.assert_array_equal(one['extent'], [64, 48])
  (what, count), = data.builder.info.metadata['changed']['train'].items()
  assert 'flag was taken out' in what and count == dict(count=1, first=1)
  record = records.read(data.builder, 'train', ['image'])[0]['image']
  assert Image.open(io.BytesIO(record)).size == (30, 40)
  assert Image.open(io.BytesIO(record)).getexif().get(0x0112) is None


def test_a_picture_of_another_size_is_refused(tmp_path):
  write(tmp_path / 'm', 'train.json', [(1, 'a.png', 40, 30)],
        [box(1, 1, 1, [0, 0, 20, 20])])
  paint(tmp_path / 'm' / 'images' / 'a.png', 41, 30)
  with pytest.raises(ValueError, match=r'a.png is 30 x 41 pixels, but its '
                     'annotations are of 30 x 40'):
    load(tmp_path / 'm')


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', 'CMYK', 'I;16'])
def test_pictures_of_all_kinds_come_as_rgb(tmp_path, mode):
  kind = 'TIFF' if mode == 'CMYK' else 'PNG'
  write(tmp_path / 'm', 'train.json', [(1, 'a.any.png', 40, 30)],
        [box(1, 1, 1, [0, 0, 20, 20])], paints=False)
  path = tmp_path / 'm' / 'a.any.png'
  if mode == 'I;16':
    Image.fromarray(np.full((30, 40), 40000, np.uint16)).save(path, 'PNG')
  else:
    paint(path, 40, 30, mode, kind)
  data = load(tmp_path / 'm', eval='train', allow_overlap=True)
  assert next(data.train())['image'].shape == (2, 64, 64, 3)


def test_a_broken_picture_is_named(tmp_path):
  write(tmp_path / 'm', 'train.json', [(1, 'a.png', 40, 30)],
        [box(1, 1, 1, [0, 0, 20, 20])])
  (tmp_path / 'm' / 'images' / 'a.png').write_bytes(b'none')
  with pytest.raises(ValueError, match=r'a\.png of 4 bytes'):
    load(tmp_path / 'm')


# There and back: what pycocotools says of the user's own file.


def test_average_precision_is_that_of_the_users_file(tmp_path):
  coco, cocoeval = (pytest.importorskip(f'pycocotools.{name}')
                    for name in ('coco', 'cocoeval'))
  rng, folder, boxes = np.random.default_rng(5), tmp_path / 'm', []
  pictures = [(30 - i, f'{i}.png', *map(int, rng.integers(40, 160, 2)))
              for i in range(8)]
  for id, _, width, height in pictures:
    for _ in range(rng.integers(0, 5)):
      w, h = map(int, rng.integers(12, [width - 5, height - 5]))
      boxes.append(box(
          len(boxes) + 1, id, int(rng.choice([1, 3, 90])), [
              int(rng.integers(width - w)), int(rng.integers(height - h)), w, h],
          area=int(w * h * 0.7), iscrowd=int(rng.random() < 0.2)))
  write(folder, 'train.json', pictures, boxes)
  data = load(folder, eval='train', allow_overlap=True, image_size=(72, 96))
  gather = scores.Gather(detection.make())
  for batch in data.evaluation():
    sides = np.float32([*batch['image'].shape[2:0:-1]] * 2)
    near = np.repeat(batch['object_boxes'], 2, 1) * sides
    outputs = dict(
        boxes=near + rng.normal(0, 1.5, near.shape).astype(np.float32),
        scores=rng.random(near.shape[:2]).astype(np.float32),
        found=np.repeat(batch['object_classes'], 2, 1),
        valid=np.repeat(batch['object_mask'] | batch['object_crowd'], 2, 1))
    gather.add(detection.read(outputs, batch), batch['mask'])
  rows = {name: np.concatenate([np.asarray(part[name]) for part in gather._parts])
          for name in gather._parts[0]}
  report.write(tmp_path / 'results.json', detection.results(
      rows, data.ids('train'), [data.written()[name] for name in data.answers]))
  with contextlib.redirect_stdout(io.StringIO()):
    truth = coco.COCO(str(folder / 'train.json'))
    judge = cocoeval.COCOeval(
        truth, truth.loadRes(str(tmp_path / 'results.json')), 'bbox')
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
  got = gather.finish(data)
  np.testing.assert_allclose(list(got.values()), np.where(
      judge.stats < 0, np.nan, 100 * judge.stats), rtol=1e-12)
  assert 20 < got['AP'] < 90
