"""Picture files that users bring, how they are found, and bad ones."""
import io

from bst_jax.data import image
from bst_jax.data.builders import found, pictures
from bst_jax.data.builders.problems import Problems
import made_up
import numpy as np
from PIL import ExifTags, Image, ImageOps
import pytest


@pytest.mark.parametrize('mode', ['RGB', 'L', 'P', '1', 'CMYK', 'RGBA', 'LA'])
def test_pictures_of_every_kind_become_rgb(mode):
  kind = 'JPEG' if mode == 'CMYK' else 'PNG'
  data = made_up.picture(mode=mode, kind=kind)
  assert pictures.checked(data, 'x') == data
  assert image.decode(data).shape == (8, 12, 3)


@pytest.mark.parametrize('held', [*range(10), 300])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_photographs_come_upright(held, kind):
  exif = Image.Exif()
  exif[ExifTags.Base.Orientation] = held
  data = pictures.checked(made_up.picture(kind=kind, exif=exif), 'x')
  upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
  upright.load()  # That turns a TIFF.
  assert upright.size == ((8, 12) if 5 <= held <= 8 else (12, 8))
  np.testing.assert_array_equal(image.decode(data), np.asarray(upright))


@pytest.mark.parametrize('exif', [
    b'Exif\0\0', b'Exif\0\0II*\0', b'Exif\0\0MM\0*\xff\xff\xff\xff',
    b'Exif\0\0no TIFF at all'])
def test_damaged_exif_leaves_the_picture_as_it_is(exif):
  data = made_up.picture(exif=exif)
  np.testing.assert_array_equal(
      image.decode(pictures.checked(data, 'x')),
      image.decode(made_up.picture()))


def test_a_preview_behind_a_photograph_is_no_animation():
  file = io.BytesIO()
  frames = [Image.new('RGB', (4, 4), c) for c in ('red', 'blue')]
  frames[0].save(file, 'MPO', save_all=True, append_images=frames[1:])
  assert Image.open(io.BytesIO(file.getvalue())).n_frames == 2
  data = pictures.checked(file.getvalue(), 'x.jpg')
  assert image.decode(data)[0, 0].argmax() == 0  # The red one.


def animated(kind='PNG'):
  file = io.BytesIO()
  frames = [Image.new('RGB', (4, 4), c) for c in ('red', 'blue')]
  frames[0].save(file, kind, save_all=True, append_images=frames[1:])
  return file.getvalue()


@pytest.mark.parametrize('data, message', [
    (b'', 'not a whole PNG or JPEG'),
    (made_up.picture(size=(80, 80))[:-900], 'not a whole PNG or JPEG'),
    (made_up.picture(kind='PNG', size=(80, 80))[:-900],
     'not a whole PNG or JPEG'),
    (made_up.picture(kind='GIF', size=(80, 80))[:-900],
     'not a whole PNG or JPEG'),
    (animated(), 'it is animated'),
    (animated('GIF'), 'it is animated'),
    (animated('WEBP'), 'it is animated'),
    (animated('TIFF'), 'it has 2 pages'),
])
def test_bad_pictures_are_listed(tmp_path, data, message):
  (tmp_path / '1.png').write_bytes(data)
  (tmp_path / '2.png').write_bytes(made_up.picture(kind='PNG'))
  files = found.Found([tmp_path], pictures.SUFFIXES)
  problems = Problems(2)
  got = dict(pictures.read(files, ['1', '2', '3'], problems))
  assert list(got) == ['2']
  report = problems.report()
  assert report['missing picture']['first'] == ['picture 3']
  assert message in report['unreadable picture']['first'][0]
  assert '1.png' in report['unreadable picture']['first'][0]
  with pytest.raises(ValueError, match=message):
    list(pictures.read(files, ['1'], Problems()))


def test_a_decompression_bomb_is_refused_before_it_goes_off():
  small = io.BytesIO()
  Image.new('1', (12000, 12000)).save(small, 'PNG')
  assert len(small.getvalue()) < 40_000
  with pytest.raises(ValueError, match='12,000 x 12,000 pixels'):
    pictures.checked(small.getvalue(), 'bomb.png')


def test_files_are_found_by_name_or_number(tmp_path):
  for name in ('a/COCO_val2014_000000000042.jpg.npz', 'b/n161313.npz',
               'cat.npz', 'x_7.npz', 'y_7.npz', 'no.txt'):
    made_up.npz(tmp_path / name) if name.endswith('npz') else (
        tmp_path / name).write_text('')
  files = found.Found([tmp_path], ('.npz',))
  assert files('42').endswith('0042.jpg.npz')
  assert files('COCO_val2014_000000000042') == files('42')
  assert files('n161313') and files('cat') and files('x_7')
  assert files('cats/cat.jpg') == files('cat')
  assert files('no') is files('4') is files('161313') is None
  with pytest.raises(ValueError, match='2 could be meant'):
    files('7')
  before = found.fingerprint(tmp_path)
  (tmp_path / 'no.txt').write_text('more')
  assert found.fingerprint(tmp_path) != before
