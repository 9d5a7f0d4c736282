"""RoBERTa's byte pairs: order, cutting, spaces, files, round trip."""
import json

from bst_jax.data import text
from bst_jax.data import words as words_lib
from bst_jax.data.byte_pairs import BytePairs
from bst_jax.data.word_pieces import WordPieces
import pytest
import tokenizers

TEXTS = ['What is he playing?', 'Is the man playing a game of tennis?',
         'how many\tpeople are there, in the café?']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Files as those of a checkpoint, learnt from a few texts."""
  folder = tmp_path_factory.mktemp('roberta')
  learnt = tokenizers.ByteLevelBPETokenizer()
  learnt.train_from_iterator(TEXTS * 20, vocab_size=330, min_frequency=2,
                             special_tokens=['<s>', '<pad>', '</s>', '<unk>',
                                             '<mask>'])
  learnt.save_model(str(folder))
  return folder


def test_pieces_between_first_and_last_then_padding(folder):
  words = words_lib.read(folder / 'vocab.json')
  assert isinstance(words, BytePairs) and (words.pad, words.unk) == (1, 3)
  ids = words.encode(TEXTS[0], 20)
  count = words.count(TEXTS[0])
  assert ids[0] == 0 and ids[count - 1] == 2 and (ids[count:] == 1).all()
  assert words.decode(ids[1:count - 1]) == TEXTS[0]
  # As transformers numbers them: capitals and the space before count.
  assert words.pieces('is') != words.pieces('Is') != words.pieces(' is')
  assert words.unknown('✈ zebra') == []  # Bytes know everything.


def test_a_long_text_is_cut_before_the_last_token(folder):
  words = words_lib.read(folder / 'vocab.json')
  whole, cut = words.encode(TEXTS[2], 40), words.encode(TEXTS[2], 5)
  assert cut.tolist() == [*whole[:4], 2]
  ids, counts, unknown = words.encode_all(TEXTS, 5)
  assert (ids[2] == cut).all() and (counts > 5).all() and not unknown.any()


def test_every_vocabulary_comes_back(folder, tmp_path):
  words = words_lib.read(folder / 'vocab.json')
  pieces = WordPieces(['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'what'])
  for i, one in enumerate((words, pieces, text.Vocabulary(['what', 'is']))):
    one.save(tmp_path / f'{i}.json')
    again = words_lib.load(tmp_path / f'{i}.json')
    assert again == one
    assert (again.encode('what is', 6) == one.encode('what is', 6)).all()


def test_what_is_no_vocabulary_is_refused(folder, tmp_path):
  (tmp_path / 'vocab.json').write_text((folder / 'vocab.json').read_text())
  with pytest.raises(ValueError, match=r'there is no .*merges\.txt'):
    words_lib.read(tmp_path / 'vocab.json')
  (tmp_path / 'merges.txt').write_text((folder / 'merges.txt').read_text())
  assert words_lib.read(tmp_path / 'vocab.json') == words_lib.read(
      folder / 'vocab.json')
  ids = json.loads((folder / 'vocab.json').read_text())
  for change, says in ((lambda d: d.pop('</s>'), 'without a gap'),
                       (lambda d: d.update({'x y': 999}), 'without a gap')):
    broken = dict(ids)
    change(broken)
    (tmp_path / 'vocab.json').write_text(json.dumps(broken))
    with pytest.raises(ValueError, match=says):
      words_lib.read(tmp_path / 'vocab.json')
  (tmp_path / 'vocab.json').write_text('["<s>"')
  with pytest.raises(ValueError, match='cannot be read'):
    words_lib.read(tmp_path / 'vocab.json')
  with pytest.raises(ValueError, match='these lack <unk>'):
    BytePairs(['<pad>', '<s>', '</s>'], [])
