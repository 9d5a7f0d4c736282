"""BERT's word pieces: order, cutting, unknown words, capitals, round trip."""
from bst_jax.data import text
from bst_jax.data import words as words_lib
from bst_jax.data.word_pieces import WordPieces
import pytest

PIECES = ['[PAD]', '[unused0]', '[UNK]', '[CLS]', '[SEP]', 'what', 'play',
          '##ing', '?', 'is', 'he', '##s']
WORDS = WordPieces(PIECES)


def ids(*pieces):
  return [PIECES.index(p) for p in pieces]


def test_pieces_between_cls_and_sep():
  assert WORDS.encode('What is he playing?', 9).tolist() == ids(
      '[CLS]', 'what', 'is', 'he', 'play', '##ing', '?', '[SEP]', '[PAD]')
  assert WORDS.count('What is he playing?') == 8
  assert WORDS.unknown('What is he playing?') == []


def test_a_long_question_is_cut_before_sep():
  assert WORDS.encode('what is he playing?', 5).tolist() == ids(
      '[CLS]', 'what', 'is', 'he', '[SEP]')


def test_unknown_words_are_named():
  assert WORDS.encode('is zebra he', 5).tolist() == ids(
      '[CLS]', 'is', '[UNK]', 'he', '[SEP]')
  assert WORDS.unknown('is Zebra he') == ['Zebra']


def test_capitals_stay_where_the_vocabulary_has_some():
  cased = WordPieces([*PIECES, 'What'])
  assert cased.encode('What', 3)[1] == len(PIECES)
  assert WORDS.encode('What', 3)[1] == PIECES.index('what')


def test_either_vocabulary_comes_back(tmp_path):
  plain = text.Vocabulary(['what', 'is'])
  for i, words in enumerate((WORDS, plain)):
    words.save(tmp_path / f'{i}.json')
    assert words_lib.load(tmp_path / f'{i}.json') == words
  assert plain.unknown('what was it?') == ['was', 'it']
  assert plain.count('what was it?') == 3


def test_a_vocabulary_file_and_what_is_none(tmp_path):
  path = tmp_path / 'vocab.txt'
  path.write_text('\n'.join(PIECES) + '\n')
  assert WordPieces.read(path) == WORDS
  # Unicode's own line ends are pieces; Windows' are line ends.
  path.write_bytes('\r\n'.join([*PIECES, '\u2028', '\x85']).encode())
  assert WordPieces.read(path).words == (*PIECES, '\u2028', '\x85')
  with pytest.raises(ValueError, match='no such file'):
    WordPieces.read(tmp_path / 'nowhere.txt')
  with pytest.raises(ValueError, match=r'lack \[SEP\]'):
    WordPieces([p for p in PIECES if p != '[SEP]'])
  path.write_bytes(b'\xff\xfe\x00')
  with pytest.raises(ValueError, match='no text file'):
    WordPieces.read(path)


def test_a_file_whose_lines_do_not_count(tmp_path):
  """Every number behind a line too few or too many would be another's."""
  path = tmp_path / 'vocab.txt'
  path.write_bytes('\r\n'.join([*PIECES, '', '']).encode())
  assert WordPieces.read(path) == WORDS
  path.write_text('\n'.join([*PIECES[:6], '', *PIECES[6:]]))
  with pytest.raises(ValueError, match='has nothing in line 7'):
    WordPieces.read(path)
  path.write_text('\n'.join([*PIECES, '[SEP]']))
  with pytest.raises(ValueError, match=r'has \[SEP\] more than once'):
    WordPieces.read(path)
