"""Motion-8: only the order of frames tells the two of a pair apart."""
import hashlib

from bst_jax.data import records, source
from bst_jax.data.builders.fashion_mnist import files
from bst_jax.data.builders.motion8 import moving
import made_up
import numpy as np
import pytest


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  folder = tmp_path_factory.mktemp('motion8')
  made_up.numbered_fashion(folder / 'mine')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(files, '_VALIDATION', 10)
    load(folder)
  return folder


def load(folder, **options):
  return source.load(dict(
      name='motion8/tiny', manual_dir=str(folder / 'mine'),
      data_dir=str(folder / 'home'), batch=16) | options)


def test_clips_and_sizes(home):
  data = load(home)
  assert data.sizes == {'num_answers': 8, 'clip_size': (8, 48, 48)}
  assert data.answers == moving.CLASSES and data.epoch == 4
  batch = next(data.train())
  assert batch['clip'].shape == (16, 8, 48, 48, 3)
  assert batch['clip'].any((2, 3, 4)).all()
  assert data.prior() == {'overall': 12.5}


def test_the_same_clips_everywhere(home):
  clips = [b['clip'] for b in load(home).evaluation()]
  digest = hashlib.sha256(np.concatenate(clips).tobytes()).hexdigest()
  assert digest[:16] == '2379b41e6b17cb5b'


def test_splits_are_balanced_and_share_no_picture(home):
  builder = records.prepare('motion8/tiny', str(home / 'home'))
  for split, count, pictures in (('train', 64, 30), ('val', 16, 10),
                                 ('test', 16, 16)):
    read = records.read(builder, split, ['label', 'picture', 'item'])
    assert np.bincount(read.column('label')).tolist() == [count // 8] * 8
    chosen = read.column('picture')
    assert set(chosen) == set(range(pictures))
    # Numbers of its own part of the pictures; val's are the last of training.
    first = 30 if split == 'val' else 0
    assert ((chosen + first) % 10 == read.column('item')).all()


def paths(label, count=800):
  found = [moving.path(label, np.random.default_rng((label, i)))
           for i in range(count)]
  return np.array([[p.x % moving.SIDE / moving.SIDE,
                    p.y % moving.SIDE / moving.SIDE,
                    np.log(p.side / 14) / np.log(34 / 14)] for p in found])


def test_no_single_frame_tells_the_class():
  grid = np.linspace(0, 1, 21)
  for label in range(8):
    values = paths(label)  # [n, 3, 8]: place and size, all even in 0..1.
    below = (values[..., None] < grid).mean(0)  # [3, 8, 21]
    assert abs(below - grid).max() < 0.07, moving.CLASSES[label]


def steps(values):
  """What changes from frame to frame, on the torus: [n, 3, 7]."""
  return (np.diff(values) + 0.5) % 1 - 0.5


@pytest.mark.parametrize('one', [0, 2, 4, 6])
def test_a_class_backwards_is_its_partner(one):
  ahead, back = steps(paths(one)), steps(paths(one + 1)[..., ::-1])
  for statistic in (np.mean, np.std):
    np.testing.assert_allclose(statistic(ahead, 0), statistic(back, 0),
                               atol=0.02)
  turning = lambda s: (s[:, 0, :-1] * s[:, 1, 1:]
                       - s[:, 1, :-1] * s[:, 0, 1:]).mean()
  np.testing.assert_allclose(turning(ahead), turning(back), atol=1e-3)


def test_each_class_moves_as_it_is_called():
  moves = {name: steps(paths(i, 100)) for i, name in enumerate(moving.CLASSES)}
  for name, axis, sign in (('left', 0, -1), ('right', 0, 1), ('up', 1, -1),
                           ('down', 1, 1), ('grow', 2, 1), ('shrink', 2, -1)):
    still = [a for a in range(3) if a != axis]
    assert (sign * moves[name][:, axis] > 0).all(), name
    assert abs(moves[name][:, still]).max() < 1e-9, name
  for name, sign in (('clockwise', 1), ('anticlockwise', -1)):
    x, y = moves[name][:, 0], moves[name][:, 1]
    # On the screen, where y grows downwards.
    assert (sign * (x[:, :-1] * y[:, 1:] - y[:, :-1] * x[:, 1:]) > 0).all()


def test_the_picture_is_where_the_path_is():
  item = np.full((28, 28), 200, np.uint8)
  still = lambda v: np.full(moving.FRAMES, float(v))
  frames = moving.draw(item, moving.Path(still(0), still(24), still(28)))
  assert frames.shape == (8, 48, 48) and frames.dtype == np.uint8
  # Half of it on either side of the torus.
  assert (frames[0, 12:36, :13] == 200).all()
  assert (frames[0, 12:36, -13:] == 200).all()
  assert not frames[0, :, 16:-16].any() and not frames[0, :8].any()
  small = moving.draw(item, moving.Path(still(20), still(24), still(14)))
  np.testing.assert_allclose(small[0].sum() / 200, 14 * 14, rtol=0.03)


def test_shuffled_frames_of_evaluation(home):
  plain, = load(home, eval='test').evaluation()
  mixed, = load(home, eval='test', shuffle_frames=True).evaluation()
  real = plain['mask']
  same = (plain['clip'] == mixed['clip']).all((1, 2, 3, 4))[real]
  assert not same.any()
  ordered = lambda clips: [sorted(f.tobytes() for f in c) for c in clips]
  assert ordered(plain['clip'][real]) == ordered(mixed['clip'][real])


def test_without_the_files_the_error_says_where_to_get_them(tmp_path,
                                                            monkeypatch):
  monkeypatch.setattr(
      'bst_jax.data.builders.motion8.builder.Motion8.DEFAULT_MANUAL_DIR', '')
  with pytest.raises(ValueError, match='apt-get install dataset-fashion-mnist'):
    source.load(dict(name='motion8/tiny', data_dir=str(tmp_path)))
