"""The way in: a data set, by its name, as batches and vocabularies."""
from collections.abc import Mapping
import dataclasses
import os
import pathlib
from typing import Any

from bst_jax.data import answers as answers_lib
from bst_jax.data import batches as batches_lib
from bst_jax.data import clips as clips_lib
from bst_jax.data import facts as facts_lib
from bst_jax.data import image as image_lib
from bst_jax.data import labels, pipeline, prior, tables, text, word_pieces
from bst_jax.data import records as records_lib
from bst_jax.elastic import check_name
import grain

DEFAULTS = dict(
    name='digit_scenes/easy',  # Data set and its config.
    train='train',  # Split to train on; several as 'train+vg'.
    eval='test',  # Split to evaluate at the end.
    watch='',  # Split to evaluate while training.
    batch=64,  # Questions of a training step, over all hosts.
    questions_per_picture=1,  # They share the picture in a batch.
    eval_questions_per_picture=0,  # The same in evaluation; 0: as above.
    inputs=('regions',),  # Of 'regions' (with boxes) and 'image'.
    word_pieces='',  # A BERT vocab.txt; '': words of the training questions.
    max_tokens=14,  # Longer questions are cut off.
    blank_regions=False,  # Fill up with blank regions that models attend to.
    image_size=0,  # Of pictures: height and width, or a side; 0: their own.
    image_fit='stretch',  # Or 'black', 'mean': bars keep the proportions.
    words_from='',  # Split whose questions give the words; '': training's.
    answers_from='',  # Split whose answers give the list; '': training's.
    min_answers=1,  # How often an answer is given that the list has.
    scoring='official',  # Or 'fixed': GQA's answers compared in normal form.
    allow_overlap=False,  # Evaluate on pictures that training shows?
    data_dir='',  # Home of data sets; '': BST_JAX_DATA or a cache.
    manual_dir='',  # Files of yours that the data set is made from.
    max_bad=0,  # Bad records that may be left out while it is made.
    num_regions=0,  # Of a picture in a batch; 0: the data set's own.
    seed=0,  # Of the order of training.
    limit=0,  # If positive, pictures of a split at most.
    cache='auto',  # Decoded in memory: True, False or, if small, 'auto'.
    sizes=None,  # For commands that build a model without its data.
    threads=0,  # That make batches ahead; 0: chosen by the kind of input.
)
INPUTS = ('regions', 'image')
SCORINGS = ('official', 'fixed')
_EVAL_BATCHES = 4  # of training make one of evaluation
_FILES = ('words.json', 'answers.json', 'types.json')


def load(config: Mapping, vocab_dir: str | os.PathLike | None = None,
         batch: int | None = None, shard_index: int = 0,
         shard_count: int = 1) -> 'Data | labels.Labels':
  """Opens a data set, and makes it first if it is not on disk.

  Args:
    config: some or all of `DEFAULTS`; of `labels.DEFAULTS` where pictures have
      classes, and of `clips.OPTIONS` too where videos have.
    vocab_dir: where `save_vocab` wrote the vocabularies; they are made from
      the training split where this is None or holds none.
    batch: instead of config's, questions of a batch over all hosts.
    shard_index: this host.
    shard_count: number of hosts.
  """
  config = dict(config)
  for key in config:
    check_name(key, DEFAULTS | labels.DEFAULTS | clips_lib.OPTIONS,
               'option of config.data')
  if batch is not None:
    config['batch'] = batch
  builder = records_lib.prepare(
      config.get('name', DEFAULTS['name']),
      *(config.get(key, DEFAULTS[key])
        for key in ('data_dir', 'manual_dir', 'max_bad')),
      config.get('max_missing', clips_lib.OPTIONS['max_missing']))
  kind = labels.Labels if 'label' in builder.info.features else Data
  return kind(config, builder, vocab_dir, shard_index, shard_count)


class Data:
  """A data set's batches, with what a model needs to be built for it.

  A batch is a dict of numpy arrays for P pictures of Q questions each, B = P
  Q; question q of picture p stands in row p Q + q:
    regions: float32[P, N, F] and boxes: float32[P, N, 4], x1 y1 x2 y2 as
      shares of the picture; zero rows are padding. For the input 'regions'.
    image: uint8[P, H, W, 3]. For the input 'image'.
    tokens: int32[B, T].
    target: float32[B, A], soft scores to train on.
    score: float32[B, A], official accuracy of each answer.
    type: int32[B], question types.
    mask: bool[B], false for padding.

  Attributes:
    vocab: words of the training questions, or word pieces.
    answers: training answers, the most frequent first.
    types: question types, sorted.
    vocabularies: {what: names} that models of the data agree on.
    floor, unit: what `prior` is, and what is counted, for tables.
    sizes: {'vocab_size', 'num_answers', 'max_tokens'} and, for the inputs
      asked for, {'num_regions', 'feature_size', 'image_size'}.
    epoch: batches, not whole, in which training sees every picture once, or
      every question with one question a picture.
    steps_per_epoch: the whole ones of them, at least one.
    rule: how answers compare, a name in `answers.RULES`.
    example: a training batch of this host, filled with zeros.
  """

  floor, unit = 'question only', 'questions'

  def __init__(self, config: dict, builder: Any,
               vocab_dir: str | os.PathLike | None = None,
               shard_index: int = 0, shard_count: int = 1):
    for key in config:
      check_name(key, DEFAULTS, 'option of config.data of questions')
    self._config, self._builder = (config := DEFAULTS | config), builder
    for name in config['inputs']:
      check_name(name, INPUTS, 'input')
    self._shape = batches_lib.shape(
        config['batch'], config['questions_per_picture'], shard_index,
        shard_count)
    # More pictures than in training, as no gradients take room; a multiple, so
    # that they divide over devices too.
    self._eval_shape = dataclasses.replace(
        self._shape, pictures=_EVAL_BATCHES * self._shape.pictures,
        questions=config['eval_questions_per_picture']
        or self._shape.questions)
    self._splits, self._rows = {}, {}

    check_name(config['scoring'], SCORINGS, 'way of scoring')
    check_name(config['image_fit'], image_lib.FITS, 'way to fit a picture')
    self._facts = facts_lib.of(self._builder)
    fixed = f'{self._facts.rule}_fixed'
    self.rule = (fixed if config['scoring'] == 'fixed'
                 and fixed in answers_lib.RULES else self._facts.rule)
    records_lib.parts_of(self._builder, config['train'])
    for key in ('eval', 'watch'):
      if config[key]:
        self._check_unseen(config[key])
    self.vocab, self.answers, self.types = _vocabularies(
        self._asked(config['words_from'] or config['train']),
        self._asked(config['answers_from'] or config['train']),
        self._facts.types, vocab_dir, config['min_answers'], self.rule,
        config['word_pieces'])
    if not any(self._split(config['train']).questions.answers):
      raise ValueError(
          f'Split {config["train"]!r} of {config["name"]} was to be trained '
          'on, but has no answers. Give config.data.train a split that has.')

    batches = self._batches(config['train'], self._shape)
    self.epoch = batches.epoch()
    self.steps_per_epoch = max(1, int(self.epoch))
    self.example = batches.empty()
    self.sizes = dict(vocab_size=len(self.vocab),
                      num_answers=len(self.answers),
                      max_tokens=config['max_tokens'])
    if 'regions' in self.example:
      _, regions, features = self.example['regions'].shape
      self.sizes |= dict(num_regions=regions, feature_size=features)
    if 'image' in self.example:
      height, width = self.example['image'].shape[1:3]
      self.sizes |= dict(
          image_size=height if height == width else (height, width))

  @property
  def vocabularies(self) -> dict[str, object]:
    return {'words': self.vocab, 'answers': tuple(self.answers)}

  def save_vocab(self, folder: str | os.PathLike):
    """Writes the vocabularies, for `load` to read as `vocab_dir`."""
    words, answers, types = (pathlib.Path(folder, f) for f in _FILES)
    self.vocab.save(words)
    text.save_list(answers, self.answers)
    text.save_list(types, self.types)

  def train(self) -> grain.DatasetIterator:
    """Endless training batches; has `get_state` and `set_state`."""
    split = self._config['train']
    return pipeline.train(self._batches(split, self._shape),
                          self._config['seed'], self._threads(split))

  def evaluation(self, split: str = '') -> pipeline.Evaluation:
    """Batches with each question of a split once; has a length.

    Args:
      split: its name; '' is the one that config names as `eval`.
    """
    split = split or self._config['eval']
    self._check_unseen(split)
    return pipeline.Evaluation(self._batches(split, self._eval_shape),
                               self._threads(split))

  def prior(self, split: str = '') -> dict[str, float]:
    """Percent of VQA accuracy that the questions alone give.

    The answer is the most frequent one in training for the same words, or for
    the same question type where training never asked so.

    Args:
      split: as in `evaluation`.

    Returns:
      'overall', then each question type -> accuracy.
    """
    train = self._split(self._config['train']).questions
    asked = self._split(split or self._config['eval']).questions
    if not any(asked.answers):
      raise ValueError(
          f'Split {split!r} of {self._config["name"]} was to be scored, but '
          'has no answers. Write files of results for an evaluation server '
          'instead: python -m bst_jax.evaluate --results')
    return prior.of(train, asked, self.answers, self.rule, self.types)

  def has_answers(self, split: str) -> bool:
    """Whether a split can be scored, not only predicted."""
    return any(self._split(split).questions.answers)

  def ids(self, split: str) -> list[str]:
    """Ids of a split's questions, in the order of `Evaluation.rows`."""
    ids = self._split(split).questions.ids
    if not all(ids):
      raise ValueError(
          f'Ids of the questions of {self._config["name"]} were asked for, but '
          'it has none. Use a data set of an evaluation server.')
    return ids

  def written(self) -> dict[str, str]:
    """{answer of the list: as it is written for a server} where they differ.

    With GQA and `fixed` scoring these are the answers that lost an article or
    a hyphen.
    """
    if self.rule != 'gqa_fixed':
      return {}
    return answers_lib.raw_forms(self._asked(
        self._config['answers_from'] or self._config['train']).truths)

  def _split(self, name: str) -> tables.Split:
    """The split, read when it is first asked for."""
    if name not in self._splits:
      config, inputs = self._config, tuple(self._config['inputs'])
      parts = ['questions', *inputs]
      if 'regions' in inputs:
        parts.append('boxes')
      for part in parts:
        check_name(part, self._builder.info.features,
                   f'part of the records of {config["name"]}')
      size = config['image_size']
      size = self._facts.image_size if size in (0, (0,), [0]) else size
      if 'image' in inputs and not size:
        raise ValueError(
            f'Pictures of {config["name"]} were asked for as they are, but '
            'they have many sizes and a batch has one. Give '
            'config.data.image_size.')
      records = records_lib.read(self._builder, name, parts, config['limit'])
      decoder = tables.Decoder(
          inputs, config['num_regions'] or self._facts.num_regions, size,
          records.name, config['blank_regions'], config['image_fit'])
      self._splits[name] = tables.read(records, decoder, config['cache'])
    return self._splits[name]

  def _asked(self, name: str) -> tables.Questions:
    """Questions of a split, read without its pictures where none are needed."""
    if name == self._config['train'] or name in self._splits:
      return self._split(name).questions
    return tables.questions(records_lib.read(
        self._builder, name, ['questions'], self._config['limit']))

  def _check_unseen(self, name: str):
    """Raises where there is no such split, or training shows its pictures."""
    shown = set()
    for part in records_lib.parts_of(self._builder, self._config['train']):
      shown.update(self._facts.pictures.get(part, ()))
    parts = records_lib.parts_of(self._builder, name)
    both = [p for part in parts for p in self._facts.pictures.get(part, ())
            if p in shown]
    if both and not self._config['allow_overlap']:
      raise ValueError(
          f'Split {name!r} was to be evaluated, but training on '
          f'{self._config["train"]!r} shows {len(both)} of its pictures, as '
          f'{both[:3]}: the accuracy would say too much. Use another split, or '
          'config.data.allow_overlap (evaluate: --allow_overlap) if that is '
          'meant.')

  def _batches(self, name: str,
               shape: batches_lib.Shape) -> batches_lib.Batches:
    """Batches of a split with its questions as numbers."""
    split = self._split(name)
    if name not in self._rows:
      self._rows[name] = tables.encode(
          split.questions, self.vocab, self.answers, self.types,
          self._config['max_tokens'], self.rule)
    return batches_lib.Batches(self._rows[name], split.pictures, shape)

  def _threads(self, name: str) -> int:
    """How many threads make batches ahead."""
    # Gathering rows is quicker than handing them over: one thread is enough.
    in_memory = isinstance(self._split(name).pictures, tables.Memory)
    return self._config['threads'] or (1 if in_memory else 16)


def read_vocabularies(folder: str | os.PathLike,
                      ) -> tuple[word_pieces.Words, tuple[str, ...],
                                 tuple[str, ...]]:
  """Words, answers and question types that `Data.save_vocab` wrote."""
  missing = [f for f in _FILES if not pathlib.Path(folder, f).exists()]
  if missing:
    raise ValueError(
        f'The vocabularies in {folder} were to be read, but {missing} are '
        f'missing, and others made now might not match. Put all of {_FILES} '
        'there, or none.')
  words, answers, types = (pathlib.Path(folder, f) for f in _FILES)
  return (word_pieces.load(words), tuple(text.load_list(answers)),
          tuple(text.load_list(types)))


def read_names(folder: str | os.PathLike) -> dict[str, object]:
  """{'words', 'answers'} that `save_vocab` wrote; classes have no words."""
  if pathlib.Path(folder, labels.CLASSES).exists() and not (
      pathlib.Path(folder, _FILES[0]).exists()):
    return {'answers': tuple(text.load_list(
        pathlib.Path(folder, labels.CLASSES)))}
  words, answers, _ = read_vocabularies(folder)
  return {'words': words, 'answers': answers}


def _vocabularies(asked: tables.Questions, answered: tables.Questions,
                  types: tuple[str, ...], folder: str | os.PathLike | None,
                  min_answers: int, rule: str, pieces: str,
                  ) -> tuple[word_pieces.Words, tuple[str, ...],
                             tuple[str, ...]]:
  """Words, answers and types: those in the folder, else of the questions."""
  if folder is not None:
    if any(pathlib.Path(folder, f).exists() for f in _FILES):
      return read_vocabularies(folder)
  normal = answers_lib.rule(rule).normal
  truths = [normal(truth) for truth, said in zip(
      answered.truths, answered.answers) if said]
  answers = text.rank_answers(truths, min_answers)
  if truths and not answers:
    raise ValueError(
        f'An answer list was to be made, but none of the answers is given '
        f'{min_answers} times. Lower config.data.min_answers.')
  words = (word_pieces.WordPieces.read(pieces) if pieces else
           text.Vocabulary.build(asked.texts))
  return (words, answers,
          tuple(sorted({*asked.types, *types})))
