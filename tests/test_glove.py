"""GloVe's text form: what is found, what is reported, what is refused."""
import gzip
import zipfile

from bst_jax import convert, elastic
from bst_jax.data import source
from bst_jax.interop import glove
from bst_jax.run import experiment, start
from bst_jax.store import checkpoint
from configs import bst_mcan_vqa
import jax
import made_up
import models
import numpy as np
import pytest

WORDS = ('PAD', 'UNK', 'CLS', 'what', 'is', 'café', 'mauve')
# Cased words, words with spaces and the first of two, as in glove.840B.
TEXT = """\
, 9 9 9
What 8 8 8
what 1 -2 3e-1
. . . 7 7 7
at name@domain.com 7 7 7
unk 4 4 4
PAD 5 5 5
pad 6 6 6
café .5 0 1
what 0 0 0
"""
WANTED = [[5, 5, 5], [4, 4, 4], [0, 0, 0], [1, -2, 0.3], [0, 0, 0], [0.5, 0, 1],
          [0, 0, 0]]


def shapes(size=3):
  table = jax.ShapeDtypeStruct((len(WORDS), size), np.float32)
  return {'words': {'table': table}}


def write(path, text=TEXT, inside='vectors.txt'):
  data = text if isinstance(text, bytes) else text.encode()
  if path.suffix == '.gz':
    path.write_bytes(gzip.compress(data))
  elif path.suffix == '.zip':
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as packed:
      packed.writestr('README', 'about')
      packed.writestr(inside, data)
  else:
    path.write_bytes(data)
  return path


@pytest.mark.parametrize('name', ['a.txt', 'a.txt.gz', 'a.zip'])
def test_words_find_their_vectors(tmp_path, name, caplog):
  path = write(tmp_path / name, TEXT.replace('\n', ' \r\n') + '\n')
  with caplog.at_level('INFO'):
    found = glove.load(path, WORDS, shapes())
  assert found['vectors'].dtype == np.float32
  np.testing.assert_array_equal(found['vectors'], np.float32(WANTED))
  assert 'Of the 7 words of the vocabulary 4 have a vector' in caplog.text
  assert '3 start at zero, as CLS, is, mauve.' in caplog.text


def test_of_several_sizes_in_a_zip_one_is_read(tmp_path):
  path = write(tmp_path / 'glove.6B.zip', inside='glove.6B.3d.txt')
  with zipfile.ZipFile(path, 'a') as packed:
    packed.writestr('glove.6B.13d.txt', 'the ' + '1 ' * 13)
  assert glove.load(path, WORDS, shapes())['vectors'][3, 1] == -2
  with pytest.raises(ValueError, match=r'one with \.4d\. in its name.*13d'):
    glove.load(path, WORDS, shapes(4))


@pytest.mark.parametrize('text, message', [
    ('what 1 2 3 4\n', 'line 1 of .* has 4 numbers .* wants 3. Give vectors of'),
    ('400000 3\nwhat 1 2 3\n', 'line 1 of .* has 1 numbers .* without a head'),
    ('what 1 2 3\nis 1 2\n', 'line 2 of .* has 2 numbers .* is damaged'),
    ('what 1 2 3\nis 1 2 3 4\n', 'line 2 of .* has 4 numbers'),
    ('a 1 2 3\n\nwhat 1 x 3\n', "line 3 of .* has b'x' among them"),
    ('what 1 nan 3\n', 'line 1 of .* not finite'),
    ('<html> no\n', 'line 1 of .* has 0 numbers'),
    ('le 1 2 3\n', 'has a vector of none of the 7 words .*what'),
    ('', 'has a vector of none'),
])
def test_what_is_no_file_of_vectors_is_refused(tmp_path, text, message):
  with pytest.raises(ValueError, match=f'(?s){message}'):
    glove.load(write(tmp_path / 'a.txt', text), WORDS, shapes())


@pytest.mark.parametrize('name', ['a.txt.gz', 'a.zip'])
def test_a_file_cut_short_says_where(tmp_path, name):
  rng = np.random.default_rng(0)
  text = ''.join(f'w{i} {a} {b} {c}\n' for i, (a, b, c) in enumerate(
      rng.random((5000, 3))))
  path = write(tmp_path / name, text)
  data = bytearray(path.read_bytes())
  if name == 'a.zip':  # Its index is at its end: damaged in the middle.
    data[len(data) // 2:len(data) // 2 + 50] = bytes(50)
  else:
    del data[len(data) // 2:]
  path.write_bytes(data)
  with pytest.raises(ValueError, match=r'line \d*,?\d{3} .*[Ff]etch it again'):
    glove.load(path, ('w1',), shapes())
  path.write_bytes(b'no such thing')
  with pytest.raises(ValueError, match='beyond line 0 '):
    glove.load(path, WORDS, shapes())


def test_no_file_and_no_table_are_named(tmp_path):
  with pytest.raises(ValueError, match='there is no file .*a.txt'):
    glove.load(tmp_path / 'a.txt', WORDS, shapes())
  with pytest.raises(ValueError, match='GloVe is for MCAN'):
    glove.load(write(tmp_path / 'a.txt'), WORDS, {'text': {'kernel': WORDS}})


def config_of(tmp_path):
  """A folder's words in a small MCAN with vectors of three numbers."""
  made_up.folder(tmp_path / 'mine')
  config = bst_mcan_vqa.get_config()
  config.model = bst_mcan_vqa.get_config('tiny').model
  config.model.update(num_layers=1, word=3)
  config.space = dict(widths=('1',), depths=('1',))
  config.data.update(
      name='folder/regions', manual_dir=str(tmp_path / 'mine'),
      data_dir=str(tmp_path / 'home'), train='train', eval='val', batch=4,
      answers_from='', min_answers=1)
  return config


def test_the_workdir_starts_a_training(tmp_path):
  config = config_of(tmp_path)
  path = write(tmp_path / 'a.txt', 'red 1 2 3\ncolor 4 5 6\n')
  # Words and sizes are the data's, as in training, not config's.
  data = source.load(config.data)
  exp = experiment.build(config, data.sizes)
  begin = models.random_params(exp.shapes)
  checkpoint.save_params(tmp_path / 'begin', begin)
  config.init_from = str(tmp_path / 'begin')
  convert.read(config, 'glove', path, tmp_path / 'start')

  begun = start.Start(tmp_path / 'start')
  start.check(begun, exp, data, False)
  params = elastic.flatten(checkpoint.load_params(
      tmp_path / 'start', exp.shapes))
  table = dict(zip(data.vocab.words, params['words/table']))
  assert list(table['red']) == [1, 2, 3] and list(table['color']) == [4, 5, 6]
  assert not table['is'].any() and len(table) == data.sizes['vocab_size']
  for name, value in elastic.flatten(begin).items():
    if name != 'words/table':
      np.testing.assert_array_equal(params[name], value, err_msg=name)

  # A folder of vocabularies takes the place of the data.
  config.data.manual_dir = config.data.data_dir = str(tmp_path / 'nowhere')
  config.data.sizes.update(num_regions=3)
  config.model.feature_size = 16
  vocab = tmp_path / 'start' / 'vocab'
  convert.read(config, 'glove', path, tmp_path / 'again', str(vocab))
  again = checkpoint.load_params(tmp_path / 'again')['words']['table']
  np.testing.assert_array_equal(again, params['words/table'])
  with pytest.raises(ValueError, match='were to be read, but .*words.json'):
    convert.read(config, 'glove', path, tmp_path / 'third', str(tmp_path))

  with pytest.raises(ValueError, match='converted from a part of a model'):
    start.check(begun, exp, data, True)
  (tmp_path / 'start' / 'part.json').unlink()
  start.check(begun, exp, data, True)
  with pytest.raises(ValueError, match='has no words.json. Convert it with'):
    start.check(start.Start(tmp_path / 'begin'), exp, data, True)
  data.answers = data.answers[::-1]
  with pytest.raises(ValueError, match=r'its answers \(.*in another order'):
    start.check(begun, exp, data, False)
  data.vocab.words = data.vocab.words[::-1]
  with pytest.raises(ValueError, match=r'its words \(.*in another order'):
    start.check(begun, exp, data, False)
