"""Makes tests/golden/captions.json with pycocoevalcap, scikit-learn and Java.

  pip install pycocoevalcap==1.2 scikit-learn numpy
  PYTHONPATH=. python tests/golden/make_captions.py

200 pictures with a caption and one to five references each: half of them made
of a small list of words, half captions of digit scenes, all words apart by
blanks. Scores are pycocoevalcap's, whose CIDEr is CIDEr-D. Plain CIDEr, which it
lacks, is that of scikit-learn's counts and cosines. `texts` are lines and the
words that Stanford's tokenizer, as pycocoevalcap calls it, makes of them.
"""
import json
import pathlib
import random

from bst_jax.data.builders.digit_scenes import examples, programs, scenes
import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

OUT = pathlib.Path(__file__).with_name('captions.json')
WORDS = ('a an the two man woman dog red blue bus bench field street rides '
         'sits stands with on in near of and small large').split()
TEXTS = pathlib.Path(__file__).with_name('captions.txt')


def sentence(rng):
  return ' '.join(rng.choice(WORDS) for _ in range(rng.randint(1, 12)))


def changed(rng, text):
  """A text with words left out, put in or moved; sometimes as it is."""
  words = text.split()
  for _ in range(rng.randint(0, 4)):
    i = rng.randrange(len(words) + 1)
    words[i:i + rng.randint(0, 2)] = [rng.choice(WORDS)] * rng.randint(0, 2)
  return ' '.join(words)


def pictures():
  """[(caption, references)] of 200 pictures."""
  rng, found = random.Random(0), []
  for _ in range(100):
    own = [sentence(rng)]
    own += [changed(rng, own[0]) or 'a' for _ in range(rng.randint(0, 4))]
    found.append((changed(rng, rng.choice(own)), own))
  found[7] = '', found[7][1]
  found[8] = found[8][1][0], found[8][1]
  for example in examples.generate(scenes.EASY, programs.EASY, 'val', 100):
    own = [text.replace(',', '') for text in example.captions]
    found.append((changed(rng, rng.choice(own)), own))
  return found


def plain_cider(found):
  """Ten times the mean of cosines, over n and over references."""
  every = [text for _, own in found for text in own]
  place = np.cumsum([0, *(len(own) for _, own in found)])
  total = np.zeros(len(found))
  for n in range(1, 5):
    counter = CountVectorizer(ngram_range=(n, n), token_pattern=r'\S+')
    counter.fit([*every, *(text for text, _ in found)])
    known, said = (counter.transform(texts) for texts in (
        every, [text for text, _ in found]))
    frequency = sum(
        np.asarray(known[a:b].sum(0) > 0).ravel().astype(int)
        for a, b in zip(place, place[1:]))
    weight = np.log(len(found)) - np.log(np.maximum(1, frequency))
    known, said = (normalize(x.multiply(weight).tocsr()) for x in (known, said))
    for i, (a, b) in enumerate(zip(place, place[1:])):
      total[i] += np.asarray((known[a:b] @ said[i].T).todense()).mean()
  return 10 * total / 4


def main():
  found = pictures()
  truth = {i: own for i, (_, own) in enumerate(found)}
  said = {i: [text] for i, (text, _) in enumerate(found)}
  texts = TEXTS.read_text('utf-8').splitlines()
  split = PTBTokenizer().tokenize(
      {i: [{'caption': text}] for i, text in enumerate(texts)})
  result = {
      'captions': [text for text, _ in found],
      'references': [own for _, own in found],
      'bleu': Bleu(4).compute_score(truth, said, verbose=0)[0],
      'cider_d': list(map(float, Cider().compute_score(truth, said)[1])),
      'cider': list(map(float, plain_cider(found))),
      'rouge_l': list(map(float, Rouge().compute_score(truth, said)[1])),
      'texts': [[text, split[i][0]] for i, text in enumerate(texts)]}
  OUT.write_text(json.dumps(result, ensure_ascii=False, indent=0) + '\n',
                 'utf-8')
  print(OUT.stat().st_size, result['bleu'], np.mean(result['cider_d']),
        np.mean(result['cider']), np.mean(result['rouge_l']))


if __name__ == '__main__':
  main()
