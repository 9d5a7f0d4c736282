"""Pictures with classes: files, order, shards, what training does to them."""
import io
import re

from bst_jax.data import (
  augment,
  pipeline,
  rand_augment,
  records,
  source,
  vocabularies,
)
from bst_jax.data import batches as batches_lib
from bst_jax.data import image as image_lib
from bst_jax.data.builders.fashion_mnist import files
import made_up
import numpy as np
from PIL import Image
import pytest

ALL = dict(crop=(0.3, 1.0), flip=0.5, rand_augment=9, erase=0.5, mixup=0.8,
           cutmix=1.0, smoothing=0.1)


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  folder = tmp_path_factory.mktemp('fashion')
  made_up.numbered_fashion(folder / 'mine')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(files, '_VALIDATION', 10)
    load(folder)
  return folder


def load(folder, shard=(0, 1), vocab_dir=None, **options):
  return source.load(dict(
      name='fashion_mnist', manual_dir=str(folder / 'mine'),
      data_dir=str(folder / 'home'), batch=12) | options,
      vocab_dir=vocab_dir, shard_index=shard[0], shard_count=shard[1])


def numbers(batch):
  """Numbers of the pictures of a batch that nothing changed."""
  return batch['image'][:, 0, 0, 0].tolist()


def take(iterator, count):
  return [next(iterator) for _ in range(count)]


def same(one, other):
  assert one.keys() == other.keys()
  for key in one:
    np.testing.assert_array_equal(one[key], other[key], err_msg=key)


# Fashion-MNIST.


def test_its_splits_and_sizes(home):
  data = load(home)
  assert data.sizes == {'num_answers': 10, 'image_size': 28}
  assert data.answers == files.CLASSES and data.epoch == 30 / 12
  assert data.example['image'].shape == (12, 28, 28, 3)
  for split, count, first in (('train', 30, 0), ('val', 10, 30),
                              ('test', 16, 100)):
    seen = [n for b in data.calibration(split) for n, real in zip(
        numbers(b), b['mask']) if real]
    assert seen and sorted(seen) == list(range(first, first + count))


def test_training_shows_each_picture_once_an_epoch(home):
  batches = take(load(home).train(), 5)  # Two epochs of 30.
  seen = [n for b in batches for n in numbers(b)]
  assert sorted(seen[:30]) == sorted(seen[30:]) == list(range(30))
  assert seen[:30] != seen[30:]
  for batch in batches:
    assert [n % 10 for n in numbers(batch)] == batch['label'].tolist()


def test_evaluation_shows_each_picture_once_and_pads(home):
  found = list(load(home, eval_batch=10).evaluation())
  assert [b['mask'].sum() for b in found] == [10, 6]
  assert not found[1]['image'][6:].any() and not found[1]['label'][6:].any()
  seen = [n for b in found for n, real in zip(numbers(b), b['mask']) if real]
  assert sorted(seen) == list(range(100, 116))


def test_calibration_takes_some_at_equal_distances(home):
  batch, = load(home, augment=ALL).calibration(limit=4)
  assert batch['mask'].sum() == 4 and batch['label'].dtype == np.int32
  every = [n for b in load(home).calibration() for n in numbers(b)]
  assert numbers(batch)[:4] == [every[i] for i in (0, 10, 19, 29)]


@pytest.mark.parametrize('options', [
    dict(), dict(augment=ALL), dict(augment=ALL, cache=False),
    dict(augment=dict(repeats=3)), dict(augment=dict(repeats=2, flip=0.5))],
    ids=str)
def test_batches_depend_on_the_seed_alone_and_on_no_host(home, options):
  options = options | dict(threads=1)
  whole = take(load(home, **options).train(), 5)
  for one, other in zip(whole, take(load(home, **options).train(), 5)):
    same(one, other)
  other = take(load(home, seed=1, **options).train(), 1)[0]
  assert (other['image'] != whole[0]['image']).any()
  for hosts in (2, 3):
    parts = [take(load(home, (i, hosts), **options).train(), 5)
             for i in range(hosts)]
    for step, batch in enumerate(whole):
      same(batch, {k: np.concatenate([p[step][k] for p in parts])
                   for k in batch})


def test_hosts_agree_where_an_epoch_ends_between_repeats(home):
  options = dict(augment=dict(repeats=2), limit=8, batch=6)
  whole = take(load(home, **options).train(), 4)
  assert all(numbers(b)[:3] == numbers(b)[3:] for b in whole)
  for host in range(3):
    for batch, part in zip(
        whole, take(load(home, (host, 3), **options).train(), 4)):
      assert numbers(part) == numbers(batch)[2 * host:2 * host + 2]


def test_the_place_reached_is_kept(home):
  one = load(home, augment=ALL, threads=1).train()
  take(one, 3)
  other = load(home, augment=ALL, threads=1).train()
  other.set_state(one.get_state())
  same(next(one), next(other))


def test_repeats_show_a_picture_often_but_changed(home):
  batch = next(load(home, augment=dict(repeats=3, crop=(0.3, 0.6))).train())
  kinds = batch['label'].reshape(3, 4)
  assert (kinds == kinds[0]).all()
  image = batch['image'].reshape(3, 4, -1)
  assert (image[0] != image[1]).any(-1).all()


def test_in_memory_or_not_is_the_same(home):
  for one, other in zip(load(home, cache=True, augment=ALL, image_size=20)
                        .evaluation(),
                        load(home, cache=False, augment=ALL, image_size=20)
                        .evaluation()):
    assert one['image'].shape[1:] == (20, 20, 3)
    same(one, other)


def test_the_floor_is_the_commonest_class(home):
  data = load(home, limit=11)  # Of 11 pictures two are of one class.
  asked = np.concatenate([b['label'][b['mask']] for b in data.evaluation()])
  train = np.concatenate([b['label'][b['mask']] for b in data.calibration()])
  commonest = np.bincount(train).argmax()
  assert data.prior() == {'overall': 100 * np.mean(asked == commonest)}


def test_labels_are_read_once(home, monkeypatch):
  builder = records.prepare('fashion_mnist', str(home / 'home'))
  read = records.read(builder, 'test', ['image', 'label'])
  wanted = read.column('label')
  with monkeypatch.context() as patch:
    patch.setattr(records.Records, '__getitem__', None)
    again = records.read(builder, 'test', ['image', 'label'], limit=5)
    np.testing.assert_array_equal(again.column('label'), wanted[:5])
  (home / 'home' / 'fashion_mnist' / '1.0.0' / 'test.label.npy').write_bytes(b'')
  np.testing.assert_array_equal(
      records.read(builder, 'test', ['label']).column('label'), wanted)


@pytest.mark.parametrize('options, message', [
    (dict(imagesize=8), 'image_size'),
    (dict(inputs=('image',)), 'inputs'),
    (dict(frames=4), 'of pictures with classes .frames'),
    (dict(augment=dict(flop=1)), 'flip'),
    (dict(augment=dict(flip=2)), 'flip is 2; it is a share'),
    (dict(augment=dict(mixup=-1)), 'mixup is -1'),
    (dict(augment=dict(crop=0.5)), r'crop is \(0.5,\).*0.08, 1'),
    (dict(augment=dict(crop=(0.5, 2))), 'no more to cut out'),
    (dict(augment=dict(repeats=5)), '12 was to have every picture 5 times'),
    (dict(augment=dict(mixup=1.0), batch=9), 'in pairs, but a host has 9'),
    (dict(eval='train'), "training shows \\['train'\\]"),
    (dict(image_fit='odd'), 'stretch'),
    (dict(eval='vall'), 'val'),
])
def test_wrong_options(home, options, message):
  with pytest.raises(ValueError, match=message):
    load(home, **options)


def test_classes_of_a_workdir_that_differ(home, tmp_path):
  data = load(home)
  data.save_vocab(tmp_path)
  assert load(home, vocab_dir=tmp_path).answers == data.answers
  assert vocabularies.names(tmp_path) == data.vocabularies
  path = vocabularies.path(tmp_path, 'answers')
  path.write_text(path.read_text().replace('bag', 'sack'))
  with pytest.raises(ValueError, match='10 classes of .* not the 10 of fashion'):
    load(home, vocab_dir=tmp_path)


def test_no_questions_for_a_server(home):
  with pytest.raises(ValueError, match='classes, no questions'):
    load(home).ids('test')


@pytest.mark.parametrize('name, content, message', [
    ('train-images-idx3', None, 'no whole gzip file'),
    ('train-images-idx3', b'not gzip', 'no whole gzip file'),
    ('train-images-idx3', made_up.idx_bytes(np.zeros((40, 28, 28), np.uint8))[:60],
     'no whole gzip file'),
    ('train-images-idx3', made_up.idx_bytes(np.zeros(4000, np.uint8)),
     'begins with 0x801, not 0x803'),
    ('t10k-labels-idx1', made_up.idx_bytes(np.full(16, 12, np.uint8)), 'up to 12'),
    ('t10k-labels-idx1', made_up.idx_bytes(np.zeros(15, np.uint8)), '15 labels'),
])
def test_wrong_files_of_fashion_mnist(tmp_path, name, content, message):
  made_up.numbered_fashion(tmp_path)
  path = tmp_path / f'{name}-ubyte.gz'
  path.write_bytes(content) if content else path.unlink()
  with pytest.raises(ValueError, match=message):
    files.read(tmp_path)


def test_damage_within_a_gzip_file_is_named(tmp_path):
  made_up.numbered_fashion(tmp_path)
  path = tmp_path / 'train-images-idx3-ubyte.gz'
  data = bytearray(path.read_bytes())
  data[40:60] = bytes(range(200, 220))
  path.write_bytes(data)
  with pytest.raises(ValueError, match='train-images.*no whole gzip file'):
    files.read(tmp_path)


def test_without_a_folder_the_error_says_what_is_needed(tmp_path):
  with pytest.raises(ValueError, match='(?s)no folder with files.*apt-get'):
    load(tmp_path)


def test_a_set_that_is_made_needs_its_files_no_more(home):
  data = source.load(dict(name='fashion_mnist', data_dir=str(home / 'home'),
                          batch=12))
  assert data.epoch == 30 / 12


# Augmentation.


def recipe(**options):
  return augment.Recipe.of(options)


def test_mixing_keeps_the_sum_of_labels_and_mixes_pairs():
  image = np.zeros((8, 16, 16, 3), np.uint8)
  image[::2] = 200
  kinds = np.arange(8)
  for options in (dict(mixup=0.8), dict(cutmix=1.0),
                  dict(mixup=0.8, cutmix=1.0, smoothing=0.1)):
    how = recipe(**options)
    soft = how.soft(kinds, 10)
    mixed, label = how.mix(image, soft, [(5, i) for i in range(8)])
    np.testing.assert_allclose(label.sum(-1), 1, rtol=1e-5)
    # The share of light pixels is the share of the light picture's class.
    share = mixed.mean((1, 2, 3)) / 200
    rest = 1 - options.get('smoothing', 0)
    got = (label[np.arange(8), kinds // 2 * 2] - (1 - rest) / 10) / rest
    np.testing.assert_allclose(got, share, atol=0.004)
    assert len(np.unique(share.round(3))) > 4
    assert (image[::2] == 200).all() and not image[1::2].any()


def test_smoothing_alone_gives_soft_labels(home):
  batch = next(load(home, augment=dict(smoothing=0.2)).train())
  assert batch['label'].shape == (12, 10)
  np.testing.assert_allclose(
      np.sort(batch['label'])[:, -2:], [[0.02, 0.82]] * 12, rtol=1e-5)
  assert (batch['label'].argmax(-1)
          == [n % 10 for n in numbers(batch)]).all()


def test_flips_and_cuts_are_as_often_and_as_large_as_asked():
  ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None], 64, 0)
  ramp = np.repeat(2 * ramp, 3, -1)
  made = np.stack([recipe(crop=(0.25, 0.5), flip=0.5).picture(
      ramp, (32, 32), np.random.default_rng(i)) for i in range(300)])
  first, last = made[:, 16, 0, 0].astype(int), made[:, 16, -1, 0].astype(int)
  assert 0.4 < (first > last).mean() < 0.6
  width = abs(last - first) / 2 / 31 * 32 / 64  # As a share of the picture.
  assert (width > 0.25 ** 0.5 * 0.75 ** 0.5 - 0.05).all()
  assert (width < 0.5 ** 0.5 * (4 / 3) ** 0.5 + 0.05).all()
  assert np.ptp(width) > 0.2


def test_without_a_cut_pictures_come_to_size_as_in_evaluation():
  wide = np.random.default_rng(0).integers(0, 256, (20, 60, 3), np.uint8)
  encoded = io.BytesIO()
  Image.fromarray(wide).save(encoded, 'png')
  for fit in ('crop', 'stretch', 'black'):
    wanted = image_lib.decode(encoded.getvalue(), 16, fit=fit)
    made = recipe(erase=0.0, flip=0.0).picture(
        wide, (16, 16), np.random.default_rng(0), fit)
    np.testing.assert_array_equal(made, wanted)


def test_erasing_fills_a_rectangle_with_noise():
  plain = np.zeros((32, 32, 3), np.uint8)
  made = recipe(erase=1.0).picture(plain, (32, 32), np.random.default_rng(1))
  rows, columns = np.nonzero(made.any(-1))
  area = np.ptp(rows) + 1, np.ptp(columns) + 1
  assert 0.02 * 0.8 < area[0] * area[1] / 1024 < 1 / 3 * 1.2
  assert np.count_nonzero(made.any(-1)) > 0.95 * area[0] * area[1]


@pytest.mark.parametrize('name', sorted(rand_augment.OPERATIONS))
def test_operations_change_a_picture_and_keep_its_form(name):
  noise = np.random.default_rng(0).integers(40, 200, (16, 20, 3), np.uint8)
  image = Image.fromarray(noise)
  rng = lambda: np.random.default_rng(3)
  made = rand_augment.OPERATIONS[name](image, 0.9, rng())
  assert made.size == (20, 16) and made.mode == 'RGB'
  assert np.array(made).tobytes() != noise.tobytes()
  again = rand_augment.OPERATIONS[name](image, 0.9, rng())
  assert np.array(again).tobytes() == np.array(made).tobytes()


def test_order_is_by_the_numbers_alone():
  """A batch is what its step says, whichever was asked for before."""
  class Batches:
    start, repeats, chosen, empty = np.arange(8), 1, 1, dict
    shape = batches_lib.shape(4, 1, 0, 1)
    units = staticmethod(lambda: np.arange(7))

    def __call__(self, pictures, questions, mask, draws):
      return {'n': pictures, 'd': np.array(draws)}

  ordered = pipeline.train(Batches(), 3, 0)
  seen = np.concatenate([next(ordered)['n'] for _ in range(7)])
  assert [sorted(part) for part in seen.reshape(4, 7)] == [list(range(7))] * 4


# Folders of classes.


def folders(place, **splits):
  """Writes {split: {class: number of pictures}}."""
  seed = 0
  for split, classes in splits.items():
    for name, count in classes.items():
      folder = place / 'mine' / split / name
      folder.mkdir(parents=True)
      for i in range(count):
        (folder / f'{i}.jpg').write_bytes(made_up.picture(
            seed, size=(20 + 4 * i, 16)))
        seed += 1
  return place


def load_folders(place, **options):
  return load(place, **dict(name='class_folders', train='train', eval='val',
                            batch=2, image_size=8) | options)


def test_folders_of_classes(tmp_path):
  folders(tmp_path, train=dict(cat=2, dog=3), val=dict(cat=1, dog=1))
  (tmp_path / 'mine' / 'train' / 'cat' / 'notes.txt').write_text('mine')
  data = load_folders(tmp_path, augment=dict(flip=0.5))
  assert data.answers == ('cat', 'dog') and data.epoch == 2.5
  assert next(data.train())['image'].shape == (2, 8, 8, 3)
  kinds = [b['label'][b['mask']].tolist() for b in data.calibration()]
  assert sorted(sum(kinds, [])) == [0, 0, 1, 1, 1]
  with pytest.raises(ValueError, match='many sizes.*image_size'):
    load_folders(tmp_path, image_size=0)


@pytest.mark.parametrize('splits, message', [
    (dict(train=dict(cat=1, dog=1), val=dict(cat=1, cow=1)),
     r"val differs from train in 2, as \['cow', 'dog'\]"),
    (dict(train={}, val={}), 'there are no such folders'),
    (dict(train=dict(cat=1), val=dict(cat=0)), 'val.*no picture'),
])
def test_wrong_folders(tmp_path, splits, message):
  folders(tmp_path, **splits)
  (tmp_path / 'mine').mkdir(exist_ok=True)
  (tmp_path / 'mine' / 'readme.txt').write_text('x')
  with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
    load_folders(tmp_path)


def test_cut_pictures_are_counted_and_bounded(tmp_path):
  folders(tmp_path, train=dict(cat=2, dog=2), val=dict(cat=1, dog=1))
  path = tmp_path / 'mine' / 'train' / 'cat' / '1.jpg'
  path.write_bytes(path.read_bytes()[:-200])
  with pytest.raises(ValueError, match='unreadable picture: 1, as .*1.jpg'):
    load_folders(tmp_path)
  assert load_folders(tmp_path, max_bad=1).epoch == 1.5
  changed = tmp_path / 'mine' / 'train' / 'cat' / '0.jpg'
  changed.write_bytes(made_up.picture(99, size=(50, 40)))
  with pytest.raises(ValueError, match='not the same any more'):
    load_folders(tmp_path, max_bad=1)
