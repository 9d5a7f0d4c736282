"""Videos: which frames are taken, that they are the right ones, and clips."""
import io
import struct
import sys
import warnings

from bst_jax import export, tasks
from bst_jax.data import augment, clips, single, video
from bst_jax.data.forms.labels import Videos
from bst_jax.data.frame_sampling import Sampling
import jax
import made_up
import numpy as np
from PIL import Image
import pytest

try:
  import av
except ImportError:
  av = None
  warnings.warn('NO VIDEO IS DECODED: PyAV is not installed; '
                'pip install bst_jax[video]', stacklevel=1)
needs_av = pytest.mark.skipif(av is None, reason='PyAV is not installed')


# Which frames.


@pytest.mark.parametrize('options, count, wanted', [
    (dict(frames=4), 16, [[2, 6, 10, 14]]),
    (dict(frames=4), 4, [[0, 1, 2, 3]]),
    (dict(frames=4, views=2), 16, [[1, 5, 9, 13], [3, 7, 11, 15]]),
    (dict(frames=3, way='dense', stride=2), 9, [[2, 4, 6]]),
    (dict(frames=3, way='dense', stride=2, views=3), 9,
     [[0, 2, 4], [2, 4, 6], [4, 6, 8]]),
    (dict(frames=4, short='repeat'), 2, [[0, 1, 1, 1]]),
    (dict(frames=3, way='dense', stride=4, short='repeat', views=2), 6,
     [[0, 4, 5], [0, 4, 5]]),
])
def test_frames_of_evaluation(options, count, wanted):
  assert Sampling(**options).fixed(count).tolist() == wanted


def test_frames_of_training_are_random_in_their_bounds():
  rng = np.random.default_rng(0)
  uniform = np.array([Sampling(4).drawn(16, rng) for _ in range(200)])
  assert all(set(column) == set(range(4 * i, 4 * i + 4))
             for i, column in enumerate(uniform.T))
  dense = np.array([
      Sampling(3, 'dense', 2).drawn(9, rng) for _ in range(100)])
  assert {tuple(x) for x in dense} == {
      (i, i + 2, i + 4) for i in range(5)}


def test_too_few_frames():
  with pytest.raises(ValueError, match=r'cat\.mp4 has 8 frames, but 9 were '
                     r'asked for: .*frames is 3 and .*stride 4.*repeat'):
    Sampling(3, 'dense', 4).fixed(8, 'cat.mp4')
  for bad, message in ((dict(stride=2), 'uniform sampling goes over'),
                       (dict(frames=0), 'frames is 0'),
                       (dict(sampling='odd'), 'dense')):
    with pytest.raises(ValueError, match=message):
      Sampling.of(Videos(**bad))


# Decoding.


@needs_av
@pytest.mark.parametrize('kind, codec', [
    ('mp4', 'libx264'), ('mkv', 'libx264'), ('avi', 'mpeg4')])
def test_the_frames_asked_for_are_decoded(kind, codec, monkeypatch):
  data = made_up.video(kind=kind, codec=codec)
  with av.open(io.BytesIO(data)) as file:
    every = [f.to_ndarray(format='rgb24') for f in file.decode(video=0)]
  found = video.Video(data, 'x')
  assert found.count == 30
  if codec == 'libx264':  # These tell times: no frame is looked for in vain.
    monkeypatch.setattr(video.Video, '_all', None)
  for numbers in [0], [29], [3, 4, 17], [7, 8, 9, 22, 23, 24], range(30):
    frames = list(found.frames(numbers))
    np.testing.assert_array_equal(frames, [every[n] for n in numbers])
    assert made_up.frame_numbers(np.stack(frames)).tolist() == list(numbers)


@needs_av
def test_frames_come_upright():
  data = made_up.video(count=2)
  place = data.index(b'tkhd') + 4 + 40
  turned = struct.pack('>9i', 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
  upright, = video.Video(data, 'x').frames([1])
  held, = video.Video(
      data[:place] + turned + data[place + 36:], 'x').frames([1])
  # The matrix says: show it turned clockwise by a quarter.
  np.testing.assert_array_equal(held, np.rot90(upright, -1))


@needs_av
@pytest.mark.parametrize('make, message', [
    (lambda: b'', 'it is empty'),
    (lambda: b'no video at all' * 20, 'it is no whole video file'),
    (lambda: made_up.video(audio=True), 'no video stream, only audio'),
    (lambda: made_up.video()[:-1500],
     '(damaged or cut short|no whole video)'),
    (lambda: made_up.video()[:400], '(nothing tells its codec|no whole video)'),
])
def test_bad_videos(make, message):
  with pytest.raises(ValueError, match=rf'cat\.mp4.*{message}'):
    video.check(make(), 'cat.mp4')


@needs_av
@pytest.mark.parametrize('kind, place, share', [
    ('mp4', 0.5, 0.3), ('mp4', 0.4, 0.1), ('mp4', 0.6, 0.05), ('mkv', 0.5, 0.3),
    ('mkv', 0.5, 0.1), ('avi', 0.5, 0.3)])
def test_videos_damaged_in_their_middle_are_found(kind, place, share):
  codec = 'mpeg4' if kind == 'avi' else 'libx264'
  good = made_up.damaged_video(share=0, kind=kind, codec=codec)
  assert video.check(good, 'cat') == 24 == video.check(good, 'cat', 'ends')
  data = made_up.damaged_video(place, share, kind, codec)
  if kind == 'mp4':
    assert video.check(data, 'cat', 'ends') == 24
  with pytest.raises(ValueError, match='cat.*(damaged or cut|no whole video)'):
    video.check(data, 'cat')
  with pytest.raises(ValueError, match="check_videos.*'all' and 'ends'|'ends'"):
    video.check(data, 'cat', 'end')


@needs_av
def test_too_large_a_video_is_refused_before_it_is_decoded(monkeypatch):
  monkeypatch.setattr('bst_jax.data.image.MAX_PIXELS', 1000)
  with pytest.raises(ValueError, match='32 pixels are more than the 1,000'):
    video.Video(made_up.video(count=1), 'x')


def test_without_pyav_the_error_says_how_to_install_it(monkeypatch):
  monkeypatch.setitem(sys.modules, 'av', None)
  with pytest.raises(ValueError, match=r'pip install bst_jax\[video\]'):
    video.Video(b'x', 'x')


# Clips.


class Strips(list):
  """Records of strips uint8[T, h, w, 3]."""

  name = 'strips'

  def __init__(self, *videos):
    files = []
    for frames in videos:
      files.append(io.BytesIO())
      Image.fromarray(frames.reshape(-1, *frames.shape[2:])).save(
          files[-1], 'png')
    super().__init__({'strip': file.getvalue()} for file in files)

  def column(self, name):
    return {'label': np.arange(len(self))}[name]


def noise(*shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_three_crops_of_each_view_stand_together():
  whole = noise(4, 8, 24, 3)
  made = clips.Clips(Strips(whole), Videos(frames=2, views=2, crops=3),
                     (8, 8), strip=4)
  assert made.rows == 6 and made.row == (2, 8, 8, 3)
  found = made.plain(np.array([0, 0]))
  assert found.shape == (12, 2, 8, 8, 3)
  wanted = [whole[times, :, x:x + 8] for times in ([0, 2], [1, 3])
            for x in (0, 8, 16)]
  np.testing.assert_array_equal(found, wanted * 2)
  once = made.once().plain(np.array([0]))
  assert once.shape == (1, 2, 8, 8, 3) and made.rows == 6


def test_all_frames_of_a_training_clip_change_in_the_same_way():
  still = np.repeat(noise(1, 12, 12, 3), 4, 0)
  made = clips.Clips(Strips(still), Videos(frames=4), (8, 8), strip=4)
  recipe = augment.Recipe(crop=(0.3, 0.9), flip=0.5, rand_augment=9, erase=0.5)
  found = made.drawn(np.zeros(8, int), recipe, [(0, i) for i in range(8)])
  assert (found == found[:, :1]).all()
  assert len({clip.tobytes() for clip in found}) == 8


def test_frames_of_training_clips_are_drawn_for_each():
  whole = noise(16, 4, 4, 3)
  made = clips.Clips(Strips(whole), Videos(frames=2), (4, 4), strip=16)
  found = made.drawn(np.zeros(20, int), augment.Recipe(),
                     [(0, i) for i in range(20)])
  times = [[int(np.flatnonzero((whole == frame).all((1, 2, 3)))[0])
            for frame in clip] for clip in found]
  assert all(a < 8 <= b for a, b in times)
  assert len({tuple(t) for t in times}) > 10


def test_shuffled_frames_are_the_same_ones_in_another_order():
  options = Videos(frames=6, shuffle_frames=True)
  whole = noise(2, 6, 8, 8, 3)
  made = clips.Clips(Strips(*whole), options, (8, 8), strip=6)
  found = made.plain(np.array([0, 1]))
  np.testing.assert_array_equal(found, made.plain(np.array([0, 1])))
  orders = [[int(np.flatnonzero((clip == frame).all((1, 2, 3)))[0])
             for frame in got] for clip, got in zip(whole, found)]
  assert all(sorted(o) == list(range(6)) != o for o in orders)
  assert orders[0] != orders[1]
  drawn = made.drawn(np.array([0]), augment.Recipe(), [(0, 0)])
  np.testing.assert_array_equal(drawn[0], whole[0])


@pytest.mark.parametrize('options, message', [
    (dict(crops=2), 'crops is 2; it is 1 or 3'),
    (dict(crops=3, image_fit='black'), "crops=1, or image_fit='crop'"),
    (dict(frames=5), '5 frames of each video.*1 of 1 have fewer, as number 0 '
     'with 4'),
])
def test_impossible_clips(options, message):
  with pytest.raises(ValueError, match=message):
    clips.Clips(Strips(noise(4, 8, 8, 3)), Videos(**dict(frames=2) | options),
                (8, 8), strip=4)


def test_views_of_an_example_are_averaged():
  rng = np.random.default_rng(0)
  logits = 3 * rng.normal(size=(3 * 2, 7)).astype(np.float32)
  batch = {'label': np.array([1, 6, 0]), 'mask': np.array([True, True, False])}
  task = tasks.create(dict(name='classify'))
  metrics = jax.jit(lambda logits, batch: (
      task.measure.read({'classes': logits}, batch),
      tasks.summed(task, {'classes': logits}, batch)))
  found, (loss, count) = metrics(logits, batch)
  each = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  mean = each.reshape(3, 2, 7).mean(1)[:2]
  right = np.array([1, 6])
  assert found['earned'][:2].tolist() == (mean.argmax(-1) == right).tolist()
  np.testing.assert_allclose(
      loss, -np.log(mean[range(2), right]).sum(), rtol=1e-5)
  assert float(count) == 2
  with pytest.raises(ValueError, match='6 rows .* views of 4 examples'):
    metrics(logits, {'label': np.zeros(4, int), 'mask': np.ones(4, bool)})


def test_exported_files_are_scored_on_all_views():
  batch = {'clip': np.arange(6), 'mask': np.ones(2, bool)}
  np.testing.assert_array_equal(
      export._flat(batch, ['clip'])['clip'], batch['clip'])


@needs_av
def test_a_video_file_becomes_a_batch(tmp_path):
  path = tmp_path / 'cat.mp4'
  path.write_bytes(made_up.video(count=12))
  config = dict(name='motion8', frames=4, views=2, crops=3, stride=2,
                sampling='dense', image_fit='crop', batch=8)
  batch = single.batch(config, {'clip_size': [4, 16, 16]}, None, path)
  assert batch['clip'].shape == (1, 4, 16, 16, 3)
  assert made_up.frame_numbers(batch['clip']).tolist() == [[2, 4, 6, 8]]
  with pytest.raises(ValueError, match='no video .*dog.mp4'):
    single.batch(config, {'clip_size': [4, 16, 16]}, None,
                 tmp_path / 'dog.mp4')
  with pytest.raises(ValueError, match=r'32 frames of each video.*cat\.mp4'):
    single.batch(config | dict(sampling='uniform', stride=1),
                 {'clip_size': [32, 16, 16]}, None, path)
