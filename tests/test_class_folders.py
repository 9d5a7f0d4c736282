"""Folders of classes as users have them: strays, other layouts, links."""
import shutil

from bst_jax.data import records, source
import numpy as np
from PIL import Image
import pytest

COLORS = {'cat': (200, 30, 30), 'dog': (30, 200, 30), 'owl': (30, 30, 200)}


def mine(folder, classes=('cat', 'dog'), splits=('train', 'val')):
  for split in splits:
    for name in classes:
      for i in range(3):
        path = folder / split / name / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (16, 16), COLORS[name]).save(path)
  return folder


def load(folder, **options):
  return source.load(dict(
      name='class_folders', manual_dir=str(folder), train='train', eval='val',
      data_dir=str(folder.parent / 'home'), batch=2, image_size=16) | options)


def counts(data):
  return {name: info.num_examples
          for name, info in data.builder.info.splits.items()}


def check_pixels(data):
  """Each evaluated picture has the color of its class."""
  for batch in data.evaluation():
    for picture, label, real in zip(
        batch['image'], batch['label'], batch['mask']):
      if real:
        assert tuple(picture[8, 8]) == COLORS[data.answers[label]]


def copied(folder, to):
  to.parent.mkdir(parents=True, exist_ok=True)
  shutil.copy(folder / 'train' / 'cat' / '0.png', to)


@pytest.mark.parametrize('stray', [
    'train/.ipynb_checkpoints/0-checkpoint.png', '.ipynb_checkpoints/a.png',
    '__MACOSX/train/cat/._0.png', 'train/cat/._0.png', 'train/.DS_Store',
    'train/cat/Thumbs.db', 'val/@eaDir/0.png', '.git/config',
    'train/readme.txt', 'labels.csv', 'train/cat/0.txt'])
def test_strays_are_passed_over(tmp_path, stray):
  folder = mine(tmp_path / 'mine')
  copied(folder, folder / stray)
  data = load(folder)
  assert data.answers == ('cat', 'dog')
  assert counts(data) == {'train': 6, 'val': 6}
  check_pixels(data)
  for path in folder.rglob('.DS_Store'):  # It changes; the data set does not.
    path.write_text('more')
    load(folder)


def test_pictures_of_all_kinds_and_names_count(tmp_path, log):
  folder = mine(tmp_path / 'mine', ('cat', 'dog', 'owl'))
  place = folder / 'val' / 'owl'
  for i, ending in enumerate(('webp', 'BMP', 'tif')):
    Image.open(place / f'{i}.png').save(place / f'n{i}.{ending}', lossless=True)
    (place / f'{i}.png').unlink()
  dogs = folder / 'val' / 'dog'
  (dogs / '0.png').rename(dogs / 'no_ending')
  (folder / 'val' / 'cat' / '0.png').rename(folder / 'val' / 'cat' / '0.JFIF')
  deep = folder / 'val' / 'cat' / 'old' / 'er'
  deep.mkdir(parents=True)
  (folder / 'val' / 'cat' / '1.png').rename(deep / '1.PNG')
  (folder / 'val' / 'notes.txt').write_text('mine')
  data = load(folder)
  assert counts(data) == {'train': 9, 'val': 9}
  check_pixels(data)
  assert '1 files below' in log.text and 'notes.txt' in log.text


@pytest.mark.parametrize('bad, message', [
    ('train/loose.png', 'picture beside the classes: 1, as .*loose.png is in'),
    ('train/cat/a.heic', 'unreadable picture: 1, as .*a.heic.*it is HEIC'),
    ('train/cat/a.jpg', 'unreadable picture: 1, as .*a.jpg.*page of HTML'),
    ('train/cat/a.webp', 'unreadable picture: 1, as .*a.webp.*it is empty'),
    ('train/cat/gone.png', 'unreadable picture: 1, as .*gone.png'),
])
def test_bad_pictures_are_listed_or_left_out(tmp_path, bad, message):
  folder, content = mine(tmp_path / 'mine'), {
      'heic': b'\0\0\0\x18ftypheic', 'jpg': b'<!doctype html><html>',
      'webp': b''}
  if 'gone' in bad:
    (folder / bad).symlink_to(tmp_path / 'nowhere')
  elif 'loose' in bad:
    copied(folder, folder / bad)
  else:
    (folder / bad).write_bytes(content[bad.rsplit('.', 1)[1]])
  with pytest.raises(ValueError, match=f'(?s){message}.*max_bad'):
    load(folder)
  data = load(folder, max_bad=1)
  assert counts(data) == {'train': 6, 'val': 6}
  left_out = data.builder.info.metadata['left_out']
  assert sum(kind['count'] for kind in left_out.values()) == 1


def test_all_that_is_bad_is_told_at_once(tmp_path):
  folder = mine(tmp_path / 'mine')
  bad = [folder / 'train' / 'cat' / 'a.png', folder / 'val' / 'dog' / 'b.jpg',
         folder / 'val' / 'c.png', folder / 'train' / 'dog' / 'd.gif']
  for path in bad:
    path.write_bytes(b'none')
  with pytest.raises(ValueError) as raised:
    load(folder, max_bad=1)
  assert all(str(path) in str(raised.value) for path in bad)


@pytest.mark.parametrize('change, message', [
    (lambda f: [(f / 'train' / 'cat').rename(f / 'train' / 'Cat')],
     r"written in another way .*\['Cat', 'cat'\]"),
    (lambda f: [(f / s / 'cat').rename(f / s / n) for s, n in (
        ('train', 'caf\u00e9'), ('val', 'cafe\u0301'))],
     'written in another way'),
    (lambda f: shutil.rmtree(f / 'val' / 'dog'),
     r"val differs from train in 1, as \['dog'\]"),
    (lambda f: copied(f, f / 'test' / '1.png'),
     'test has no folders of classes'),
    (lambda f: (shutil.copytree(f / 'train', f, dirs_exist_ok=True), [
        shutil.rmtree(f / s) for s in ('train', 'val')]),
     'pictures in cat, dog: are these the classes.*train/cat'),
    (lambda f: [shutil.copytree(f / s / 'cat', f / s, dirs_exist_ok=True) and
                [shutil.rmtree(f / s / c) for c in ('cat', 'dog')]
                for s in ('train', 'val')],
     'pictures in train, val that are in no folder of a class'),
    (lambda f: (copied(f, f / '1.jpg'), [
        shutil.rmtree(f / s) for s in ('train', 'val')]),
     'pictures in it that are in no folder'),
    (lambda f: [shutil.move(f / s, f / 'birds' / s) for s in ('train', 'val')
                if (f / 'birds').mkdir(exist_ok=True) is None],
     'holds train, val, which are splits. Give .*birds as config.data.manual'),
    (lambda f: [shutil.rmtree(f / s) for s in ('train', 'val')],
     'is no folder with files'),
    (lambda f: [p.unlink() for p in (f / 'val').rglob('*.png')],
     'val was to be a split, but there is no picture'),
])
def test_other_layouts_are_refused_with_what_to_do(tmp_path, change, message):
  folder = mine(tmp_path / 'mine')
  change(folder)
  with pytest.raises(ValueError, match=f'(?s){message}'):
    load(folder)


def test_links_are_followed_and_never_in_circles(tmp_path):
  folder, other = mine(tmp_path / 'mine'), mine(tmp_path / 'other')
  shutil.rmtree(folder / 'val')
  (folder / 'val').symlink_to(other / 'val')
  shutil.rmtree(folder / 'train' / 'dog')
  (folder / 'train' / 'dog').symlink_to(other / 'train' / 'dog')
  (folder / 'train' / 'cat' / 'again').symlink_to(folder / 'train')
  data = load(folder)
  assert counts(data) == {'train': 6, 'val': 6}
  assert sorted(records.read(data.builder, 'train', ['label']).column(
      'label').tolist()) == [0, 0, 0, 1, 1, 1]
  check_pixels(data)


def test_classes_without_pictures_and_single_ones_are_told(tmp_path, log):
  folder = mine(tmp_path / 'mine')
  for path in (folder / 'val' / 'dog').iterdir():
    path.unlink()
  load(folder)
  assert 'val: 1 of the 2 classes have no picture there, as dog' in log.text
  load(mine(tmp_path / 'one' / 'mine', ('owl',)))
  assert 'has one class, owl' in log.text


def test_predicted_pixels_are_those_that_are_trained_on(tmp_path):
  """Of 16 bits, as depth and X-rays have."""
  folder = mine(tmp_path / 'mine')
  ramp = (np.arange(256, dtype=np.uint16).reshape(16, 16) * 257)
  for path in folder.rglob('*.png'):
    Image.fromarray(ramp).save(path)
  shown = next(load(folder).train())['image']
  assert (shown == (ramp >> 8)[..., None]).all()
