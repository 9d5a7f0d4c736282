"""Tiny files in the forms of published data sets, made by tests."""
import base64
import fractions
import gzip
import io
import json
import pathlib
import struct
import tempfile

import numpy as np
from PIL import Image


def picture(seed=0, mode='RGB', kind='JPEG', size=(12, 8), **options):
  """Bytes of a picture of noise."""
  noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 4), np.uint8)
  file = io.BytesIO()
  Image.fromarray(noise, 'RGBA').convert('RGB').convert(mode).save(
      file, kind, **options)
  return file.getvalue()


def region_arrays(seed, count, size):
  """(features, boxes, width, height) of a picture of 100 x 50 pixels."""
  rng = np.random.default_rng(seed)
  features = rng.random((count, size), np.float32) + 0.1
  corner, extent = rng.random((2, count, 2), np.float32) / 2
  boxes = np.concatenate([corner, corner + extent], 1) * [100, 50, 100, 50]
  return features, boxes.astype(np.float32), 100, 50


def npz(path, seed=0, count=3, size=16, transposed=False, **changed):
  """Writes an .npz file of features."""
  features, boxes, width, height = region_arrays(seed, count, size)
  arrays = dict(x=features.T if transposed else features, bbox=boxes,
                image_w=width, image_h=height) | changed
  path.parent.mkdir(parents=True, exist_ok=True)
  np.savez(path, **{k: v for k, v in arrays.items() if v is not None})


def tsv_line(picture_id, seed=0, count=3, size=16):
  """A line of bottom-up-attention's features."""
  features, boxes, width, height = region_arrays(seed, count, size)
  encode = lambda a: base64.b64encode(a.astype('<f4').tobytes()).decode()
  return '\t'.join(map(str, (picture_id, width, height, count, encode(boxes),
                             encode(features)))) + '\n'


def question(identity, picture_id, words='is it red?'):
  return {'question_id': identity, 'image_id': picture_id, 'question': words}


def annotation(identity, picture_id, said=('yes',) * 10, **more):
  return {'question_id': identity, 'image_id': picture_id,
          'question_type': 'is it', 'answers': [
              {'answer': a, 'answer_confidence': 'yes', 'answer_id': i + 1}
              for i, a in enumerate(said)], **more}


def write(path, value):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(value), 'utf-8')


def pair(folder, names, questions, annotations, **header):
  """Writes a question and an annotation file in VQA-v2's form."""
  write(folder / names[0], header | {'questions': questions})
  if annotations is not None:
    # The official files have members on both sides of the list.
    write(folder / names[1], {'info': {'version': '2.0'},
                              'annotations': annotations} | header)


def vqa_names(subset):
  return (f'v2_OpenEnded_mscoco_{subset}_questions.json',
          f'v2_mscoco_{subset}_annotations.json')


COLORS = ('red', 'green', 'blue')


def folder(path, train=12, val=4, content='regions', size=16):
  """A folder of a user's own: pictures whose color can be told.

  Two more pictures are in `test`, which nobody annotated.
  """
  first = 0
  for split, count in (('train', train), ('val', val), ('test', 2)):
    ids, first = range(first, first + count), first + count
    questions, annotations = [], []
    for i in ids:
      color = COLORS[i % 3]
      name = f'p{i}'
      for k, (words, answer) in enumerate((
          ('What color is it?', color),
          (f'Is it {COLORS[i % 2]}?', 'yes' if i % 2 == i % 3 else 'no'))):
        questions.append(question(10 * i + k, name, words))
        annotations.append(annotation(10 * i + k, name, [answer] * 10))
      if content == 'regions':
        features = np.zeros((2 + i % 2, size), np.float32)
        features[:, i % 3] = 1
        npz(path / 'features' / f'{name}.npz', seed=i, count=len(features),
            x=features)
      else:
        file = path / 'images' / f'{name}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(i, kind='PNG'))
    pair(path, (f'{split}_questions.json', f'{split}_annotations.json'),
         questions, None if split == 'test' else annotations)


def idx(path, array):
  """Writes uint8 bytes in the form of MNIST's files."""
  path.write_bytes(idx_bytes(array))


def idx_bytes(array):
  """What such a file holds."""
  head = struct.pack(f'>{1 + array.ndim}I', 0x800 + array.ndim, *array.shape)
  return gzip.compress(head + array.astype(np.uint8).tobytes(), 1, mtime=0)


def animals(folder, count, classes):
  """Pictures of noise in folders `animal 0`, …, of train and of val."""
  rng = np.random.default_rng(0)
  for split in ('train', 'val'):
    for i in range(count):
      place = folder / split / f'animal {i % classes}'
      place.mkdir(parents=True, exist_ok=True)
      Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(
          place / f'{i}.png')
  return folder


def fashion_mnist(folder, train=5_040, test=40):
  """Writes Fashion-MNIST's files: a bar whose place is the class, in noise."""
  folder.mkdir(parents=True, exist_ok=True)
  for name, count in (('train', train), ('t10k', test)):
    labels = np.arange(count) % 10
    images = np.random.default_rng(count).integers(0, 60, (count, 28, 28))
    for i, label in enumerate(labels):
      images[i, 2 * label + 2:2 * label + 6, 4:24] = 220
    idx(folder / f'{name}-images-idx3-ubyte.gz', images)
    idx(folder / f'{name}-labels-idx1-ubyte.gz', labels)
  return folder


def numbered_fashion(folder, train=40, test=16):
  """Writes Fashion-MNIST's files: a picture's first pixel is its number, or 100
  more in the test's, and its class the last digit.
  """
  folder.mkdir(parents=True, exist_ok=True)
  for name, count, add in ('train', train, 0), ('t10k', test, 100):
    images = np.random.default_rng(add).integers(0, 256, (count, 28, 28))
    images[:, 0, 0] = add + np.arange(count)
    idx(folder / f'{name}-images-idx3-ubyte.gz', images)
    idx(folder / f'{name}-labels-idx1-ubyte.gz', np.arange(count) % 10)


def video(count=30, size=(32, 48), kind='mp4', codec='libx264', audio=False):
  """Bytes of a video whose frame n is grey, 16 + 6 n, but for a black left half
  of its upper half. Keyframes are 8 frames apart, with frames between that
  need later ones; an mp4 has its table in front.
  """
  import av

  # Only a file of its own can get its table in front.
  folder = tempfile.TemporaryDirectory()
  path = pathlib.Path(folder.name, f'video.{kind}')
  options = {'movflags': 'faststart'} if kind == 'mp4' else {}
  with folder, av.open(str(path), 'w', options=options) as out:
    if audio:
      stream = out.add_stream('aac', rate=8000)
      sound = av.AudioFrame.from_ndarray(
          np.zeros((1, 1024), np.float32), 'fltp', 'mono')
      sound.sample_rate = 8000
      frames = [sound]
    else:
      stream = out.add_stream(codec, rate=25, options={
          'g': '8', 'bf': '2', 'sc_threshold': '0', 'crf': '5'})
      stream.height, stream.width = size
      stream.bit_rate = 4_000_000  # For codecs without crf.
      stream.pix_fmt, stream.time_base = 'yuv420p', fractions.Fraction(1, 25)
      frames = []
      for n in range(count):
        pixels = np.full((*size, 3), 16 + 6 * n, np.uint8)
        pixels[:size[0] // 2, :size[1] // 2] = 0
        frames.append(av.VideoFrame.from_ndarray(pixels, 'rgb24'))
    for frame in [*frames, None]:
      out.mux(stream.encode(frame))
    out.close()
    return path.read_bytes()


def damaged_video(place=0.5, share=0.3, kind='mp4', codec='libx264'):
  """Bytes of a video of noise whose middle is overwritten."""
  import av

  folder, rng = tempfile.TemporaryDirectory(), np.random.default_rng(0)
  path = pathlib.Path(folder.name, f'video.{kind}')
  with folder, av.open(str(path), 'w') as out:
    stream = out.add_stream(codec, rate=25, options={'g': '8', 'crf': '5'})
    stream.height, stream.width = 32, 48
    stream.pix_fmt = 'yuv420p'
    frames = [av.VideoFrame.from_ndarray(
        rng.integers(0, 256, (32, 48, 3), np.uint8), 'rgb24')
              for _ in range(24)]
    for frame in [*frames, None]:
      out.mux(stream.encode(frame))
    out.close()
    data = bytearray(path.read_bytes())
  start, length = (int(x * len(data)) for x in (place - share / 2, share))
  data[start:start + length] = rng.bytes(length)
  return bytes(data)


def frame_numbers(frames):
  """int[...]: which frames of `video` uint8[..., H, W, 3] are."""
  grey = frames[..., -4:, -4:, :].mean((-3, -2, -1))
  return np.round((grey - 16) / 6).astype(int)
