"""Captions as words, as the Penn Treebank splits them: no Java is run.

    words("A man's dog can't sit; it's cute.") ==
        ['a', 'man', "'s", 'dog', 'ca', "n't", 'sit', 'it', "'s", 'cute']

Published caption scores are of texts that Stanford's PTBTokenizer split, in
lower case, without the marks that the COCO toolkit drops.

Reference: Chen et al., "Microsoft COCO Captions: Data Collection and Evaluation
  Server", arXiv 1504.00325, section 3; behaviour of the tokenizer of CoreNLP
  3.4.1 as pycocoevalcap 1.2 calls it, observed on `tests/golden/make_captions`.
Differs: emoticons and brackets around numbers come apart, where Stanford's
  joins some of them (`:)` is `:-rrb-` there); an apostrophe inside a word stays in a
  handful of words alone (o'clock, ma'am); of abbreviations only common ones
  keep their point; all white space, line breaks too, is one blank. On plain
  captions both give the same.
"""
import re

_DROPPED = frozenset(['.', '?', '!', ',', ':', '-', '--', '...', ';', "'", "''",
                      '`', '``', '"'])
_BRACKETS = {'(': '-lrb-', ')': '-rrb-', '[': '-lsb-', ']': '-rsb-',
             '{': '-lcb-', '}': '-rcb-'}
_SAME = {'€': '$', '£': '#', '¢': 'cents', '½': '1/2', '¼': '1/4', '¾': '3/4',
         '⅓': '1/3', '⅔': '2/3', **_BRACKETS}
_ENTITIES = {'&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"',
             '&apos;': "'", '&nbsp;': ' '}
# Quotes are dropped, so that it does not matter which side they are of.
_MARKS = str.maketrans({
    '’': "'", '‘': '`', '“': '"', '”': '"', '«': '"', '»': '"', '—': ' -- ',
    '–': ' -- ', '―': ' -- ', '…': '...', '\u00ad': None, '\u200b': ' '})
_BEYOND = re.compile('[\U00010000-\U0010ffff]')  # Emoji above all.
# They keep their point, also at the end of a caption.
_SHORT = ('mr mrs ms dr prof st ave mt ft gen rev sen gov rep col capt lt sgt '
          'maj pres hon messrs mme vs dept blvd rd co inc ltd corp jr sr etc '
          'jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed '
          'thu thurs fri est bros assn univ bldg sq ct fla calif va ga conn'
          ).split()
_PARTS = {'cannot': ('can', 'not'), 'gonna': ('gon', 'na'),
          'gotta': ('got', 'ta'), 'wanna': ('wan', 'na'),
          'lemme': ('lem', 'me'), 'gimme': ('gim', 'me')}
_CLITIC = r"'(?:s|m|re|ve|d|ll)\b"
_TOKEN = re.compile('|'.join([
    r'https?://\S*[\w/]', r'[\w.]+@[\w.]*\w', r'</?[a-z][^<>]*>',
    r'\.{3,}', r'[!?]+', r'--+',
    r"'n'", r"'(?:em|til|cause|\d0s|n)\b", r"'t(?=is\b|was\b)", r"n't\b",
    _CLITIC,
    r"o'clock\b", r"ma'am\b", r"li'l\b", r"ol'", r"[od]'\w+", r"y'(?=all\b)",
    r"[^\W\d_]+?(?=n't\b)",
    rf"\b(?:{'|'.join(_SHORT)})\.", r'\bno\.(?=\s*\d)', r'\bph\.d\.',
    r'\b(?:[^\W\d_]\.)+(?!\w|\.\.)',  # u.s., and a letter with a point
    r'\bc#', r'\bc\+\+', r'(?-i:[A-Z]+&[A-Z]+)',
    r'(?<![\w.])[-+]?\d+(?:[.,:/]\d+)+(?:-\w+)*', r'(?<![\w.])[-+]\d+\w*',
    r'\.\d+',
    r'#\d*[^\W\d]\w*', r'@\w+',
    r'\w+(?:[-/]\w+|\.[^\W\d_]\w*)*',
    r'\*+', r'\S']), re.IGNORECASE)


def clean(text: str) -> str:
  """A text in one line: any white space, line breaks too, is one blank."""
  return ' '.join(text.split())


def words(text: str) -> list[str]:
  """Words of a caption in lower case, without marks; none for an empty one."""
  for name, character in _ENTITIES.items():
    text = text.replace(name, character) if '&' in text else text
  text = clean(_BEYOND.sub(' ', text.translate(_MARKS)))
  found = []
  for token in _TOKEN.findall(text):
    token = '...' if token.startswith('...') else token.lower()
    if token.strip('-'):
      token = _SAME.get(token, token)
      found += _PARTS.get(token, () if token in _DROPPED else (token,))
  return found
