"""From a data config to vocabularies, sizes and batches."""
from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import fcntl
import functools
import importlib
import os
import pathlib
from typing import Any

from bst_jax.data import pipeline, text
from bst_jax.elastic import check_name
import numpy as np

# Data set -> TFDS builder. Users' own builders are found by their module.
BUILDERS = {
    'digit_scenes': 'bst_jax.data.builders.digit_scenes.builder:DigitScenes',
}
INPUTS = ('regions', 'image')
DEFAULTS = dict(train='train', eval='test', watch='', batch=64,
                questions_per_picture=1, inputs=('regions',), max_tokens=14,
                data_dir='', seed=0, limit=0, sizes=None)


@dataclasses.dataclass(frozen=True)
class Split:
  """A split in memory: pictures, and their questions side by side.

  Attributes:
    pictures: arrays by name, one row a picture.
    first: int[S + 1], where each picture's questions begin.
    texts, kinds: str[T] of every question.
    answers: ten of them for every question.
  """

  pictures: Mapping[str, np.ndarray]
  first: np.ndarray
  texts: list[str]
  kinds: list[str]
  answers: list[list[str]]

  @functools.cached_property
  def owner(self) -> np.ndarray:
    """int[T]: the picture of every question."""
    return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))


class Data:
  """What a config's data are: vocabularies, sizes and batches.

  A batch is a dict of numpy arrays: `regions` float32[P, N, F] with zero rows
  for padding and `boxes` float32[P, N, 4], or `image` uint8[P, H, W, 3];
  `tokens` int32[B, T], `target` float32[B, A] soft scores, `score`
  float32[B, A] the official accuracy of each answer, `type` int32[B] and `mask`
  bool[B], true for real examples. The questions of a picture stand together: P
  divides B.

  Attributes:
    vocab: words of the questions.
    answers: classes.
    types: question types.
    sizes: what a model needs to know of the data.
    epoch: batches in an epoch, a fraction.
    steps_per_epoch: whole batches in an epoch.
  """

  def __init__(self, config: Mapping[str, Any], vocab_dir=None,
               shard_index: int = 0, shard_count: int = 1):
    self._config = config
    self._shard = shard_index, shard_count
    self._per_picture = config['questions_per_picture']
    unit = self._per_picture * shard_count
    if config['batch'] % unit:
      raise ValueError(
          f'data.batch={config["batch"]} does not split into '
          f'{shard_count} hosts x {self._per_picture} questions of a picture; '
          f'choose a multiple of {unit}.')
    self._batch = config['batch'] // shard_count
    self._vocabularies(pathlib.Path(vocab_dir) if vocab_dir else None)

    train = self._split(config['train'])
    units = (len(train.texts) if self._per_picture == 1
             else len(train.first) - 1)
    pictures = config['batch'] // self._per_picture
    self.epoch = units / pictures
    self.steps_per_epoch = units // pictures
    if not self.steps_per_epoch:
      raise ValueError(
          f'data.batch={config["batch"]} is more than the {units} examples of '
          f'split {config["train"]!r}; choose a smaller one.')
    self._units = units
    self.sizes = {
        'vocab_size': len(self.vocab), 'num_answers': len(self.answers),
        'max_tokens': config['max_tokens']} | _sizes(train.pictures)

  def _vocabularies(self, folder):
    names = ('words', 'answers', 'types')
    if folder and all((folder / f'{n}.json').exists() for n in names):
      words, answers, types = (
          text.load_list(folder / f'{n}.json') for n in names)
      self.vocab = text.Vocabulary(words)
    else:
      train = self._split(self._config['train'])
      self.vocab = text.Vocabulary.build(train.texts)
      counts = collections.Counter(a for ten in train.answers for a in ten)
      # By name, so that the order does not hang on the order of the records.
      answers, types = sorted(counts), tuple(dict.fromkeys(sorted(train.kinds)))
    self.answers, self.types = tuple(answers), tuple(types)

  def save_vocab(self, folder: str | os.PathLike) -> None:
    """Writes words.json, answers.json and types.json."""
    for name, words in (('words', self.vocab.words), ('answers', self.answers),
                        ('types', self.types)):
      text.save_list(pathlib.Path(folder) / f'{name}.json', words)

  @functools.cache
  def _split(self, name: str) -> Split:
    return read_split(self._config, name)

  @functools.cache
  def _encoded(self, name: str) -> dict[str, np.ndarray]:
    """Arrays of every question of a split."""
    split = self._split(name)
    count, index = len(split.texts), {a: i for i, a in enumerate(self.answers)}
    target = np.zeros((count, len(self.answers)), np.float32)
    score = np.zeros_like(target)
    for row, ten in enumerate(split.answers):
      for out, values in ((target, text.soft_scores(ten)),
                          (score, text.accuracies(ten))):
        for answer, value in values.items():
          if answer in index:
            out[row, index[answer]] = value
    kinds = {t: i for i, t in enumerate(self.types)}
    return {
        'tokens': np.stack([self.vocab.encode(t, self._config['max_tokens'])
                            for t in split.texts]),
        'target': target, 'score': score,
        'type': np.array([kinds.get(k, -1) for k in split.kinds], np.int32)}

  def _gather(self, name, pictures, questions, mask):
    return {key: array[pictures]
            for key, array in self._split(name).pictures.items()} | {
                key: array[questions]
                for key, array in self._encoded(name).items()} | {'mask': mask}

  @property
  def example(self) -> dict[str, np.ndarray]:
    """Zeros with the shapes of a training batch of this host."""
    rows = np.zeros(self._batch, int)
    batch = self._gather(self._config['train'], rows[::self._per_picture], rows,
                         np.ones(self._batch, bool))
    return {key: np.zeros_like(array) for key, array in batch.items()}

  def train(self) -> Iterator[dict[str, np.ndarray]]:
    """Training batches for ever; get_state() and set_state() keep the place.

    With one question a picture an epoch goes over every question; with more,
    over every picture with that many of its questions, drawn anew.
    """
    name, each = self._config['train'], self._per_picture
    split, mask = self._split(name), np.ones(self._batch, bool)

    def gather(index, rng):
      if each == 1:
        return self._gather(name, split.owner[index], index, mask)
      first, last = split.first[index], split.first[index + 1]
      rows = np.concatenate([
          rng.permutation(np.resize(np.arange(a, b), max(each, b - a)))[:each]
          for a, b in zip(first, last)])
      return self._gather(name, index, rows, mask)

    return pipeline.endless(self._units, self._batch // each, gather,
                            self._config['seed'], *self._shard)

  def evaluation(self, name: str) -> Iterator[dict[str, np.ndarray]]:
    """Every question of a split exactly once, in batches of one shape."""
    split = self._split(name)
    rows = 4 * self._batch  # No gradients: there is room for more.
    for index, true in pipeline.once(len(split.texts), rows, *self._shard):
      yield self._gather(name, split.owner[index], index, true)

  def prior(self, name: str) -> dict[str, float]:
    """Accuracy in percent without looking at the picture.

    Gives the most frequent training answer of the same question, or of the
    same question type where the question is new.
    """
    train = self._config['train']
    by_text = collections.defaultdict(collections.Counter)
    by_kind = collections.defaultdict(collections.Counter)
    split = self._split(train)
    for question, kind, ten in zip(split.texts, split.kinds, split.answers):
      by_text[question].update(ten)
      by_kind[kind].update(ten)
    earned = collections.defaultdict(list)
    split = self._split(name)
    for question, kind, ten in zip(split.texts, split.kinds, split.answers):
      known = by_text.get(question) or by_kind.get(kind)
      guess = known.most_common(1)[0][0] if known else ''
      earned[kind].append(text.accuracies(ten).get(guess, 0.0))
      earned['overall'].append(earned[kind][-1])
    return {kind: 100 * float(np.mean(x)) for kind, x in earned.items()}


def load(config: Mapping[str, Any], vocab_dir: str | os.PathLike | None = None,
         shard_index: int = 0, shard_count: int = 1) -> Data:
  """The data of a config.

  Args:
    config: `name` as digit_scenes/easy, and any of `DEFAULTS`.
    vocab_dir: folder whose vocabularies are used if it has any.
    shard_index: this host.
    shard_count: number of hosts.

  Raises:
    ValueError: an unknown data set, config, split, input or option, or a
      damaged record file.
  """
  config = dict(config)
  for option in config:
    check_name(option, (*DEFAULTS, 'name'), 'option of config.data')
  for name in config.get('inputs', ()):
    check_name(name, INPUTS, 'input')
  return Data(DEFAULTS | config, vocab_dir, shard_index, shard_count)


def folder() -> pathlib.Path:
  """Where data sets are kept: $BST_JAX_DATA, or a folder of the user's cache."""
  default = pathlib.Path.home() / '.cache' / 'bst_jax' / 'datasets'
  return pathlib.Path(os.environ.get('BST_JAX_DATA') or default)


def read_split(config: Mapping[str, Any], name: str) -> Split:
  """A split of the config's data set, made first if it is not there."""
  builder = _builder(config['name'], config['data_dir'] or folder())
  check_name(name, builder.info.splits, f'split of {config["name"]}')
  pictures = collections.defaultdict(list)
  first, texts, kinds, answers = [0], [], [], []
  try:
    source = builder.as_data_source(split=name)
    count = min(config['limit'] or len(source), len(source))
    for i in range(count):
      record = source[i]
      for key in _arrays(config['inputs']):
        pictures[key].append(record[key])
      asked = record['questions']
      texts += [q.decode() for q in asked['question']]
      kinds += [k.decode() for k in asked['type']]
      answers += [a.decode().split('\n') for a in asked['answers']]
      first.append(len(texts))
  except (RuntimeError, ValueError, IndexError, OSError, KeyError) as error:
    raise ValueError(
        f'the records of split {name!r} of {config["name"]} cannot be read '
        f'({_first_line(error)}). Delete {builder.data_dir}: it is made anew.'
    ) from error
  return Split({key: _padded(rows) for key, rows in pictures.items()},
               np.array(first), texts, kinds, answers)


def _arrays(inputs):
  wanted = {'regions': ('regions', 'boxes'), 'image': ('image',)}
  return [key for name in inputs for key in wanted[name]]


def _padded(rows: list[np.ndarray]) -> np.ndarray:
  """One array of rows whose first axes differ, zeros behind the short ones."""
  longest = max(len(row) for row in rows)
  full = np.zeros((len(rows), longest, *rows[0].shape[1:]), rows[0].dtype)
  for out, row in zip(full, rows):
    out[:len(row)] = row
  return full


def _sizes(pictures):
  sizes = {}
  if 'regions' in pictures:
    sizes |= dict(zip(('num_regions', 'feature_size'),
                      pictures['regions'].shape[1:]))
  if 'image' in pictures:
    sizes['image_size'] = pictures['image'].shape[1]
  return sizes


def _builder(name: str, data_dir: str | os.PathLike):
  """The prepared TFDS builder of `set/config`."""
  base, _, variant = name.partition('/')
  check_name(base, BUILDERS, 'data set')
  module, _, cls = BUILDERS[base].partition(':')
  module = importlib.import_module(module)
  known = [c.name for c in getattr(module, cls).BUILDER_CONFIGS]
  check_name(variant or known[0], known, f'config of data set {base}')
  data_dir = pathlib.Path(data_dir).expanduser()
  builder = getattr(module, cls)(
      config=variant or known[0], data_dir=str(data_dir),
      file_format='array_record')
  with _lock(data_dir / f'.{name.replace("/", "-")}.lock'):
    builder.download_and_prepare()
  return builder


@contextlib.contextmanager
def _lock(path: pathlib.Path):
  """Lets one process at a time make a data set; the others wait for it."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, 'w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _first_line(error: Exception) -> str:
  return (str(error).splitlines() or [type(error).__name__])[0]
