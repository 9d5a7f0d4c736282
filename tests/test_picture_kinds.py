"""Pixels of picture files of every kind: those that they were made of."""
import io
import struct
import zlib

from bst_jax.data import image, picture_file, single, source
import made_up
import numpy as np
from PIL import Image, ImageCms
import pytest

RAMP = (np.arange(4096).reshape(16, 256) % 256 * 257).astype(np.uint16)
COLORS = np.random.default_rng(0).integers(0, 1 << 16, (5, 7, 4), np.uint16)
NOISE = (COLORS[..., :3] >> 8).astype(np.uint8)


def file_of(picture, kind, **options):
  file = io.BytesIO()
  picture.save(file, kind, **options)
  return file.getvalue()


def png16(pixels):
  """Bytes of a PNG of uint16[h, w, c]."""
  chunk = lambda name, data: (struct.pack('>I', len(data)) + name + data
                              + struct.pack('>I', zlib.crc32(name + data)))
  height, width, channels = pixels.shape
  rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in pixels)
  head = struct.pack('>2I5B', width, height, 16, (None, 0, 4, 2, 6)[channels],
                     0, 0, 0)
  return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head)
          + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


def tiff(data, size, bits, channels=1, photometric=1, form=1, order='<'):
  """Bytes of an uncompressed TIFF of one strip."""
  tags = [(256, size[0]), (257, size[1]), (258, bits), (259, 1),
          (262, photometric), (273, 0), (277, channels), (278, size[1]),
          (279, len(data)), (339, form)]
  start = 10 + 12 * len(tags) + 4
  lists, body = b'', b''
  for tag, value in tags:
    if tag in (258, 339) and channels > 1:
      body += struct.pack(f'{order}HHII', tag, 3, channels, start + len(lists))
      lists += struct.pack(f'{order}{channels}H', *[value] * channels)
    else:
      value = start + 2 * 2 * channels if tag == 273 else value
      body += struct.pack(f'{order}HHII', tag, 4, 1, value)
  lists = lists.ljust(2 * 2 * channels, b'\0')
  return ((b'II*\0' if order == '<' else b'MM\0*')
          + struct.pack(f'{order}IH', 8, len(tags)) + body + bytes(4) + lists
          + data)


SIZE = RAMP.shape[::-1]
INDEX = (np.arange(35).reshape(5, 7) % 9).astype(np.uint8)
PALETTE = np.random.default_rng(1).integers(0, 256, (9, 3), np.uint8)


def of_palette(**options):
  picture = Image.fromarray(INDEX, 'P')
  picture.putpalette(PALETTE.tobytes())
  return file_of(picture, **options)


GREY = np.repeat((RAMP >> 8).astype(np.uint8)[..., None], 3, -1)


@pytest.mark.parametrize('data, wanted', [
    (file_of(Image.fromarray(RAMP), 'PNG'), GREY),
    (png16(RAMP[..., None]), GREY),
    (png16(np.stack([RAMP, RAMP // 3], -1)), GREY),  # With transparency.
    (png16(COLORS[..., :3]), NOISE), (png16(COLORS), NOISE),
    (file_of(Image.fromarray(RAMP), 'TIFF'), GREY),
    (tiff(RAMP.astype('<u2').tobytes(), SIZE, 16), GREY),
    (tiff(RAMP.astype('>u2').tobytes(), SIZE, 16, order='>'), GREY),
    (tiff(RAMP.astype('<u2').tobytes(), SIZE, 16, photometric=0), 255 - GREY),
    (tiff(GREY[..., 0].tobytes(), SIZE, 8, photometric=0), 255 - GREY),
    (tiff(COLORS[..., :3].astype('<u2').tobytes(), (7, 5), 16, 3, 2), NOISE),
    (file_of(Image.fromarray(NOISE), 'TIFF', compression='tiff_lzw'), NOISE),
    (file_of(Image.fromarray(NOISE), 'BMP'), NOISE),
    (file_of(Image.fromarray(NOISE), 'WEBP', lossless=True), NOISE),
    # What is transparent shows the colours under it, not a background.
    (file_of(Image.fromarray((COLORS >> 8).astype(np.uint8), 'RGBA'), 'PNG'),
     NOISE),
    (file_of(Image.fromarray(np.stack([NOISE[..., 0]] * 2, -1), 'LA'), 'PNG'),
     NOISE[..., :1].repeat(3, -1)),
    (of_palette(kind='PNG'), PALETTE[INDEX]),
    (of_palette(kind='PNG', transparency=bytes(9)), PALETTE[INDEX]),
    (of_palette(kind='GIF', optimize=False), PALETTE[INDEX]),
    (of_palette(kind='GIF', transparency=3, optimize=False), PALETTE[INDEX]),
    (of_palette(kind='BMP'), PALETTE[INDEX]),
    (file_of(Image.fromarray(INDEX % 2 == 0), 'PNG'),
     np.repeat(255 * (INDEX % 2 == 0)[..., None], 3, -1)),
])
@pytest.mark.filterwarnings('error')
def test_pixels_are_those_of_the_file(data, wanted):
  decoded = image.decode(data)
  assert decoded.dtype == np.uint8
  np.testing.assert_array_equal(decoded, wanted)


def test_twelve_bits_of_a_tiff_are_its_whole_range():
  twelve = np.array([[0, 0xfff, 0x800, 0x10]], np.uint16)
  packed = b'\x00\x0f\xff\x80\x00\x10'
  data = tiff(packed, (4, 1), 12)
  np.testing.assert_array_equal(image.decode(data)[..., 0], twelve >> 4)


def ycck(color):
  """A JPEG of one colour in YCCK: CMYK whose marker says so."""
  c, m, y = (255 - np.array(color)).tolist()
  stored = Image.new('RGB', (1, 1), (c, m, y)).convert('YCbCr').getpixel((0, 0))
  data = file_of(Image.new('CMYK', (16, 16), (
      *(255 - v for v in stored), 0)), 'JPEG', quality=98)
  place = data.index(b'Adobe') + 11
  return data[:place] + b'\2' + data[place + 1:]


@pytest.mark.parametrize('data', [
    file_of(Image.new('RGB', (16, 16), (200, 60, 20)).convert('CMYK'), 'JPEG',
            quality=98),
    file_of(Image.new('RGB', (16, 16), (200, 60, 20)).convert('CMYK'), 'TIFF'),
    ycck((200, 60, 20)),
    file_of(Image.new('RGB', (16, 16), (200, 60, 20)), 'JPEG', quality=98),
    file_of(Image.new('RGB', (16, 16), (200, 60, 20)), 'JPEG', quality=98,
            progressive=True),
    file_of(Image.new('RGB', (16, 16), (200, 60, 20)), 'WEBP', quality=98),
    # Profiles of colours are not applied.
    file_of(Image.new('RGB', (16, 16), (200, 60, 20)), 'PNG', icc_profile=(
        ImageCms.ImageCmsProfile(ImageCms.createProfile('XYZ')).tobytes())),
])
def test_colours_are_those_that_were_saved(data):
  found = image.decode(data).astype(int)
  assert np.abs(found - (200, 60, 20)).max() <= 3


def test_a_progressive_photograph_is_the_same():
  smooth = Image.fromarray(NOISE).resize((64, 48))
  np.testing.assert_array_equal(
      image.decode(file_of(smooth, 'JPEG', progressive=True)),
      image.decode(file_of(smooth, 'JPEG')))


@pytest.mark.parametrize('data, message', [
    (b'', r'it is empty'),
    (b'<!DOCTYPE html><html>gone', 'a page of HTML'),
    (b'<html>', 'a page of HTML'), (b'<?xml version="1.0"?><svg/>', 'SVG'),
    (b'404: Not Found', "text that begins with '404: Not Found'"),
    (b'version https://git-lfs.github.com/spec/v1', 'a pointer of Git LFS'),
    (b'\0\0\0\x18ftypheic', 'it is HEIC'),
    (b'\0\0\0\x18ftypavif', 'it is AVIF'),
    (b'\0\0\0\x18ftypisom', 'it is a video'), (b'%PDF-1.4', 'it is PDF'),
    (bytes(200), 'nothing tells its kind'),
    (file_of(Image.fromarray(RAMP), 'TIFF')[:300], 'not a whole'),
    (file_of(Image.fromarray(NOISE), 'WEBP')[:40], 'not a whole'),
    (file_of(Image.fromarray(NOISE), 'BMP')[:-20], 'not a whole'),
    (tiff(RAMP.astype('<f4').tobytes(), SIZE, 32, form=3), 'floats.*8 or 16'),
    (tiff(RAMP.astype('<i4').tobytes(), SIZE, 32, form=2), 'nothing tells'),
    (tiff(RAMP.astype('<i2').tobytes(), SIZE, 16, form=2), 'nothing tells'),
])
def test_what_is_no_picture_is_told_by_name(tmp_path, data, message):
  path = tmp_path / 'cat.jpg'
  path.write_bytes(data)
  with pytest.raises(ValueError, match=f'cat.jpg.*{message}'):
    single.batch(dict(name='fashion_mnist'), {'image_size': 8}, None, path)


def test_larger_pictures_than_pillow_takes_are_told(monkeypatch):
  data = file_of(Image.fromarray(RAMP), 'PNG')
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
  with pytest.raises(ValueError, match='x of .* has more pixels than the 100'):
    image.decode(data, name='x')


def test_one_reader_for_folders_and_predictions(tmp_path):
  """The kind is told by what files hold; all ways give the same pixels."""
  folder = tmp_path / 'mine'
  kinds = ('PNG', 'WEBP', 'TIFF', 'BMP')
  pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
  made_up.folder(folder, train=3, val=1, content='images')
  for path in (folder / 'images').iterdir():
    number = int(path.stem[1:]) % 4
    path.unlink()
    path = path.with_suffix(('.jpg', '.JFIF', '.webp', '.TIF')[number])
    path.write_bytes(file_of(
        Image.fromarray(pixels[number]), kinds[number], lossless=True))
  config = dict(name='folder/images', manual_dir=str(folder), inputs=('image',),
                image_size=16, batch=4, data_dir=str(tmp_path / 'home'),
                min_answers=1, eval='val')
  data = source.load(config)
  shown = {picture.tobytes() for picture in next(data.train())['image']}
  alone = {single.batch(config, data.sizes, data.vocab, path, 'is it')[
      'image'].tobytes() for path in (folder / 'images').iterdir()}
  assert shown <= alone == {picture.tobytes() for picture in pixels}


def test_kinds_are_told_by_what_files_hold():
  for kind in ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP', 'TIFF'):
    data = made_up.picture(kind=kind)
    assert picture_file.kind(data) == kind and picture_file.is_read(data)
  assert picture_file.kind(b'BMW') == '' and not picture_file.is_read(b'')
