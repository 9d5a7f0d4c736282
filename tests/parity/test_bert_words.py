"""Our word pieces against BERT's tokenizer of the installed transformers.

  pytest -n 0 tests/parity/test_bert_words.py
"""
import functools
import unicodedata

from bst_jax.data.word_pieces import WordPieces
import numpy as np
import pytest
import transformers

try:  # In Python, line by line; transformers 5 has put it aside.
  from transformers.models.bert import tokenization_bert_legacy
  Slow = tokenization_bert_legacy.BertTokenizerLegacy
except ImportError:
  Slow = transformers.BertTokenizer

_PIECES = ['[PAD]', '[unused0]', '[UNK]', '[CLS]', '[SEP]', '[MASK]',
           *'!"#$%&\'()*+,-./0123456789:;<=>?@[\\]^_`{|}~',
           *(f'{start}{c}' for start in ('', '##')
             for c in 'abcdefghijklmnopqrstuvwxyz'),
           'what', 'play', '##ing', '##ed', 'the', 'cafe', 'café', 'é', '##é',
           '2015', '##15', '日', '本', '##本', 'ß', 'ω', '##ω', 'i̇', '한', '국']
# A line separator of Unicode does not end a line of a vocabulary.
UNCASED = [*_PIECES, '\u2028', 'naive']
CASED = [*_PIECES, '\u2028', 'What', 'É', '##É', 'USA', 'İ',
         *'ABCDEFGHIJKLMNOPQRSTUVWXYZ', *(f'##{c}' for c in 'ABCDWHU')]

QUESTIONS = [
    'What is he playing?', 'WHAT THE USA PLAYED', 'the café’s CAFÉ cafe',
    'Is it naïve? NAÏVE!', '日本 日本語', 'the日本what', '한국어', 'e\u0301 cafe\u0301',
    'ßẞ Straße', 'ΩMEGA ωω', 'İstanbul ıi', '\x00what\x07 \ufffdplay\x1f',
    'tab\tnew\nline\r\nend', '\u2028what\u2029play\x85ed', '\xa0no\u3000break',
    'zero\u200bwidth\u200djoin\ufeff', 'soft\u00adhyphen', 'x' * 100, 'x' * 101,
    'a' * 101 + ' the ' + 'playing' * 20, "don't can’t I'm", 'E=mc^2, $5.00 & <b>',
    '-2015-15/16_17', '... ?!', '😀 👩‍👩‍👧', '[SEP] what [MASK] [UNK] [CLS]',
    '[sep][PAD]', 'العربية हिन्दी ไทย', '\U00020000\U0002a700', '①Ⅷﬁ', '', '   ',
    '«what» “play” —the–', '¿qué? ¡no!']


# The slow one joins accents to their letters, as the first BERT did not.
@pytest.mark.parametrize('theirs, form', [
    (transformers.BertTokenizerFast, str),
    (Slow, functools.partial(unicodedata.normalize, 'NFC'))],
    ids=['fast', 'slow'])
@pytest.mark.parametrize('cased', [False, True])
def test_questions_become_the_same_numbers(tmp_path, theirs, form, cased):
  pieces = CASED if cased else UNCASED
  path = tmp_path / 'vocab.txt'
  path.write_text('\n'.join(pieces) + '\n', 'utf-8', newline='\n')
  ours = WordPieces.read(path)
  assert list(ours.words) == pieces
  theirs = theirs(str(path), do_lower_case=not cased)
  assert len(theirs) == len(pieces)
  for question in QUESTIONS:
    for length in (16, 300):  # Cut off, and not.
      want = theirs(question, padding='max_length', truncation=True,
                    max_length=length)['input_ids']
      np.testing.assert_array_equal(
          ours.encode(form(question), length), want, ascii(question))
    assert ours.count(form(question)) == len(theirs(question)['input_ids'])
