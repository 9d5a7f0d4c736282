"""Scores of captions, against pycocoevalcap's and numbers by hand."""
import json
import math
import pathlib
import time

from bst_jax import scores
from bst_jax.data import text, word_pieces
from bst_jax.scores import bleu, captions, cider, ptb, rouge
import numpy as np
import pytest

GOLDEN = json.loads((pathlib.Path(__file__).parent / 'golden' / 'captions.json'
                     ).read_text('utf-8'))
# Of Stanford's words, those that ours differ in, as the docstring of ptb says.
APART = {
    'email me@x.com www.site.com/a http://a.b/c?d=e', ':) ;-) <3',
    'hello,world one.two a;b c:d', '$10 $10.99 10$ 10€ 5¢ US$5',
    '(555) 555-5555 555-1234', ':-) :( :D ;) =) :P', 'lol!! :)', 'a!b', 'a?b',
    '&quot;a&quot; &#39;s &nbsp; &amp;'}


@pytest.fixture(scope='module')
def numbered():
  """Captions and references of the golden file as words, and as numbers."""
  said = [one.split() for one in GOLDEN['captions']]
  known = [[one.split() for one in of] for of in GOLDEN['references']]
  ids = {}
  number = lambda words: [ids.setdefault(word, len(ids)) for word in words]
  return said, known, [number(one) for one in said], [
      [number(one) for one in of] for of in known]


# Against pycocoevalcap.


def test_cider_d_is_pycocoevalcaps(numbered):
  *_, said, known = numbered
  corpus = cider.frequencies(known)
  np.testing.assert_allclose(
      cider.cider_d(said, known, corpus), GOLDEN['cider_d'], atol=1e-6)
  np.testing.assert_allclose(
      cider.cider(said, known, corpus), GOLDEN['cider'], atol=1e-6)


def test_bleu_and_rouge_are_pycocoevalcaps(numbered):
  said, known, *_ = numbered
  np.testing.assert_allclose(bleu.bleu(said, known), GOLDEN['bleu'], atol=1e-6)
  np.testing.assert_allclose(
      [rouge.rouge_l(*both) for both in zip(said, known)], GOLDEN['rouge_l'],
      atol=1e-6)


def test_all_of_a_split_together():
  got = captions.of_texts(GOLDEN['captions'], GOLDEN['references'])
  assert list(got)[:2] == ['CIDEr-D', 'CIDEr']
  assert got['CIDEr-D'] == pytest.approx(10 * np.mean(GOLDEN['cider_d']))
  assert got['CIDEr'] == pytest.approx(10 * np.mean(GOLDEN['cider']))
  assert [got[f'BLEU-{n}'] for n in range(1, 5)] == pytest.approx(
      [100 * score for score in GOLDEN['bleu']])
  assert got['ROUGE-L'] == pytest.approx(100 * np.mean(GOLDEN['rouge_l']))
  assert got['empty'] == 1


def test_words_are_those_of_stanfords_tokenizer():
  apart = {line for line, split in GOLDEN['texts']
           if ptb.words(line) != split.split()}
  assert apart == APART
  assert len(GOLDEN['texts']) > 150


# By hand.


def test_examples_of_docstrings():
  corpus = cider.frequencies([[[1, 2]], [[1, 3]]])
  assert cider.cider_d([[1, 2], [1, 3]], [[[1, 2]], [[1, 3]]], corpus
                       ).tolist() == pytest.approx([5, 5])
  assert bleu.bleu(['a b c'.split()], [['a b d'.split()]]) == pytest.approx(
      [2 / 3, math.sqrt(1 / 3), 0, 0])
  assert rouge.rouge_l('a b c'.split(), ['a c'.split()]) == pytest.approx(
      2.44 * 2 / 3 / (1 + 1.44 * 2 / 3))
  assert ptb.words("A man's dog can't sit; it's cute.") == [
      'a', 'man', "'s", 'dog', 'ca', "n't", 'sit', 'it', "'s", 'cute']


def test_three_words_said_alike_earn_seven_and_a_half():
  references = [[[1, 2, 3]], [[4, 5, 6]]]
  corpus = cider.frequencies(references)
  got = cider.cider_d([[1, 2, 3]], references[:1], corpus)
  assert got == pytest.approx(7.5)


def test_a_repeated_word_and_another_length_cost_in_cider_d_alone():
  references = [[[1, 2, 3, 4]], [[5, 6, 7, 8]]]
  corpus = cider.frequencies(references)
  twice = [1, 2, 3, 4, 1, 2, 3, 4]
  plain = cider.cider([twice], references[:1], corpus)
  clipped = cider.cider_d([twice], references[:1], corpus)
  # Counts of n-grams are 2 2 2 2, 2 2 2 1, 2 2 1 1 and 2 1 1 1.
  norms = [4, math.sqrt(13), math.sqrt(10), math.sqrt(7)]
  dots = [8, 6, 4, 2]
  roots = [2, math.sqrt(3), math.sqrt(2), 1]
  assert plain[0] == pytest.approx(2.5 * sum(
      d / n / r for d, n, r in zip(dots, norms, roots)))
  assert clipped[0] == pytest.approx(2.5 * math.exp(-16 / 72) * sum(
      d / n / r for d, n, r in zip([4, 3, 2, 1], norms, roots)))


@pytest.mark.parametrize('one, other, length', [
    ('', '', 0), ('a', '', 0), ('a b c d', 'b d', 2), ('a b a c', 'c a a', 2),
    ('x a b c', 'a b c x', 3)])
def test_longest_common_words(one, other, length):
  assert rouge.longest(one.split(), other.split()) == length
  assert rouge.longest(other.split(), one.split()) == length


# One picture, and a stored corpus.


def test_cider_of_one_picture_is_undefined_and_said_so(log):
  own = ['a red bus on a street', 'the bus is red', 'red bus', 'bus', 'a bus']
  one = captions.of_texts(own[:1], [own])
  assert math.isnan(one['CIDEr-D']) and math.isnan(one['CIDEr'])
  assert one['BLEU-4'] == one['ROUGE-L'] == pytest.approx(100)
  assert 'CIDEr of one picture is undefined' in log.text
  two = captions.of_texts([own[0], 'a dog sits'], [own, ['a dog sits']])
  assert 0 < two['CIDEr-D'] < 100
  with pytest.raises(ValueError, match='one picture, by which every word'):
    cider.cider_d([[1]], [[[1]]], cider.frequencies([[[1]]]))


def test_a_stored_corpus_is_another_way_and_the_title_says_which(tmp_path):
  path = tmp_path / 'corpus.npz'
  captions.corpus(GOLDEN['references']).save(path)
  chosen = scores.create({'name': 'captions', 'frequencies': str(path)},
                         'captions')
  assert '200 pictures' in chosen.title and 'corpus.npz' in chosen.title
  assert 'the references evaluated' in scores.create('captions', 'c').title
  corpus = cider.Frequencies.load(path)
  own = captions.of_texts(GOLDEN['captions'], GOLDEN['references'])
  assert captions.of_texts(GOLDEN['captions'], GOLDEN['references'], corpus
                           ) == pytest.approx(own)
  # One picture, with a word that the corpus lacks, is defined then.
  one = captions.of_texts(['a zebra'], [['a zebra', 'the dog']], corpus)
  assert 0 < one['CIDEr-D'] < 100
  cider.frequencies([[[1]], [[2]]], closing=0).save(path)
  assert cider.Frequencies.load(path).closing == 0
  with pytest.raises(ValueError, match='frequencies of tokens, as rewards'):
    captions.make(frequencies=str(path))
  path.write_text('nothing')
  with pytest.raises(ValueError, match='as document frequencies of captions'):
    captions.make(frequencies=str(path))


# Rewards.


def test_the_closing_token_is_a_word_of_both_sides():
  """Ends like "… in a lot with a" earn less, once the end is a word."""
  rng, end = np.random.default_rng(0), 99
  corpus = [[rng.integers(1, 20, 8).tolist() for _ in range(3)]
            for _ in range(30)]
  whole = [1, 2, 3, 4, 5, 6]
  references = [[whole, [*whole, 7, end]]]
  open_, closed = [*whole, 8, 9], [*whole, end]
  plain = cider.frequencies(corpus)
  ended = cider.frequencies(corpus, closing=end)
  reward = lambda said, corpus: float(
      cider.cider_d([said], references, corpus)[0])
  assert reward([*whole, 8, 9, end], ended) < reward(closed, ended)
  # Nothing behind the first closing token counts,
  assert reward([*closed, 8, 9, end, 3], ended) == reward(closed, ended)
  # and one that never closes has none.
  assert reward(whole, ended) < reward(closed, ended)
  # It costs more to leave the end open where it is a word.
  lost = lambda corpus, best: reward(open_, corpus) / reward(best, corpus)
  assert lost(ended, closed) < lost(plain, whole)
  # As if it had been written out.
  written = cider.frequencies(
      [[[*one, end] for one in of] for of in corpus])
  assert cider.cider_d([closed], [[[*whole, end], [*whole, 7, end]]], written
                       )[0] == pytest.approx(reward(closed, ended), abs=1e-12)


def test_several_captions_of_a_picture_stand_together(numbered):
  *_, said, known = numbered
  corpus = cider.frequencies(known)
  each = [*zip(said[:60:2], said[1:60:2])]
  got = cider.cider_d([one for two in each for one in two], known[:30], corpus)
  for i, two in enumerate(each):
    np.testing.assert_allclose(
        got[2 * i:2 * i + 2], [cider.cider_d([one], known[i:i + 1], corpus)[0]
                               for one in two], atol=1e-12)


@pytest.mark.parametrize('said, known, words', [
    ([[1]] * 3, [[[1]]] * 2, '3 captions.*2 pictures'),
    ([[1]] * 2, [[[1]], []], 'have no reference, as picture 1'),
    ([], [], '0 captions'), ([[-1]], [[[1]]], 'Leave padding out'),
    ([[1 << 21]], [[[1]]], 'Leave padding out')])
def test_rewards_that_cannot_be(said, known, words):
  with pytest.raises(ValueError, match=words):
    cider.cider_d(said, known, cider.frequencies([[[1]], [[2]]]))
  with pytest.raises(ValueError, match='of no pictures'):
    cider.frequencies([])


def test_no_words_on_either_side_earn_nothing():
  corpus = cider.frequencies([[[1]], [[2]], [[]]])
  assert cider.cider_d([[], [1], [3]], [[[1]], [[]], [[2]]], corpus
                       ).tolist() == [0, 0, 0]
  nothing = cider.frequencies([[[]], [[]]])
  assert cider.cider_d([[1]], [[[1]]], nothing)[0] == pytest.approx(2.5)


def test_a_step_of_rewards_is_quick():
  """64 pictures, five captions each of up to twenty tokens."""
  rng = np.random.default_rng(0)
  made = lambda most: rng.zipf(1.3, rng.integers(5, most)).clip(
      1, 9000).tolist()
  corpus = cider.frequencies(
      [[made(14) for _ in range(5)] for _ in range(2000)], closing=0)
  references = [[made(14) for _ in range(5)] for _ in range(64)]
  said, times = [made(20) for _ in range(320)], []
  for _ in range(7):
    start = time.process_time()
    cider.cider_d(said, references, corpus)
    times.append(time.process_time() - start)
  print(f'{1000 * min(times):.1f} ms')
  assert min(times) < 0.02


# Texts that are none.


def test_line_breaks_and_nothing_move_no_caption():
  said = ['a\nb', '', '  ', '.', 'a\u2028b', '😀']
  references = [['a b'], ['a b'], ['a c'], ['c'], ['a b'], ['d\r\nd']]
  assert [ptb.words(text) for text in said] == [
      ['a', 'b'], [], [], [], ['a', 'b'], []]
  got = captions.of_texts(said, references)
  assert got['empty'] == pytest.approx(100 * 4 / 6)
  # Two of six are all right; the others are in the mean.
  assert got['ROUGE-L'] == pytest.approx(100 * 2 / 6)
  assert got['BLEU-1'] == pytest.approx(100 * math.exp(1 - 11 / 4))
  assert captions.of_texts([''] * 2, [['a'], ['b']])['BLEU-1'] == 0
  with pytest.raises(ValueError, match='2 captions.*1 pictures'):
    captions.of_texts(['a', 'b'], [['a']])


def test_ends_that_are_left_open():
  assert captions.open_ends(
      [['a', 'car', 'with', 'a'], ['a', 'car'], [], ['the']]) == 0.5


# Files for a server.


def test_files_for_cocos_server(tmp_path):
  rows = captions.results(['a\nb', 'c '], ['391895', '000000000042'])
  assert rows == [{'image_id': 391895, 'caption': 'a b'},
                  {'image_id': 42, 'caption': 'c'}]
  path = tmp_path / 'captions.json'
  path.write_text(json.dumps(rows))
  assert captions.read_results(path) == {391895: 'a b', 42: 'c'}
  path.write_text(json.dumps(rows + rows[:1]))
  with pytest.raises(ValueError, match='1 of 3 are of pictures that have one'):
    captions.read_results(path)
  for wrong in ('{}', '[{"image_id": 1}]', 'x', '["a"]'):
    path.write_text(wrong)
    if wrong == '{}':
      assert captions.read_results(path) == {}
      continue
    with pytest.raises(ValueError, match='image_id and caption'):
      captions.read_results(path)
  with pytest.raises(ValueError, match='no whole number'):
    captions.results(['a'], ['x7'])
  with pytest.raises(ValueError, match='1 of 2'):
    captions.results(['a', 'b'], ['7', '07'])


# The measure.


class Data:
  def __init__(self, words):
    self.vocabularies = {'words': words}


def gathered(measure, batches, data):
  gather = scores.Gather(measure)
  for outputs, batch in batches:
    gather.add(measure.read(outputs, batch), batch['mask'])
  return gather.finish(data)


PIECES = word_pieces.WordPieces(
    ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'red', 'bus', 'dog',
     '##s', 'sit'])


@pytest.mark.parametrize('words', [
    text.Vocabulary(['a', 'red', 'bus', 'dogs', 'sit']), PIECES],
                         ids=['words', 'pieces'])
def test_captions_of_tokens_score_as_their_texts(words, log):
  said = ['a red bus', 'dogs sit', 'a bus']
  known = [['a red bus', 'red bus'], ['a red dogs', 'dogs sit'], ['bus']]
  ids = lambda one, length=8: words.encode(one, length)
  tokens = np.stack([ids(one, 9) for of in known for one in of] + [ids('a', 9)])
  picture = np.array([5, 5, 1, 1, 8, 8])
  mask = np.array([1, 1, 1, 1, 1, 0], bool)
  captions_of = np.stack([ids(one) for one in said])
  # What stands behind the end is none of a caption's words.
  captions_of[0, -1] = ids('dogs')[1]
  measure = captions.make()
  rows = slice(0, 4), slice(4, 6)
  got = gathered(measure, [
      ({'captions': captions_of[a:b]}, {
          'tokens': tokens[part], 'picture': picture[part], 'mask': mask[part]})
      for (a, b), part in zip(((0, 2), (2, 3)), rows)], Data(words))
  order = [1, 0, 2]  # By the pictures' numbers.
  assert got == pytest.approx(captions.of_texts(
      [said[i] for i in order], [known[i] for i in order]))
  assert 'references' not in log.text


@pytest.mark.parametrize('words', [
    text.Vocabulary(['a', 'red', 'bus']), PIECES], ids=['words', 'pieces'])
def test_words_that_are_unknown_match_none_and_are_told(words, log):
  tokens = np.stack([words.encode(one, 5) for one in ('a zebra', 'red bus')])
  got = gathered(captions.make(), [({'captions': tokens}, {
      'tokens': tokens, 'picture': np.arange(2), 'mask': np.ones(2, bool)})],
                 Data(words))
  assert got['BLEU-1'] == pytest.approx(75)
  assert '1 have words that the vocabulary lacks' in log.text
