"""Real videos: the frames that are sought are those of decoding all of them.

  python tests/parity/fetch.py && pytest -n 0 tests/parity/test_real_videos.py
"""
import sys
import warnings

from bst_jax.data import video
from bst_jax.data.frame_sampling import Sampling
import fetch
import numpy as np
import pytest

try:
  import av
except ImportError:
  av = None
# Name: frames, height, width.
VIDEOS = {'bikes.mp4': (250, 272, 640), 'bigbuckbunny.mp4': (132, 720, 1280)}
if av is None or not all(map(fetch.is_there, VIDEOS)):
  message = ('NO REAL VIDEO IS DECODED: PyAV, bikes.mp4 or bigbuckbunny.mp4 is '
             'not there; run pip install bst_jax[video] and python '
             'tests/parity/fetch.py')
  warnings.warn(message, stacklevel=1)
  print(message, file=sys.__stderr__)
  pytest.skip(message, allow_module_level=True)


@pytest.mark.parametrize('name', VIDEOS)
@pytest.mark.parametrize('sampling', [
    Sampling(8), Sampling(8, views=3), Sampling(8, 'dense', 16),
    Sampling(4, 'dense', 2, views=3)], ids=str)
def test_sought_frames_are_the_decoded_ones(name, sampling):
  path = fetch.place(name)
  found = video.Video(path.read_bytes(), name)
  assert found.count == VIDEOS[name][0]
  numbers = np.unique(sampling.fixed(found.count)).tolist()
  wanted = set(numbers)
  with av.open(str(path)) as file:
    every = (f.to_ndarray(format='rgb24')
             for i, f in enumerate(file.decode(video=0)) if i in wanted)
    for one, other in zip(found.frames(numbers), every, strict=True):
      assert one.shape == (*VIDEOS[name][1:], 3)
      np.testing.assert_array_equal(one, other)
