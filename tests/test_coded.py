"""What is found once for each different value is what each row would get."""
import collections
import random

from bst_jax.data import answers, asked, coded, prior, scored, text
import numpy as np
import pytest

WORDS = ['yes', 'no', 'Yes.', 'a cat', 'cat', 't-shirt', 't shirt', 'two', '2',
         '1,000', '1000', 'none', '0', 'dont', "don't", 'the', '']


def said(rng):
  some = rng.sample(WORDS, rng.randint(1, len(WORDS)))
  return tuple(rng.choice(some) for _ in range(rng.choice([0, 1, 3, 10, 10])))


@pytest.mark.parametrize('rule', answers.RULES)
def test_scores_of_many_are_those_of_each(rule):
  rng = random.Random(0)
  forms = sorted({answers.rule(rule).normal(word) for word in WORDS})
  for count in (0, 1, 3, 8):
    listed = rng.sample(forms, count)
    lists = [said(rng) for _ in range(200)]
    scorer = answers.Scorer(rule, listed)
    given, soft, official = scored.scores(
        coded.Lists.of(lists), rule, listed)
    for one, *row in zip(lists, given, soft, official):
      assert {(a, x, y) for a, x, y in zip(*row) if a < count} == set(
          scorer(one)), one


def plain_prior(train, tested, listed, rule, types):
  """The same, question by question."""
  seen = collections.defaultdict(collections.Counter)
  for words, kind, truth in zip(train.texts, train.types, train.truths):
    truth = answers.rule(rule).normal(truth)
    if truth in listed:
      seen['text', words][truth] += 1
      seen['type', kind][truth] += 1
  scores, scorer = collections.defaultdict(list), answers.Scorer(rule, listed)
  for words, kind, one in zip(tested.texts, tested.types, tested.answers):
    counts = seen.get(('text', words)) or seen.get(('type', kind), {})
    answer = min(counts, key=lambda a: (-counts[a], a), default=None)
    found = {listed[i]: score for i, _, score in scorer(one)}
    scores['overall'].append(found.get(answer, 0.0))
    scores[kind].append(found.get(answer, 0.0))
  return {kind: 100 * float(np.mean(scores[kind]))
          for kind in ('overall', *types) if scores[kind]}


def questions(rng, count, types):
  rows = [(f'q {rng.randint(0, count // 3)}', rng.choice(types),
           rng.choice(WORDS), '\n'.join(said(rng)), str(i))
          for i in range(count)]
  return asked.of(rows, [count])


@pytest.mark.parametrize('rule', answers.RULES)
def test_prior_is_that_of_every_question_alone(rule):
  rng, types = random.Random(1), ['number', 'other', 'yes/no']
  train, tested = questions(rng, 300, types[:2]), questions(rng, 200, types)
  normal = answers.rule(rule).normal
  for least in (1, 9, 1000):  # 1000: no answer is listed.
    listed = text.rank_answers(map(normal, train.truths), least)
    wanted = plain_prior(train, tested, listed, rule, types)
    found = prior.of(train, tested, listed, rule, types)
    assert list(found) == list(wanted)
    assert found == pytest.approx(wanted, abs=1e-9)
    assert (found['overall'] > 0) == (least < 1000)


def test_coded_values_are_read_like_a_list():
  values = ['b', 'a', 'b', '', 'ü\n', 'a']
  found = coded.Coded.of(values)
  assert list(found) == values and found == values and len(found) == 6
  assert found[1:4] == values[1:4] and found[-1] == 'a'
  assert found.different == ['b', 'a', '', 'ü\n']
  assert list(found.first(2).different) == ['b', 'a']
  both = coded.Coded.joined([found, coded.Coded.of(['c', 'a'])])
  assert list(both) == [*values, 'c', 'a']
  assert both.different == ['b', 'a', '', 'ü\n', 'c']
  packed = coded.Packed.of(found.different)
  assert list(coded.Packed(packed.arrays)) == found.different
  lists = [('a',), (), ('b', 'a', 'a'), ('c', 'a')]
  assert list(coded.Lists.of(lists)) == lists
  assert coded.Lists.of(lists)[1:3] == lists[1:3]


def test_many_texts_are_tokenized_like_each():
  some = ["What's the Dog-name?/x  y", '', 'ΑΣ', 'İ x', '#1 *', 'ok\nyes']
  for texts in (some, [*some, 'a\0b c']):
    assert list(text.tokenize_all(texts)) == [text.tokenize(t) for t in texts]
  vocabulary = text.Vocabulary.build(some[:3])
  ids, counts, unknown = vocabulary.encode_all(some, 3)
  assert ids.tolist() == [vocabulary.encode(t, 3).tolist() for t in some]
  assert counts.tolist() == [vocabulary.count(t) for t in some]
  assert unknown.tolist() == [bool(vocabulary.unknown(t)) for t in some]
