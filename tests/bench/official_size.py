"""Data of official size: files of VQA-v2's shape and counts, and what they take.

  python tests/bench/official_size.py files --folder /data/official
  python tests/bench/official_size.py time --folder /data/official --what \
      make open first prior feed

`files` writes question and annotation files in the official JSON form with
VQA-v2's counts (443,757 questions about 82,783 pictures to train on, 214,354
about 40,504 to validate, ten answers each) times --share, and region features
as a .tsv; all is drawn from --seed, and nothing in it means anything. `records`
writes the record files alone, of pictures with --regions x --feature_size
numbers, for `read`, and `pictures` a train/CLASS/NAME.jpg folder.

`time` runs each of --what in a process of its own and prints its seconds and the
most memory that it held:

  make    the record files are made
  open    `source.load`, which ends when a model could be built
  first   the same, to the first training batch
  prior   the question-only prior of `val`, once both splits are open
  feed    all batches of an evaluation on `val`, without a model
  evaluate  the command, of a small MCAN with four submodels on `val`
  read    pictures of real size, by one thread and by --threads
  train   batches of those for --seconds: what memory it takes
  classes a class folder that is made is opened
"""
import argparse
import base64
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np

SPLITS = {'train': (443_757, 82_783), 'val': (214_354, 40_504)}
ANNOTATORS = 10
STEPS = ('make', 'open', 'first', 'prior', 'feed', 'evaluate', 'read', 'train',
         'classes')
_WORDS, _ANSWERS = 14_000, 22_000
_SYLLABLES = ('ba', 'do', 'ki', 'lu', 'me', 'no', 'pe', 'ra', 'su', 'ti', 'vo',
              'wa', 'zu', 'gri', 'sta', 'plo')
_STARTS = ('what is the', 'what color is', 'is the', 'how many', 'are there',
           'where is the', 'what kind of', 'does this', 'why is', 'is this a')


def names(count, rng):
  """Made-up words, all different."""
  found = {}
  while len(found) < count:
    found[''.join(rng.choice(_SYLLABLES, rng.integers(2, 5)))] = None
  return list(found)


def often(rng, count, size):
  """Numbers below count, the small ones often, as words and answers are."""
  return np.minimum((count ** rng.random(size)).astype(int) - 1, count - 1)


def files(folder, share, seed, regions, feature_size):
  """Writes the questions, annotations and features."""
  folder.joinpath('features').mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  words, answers = names(_WORDS, rng), names(_ANSWERS, rng)
  first = 1
  for split, counts in SPLITS.items():
    asked, pictures = (max(1, round(share * n)) for n in counts)
    ids = np.arange(first, first + pictures)
    first += pictures
    _questions(folder, split, rng, words, answers, asked, ids)
    _features(folder / 'features' / f'{split}.tsv', rng, ids, regions,
              feature_size)


def _questions(folder, split, rng, words, answers, asked, ids):
  """Both files of a split, a question at a time."""
  of = np.concatenate([ids, rng.choice(ids, max(0, asked - len(ids)))])[:asked]
  starts = rng.integers(len(_STARTS), size=asked)
  more = often(rng, len(words), (asked, 3))
  lengths = rng.integers(1, 4, size=asked)
  kinds = rng.choice(3, asked, p=[0.38, 0.12, 0.5])
  truths = often(rng, len(answers), asked)
  said = np.where(rng.random((asked, ANNOTATORS)) < 0.7, truths[:, None],
                  often(rng, len(answers), (asked, ANNOTATORS)))
  with open(folder / f'{split}_questions.json', 'w') as questions, open(
      folder / f'{split}_annotations.json', 'w') as annotations:
    questions.write('{"info": {}, "task_type": "Open-Ended", "questions": [')
    annotations.write('{"info": {}, "annotations": [')
    for i in range(asked):
      comma = ', ' if i else ''
      picture, identity = int(of[i]), int(of[i]) * 1000 + i % 1000
      identity += 10 ** 9 * (i // 1000)
      text = ' '.join([_STARTS[starts[i]],
                       *(words[w] for w in more[i, :lengths[i]])])
      questions.write(comma + json.dumps({
          'image_id': picture, 'question': f'{text.capitalize()}?',
          'question_id': identity}))
      one = lambda a, kind=kinds[i]: (
          ('yes', 'no')[a % 2] if kind == 0 else str(a % 21) if kind == 1 else
          answers[a])
      annotations.write(comma + json.dumps({
          'question_type': _STARTS[starts[i]],
          'multiple_choice_answer': one(truths[i]),
          'answers': [{'answer': one(a), 'answer_confidence': 'yes',
                       'answer_id': j + 1} for j, a in enumerate(said[i])],
          'image_id': picture, 'question_id': identity,
          'answer_type': ('yes/no', 'number', 'other')[kinds[i]]}))
    questions.write(']}')
    annotations.write(']}')


def arrays(rng, regions, feature_size):
  """float32 features, half of them zero as after a ReLU, and boxes in pixels."""
  features = np.maximum(rng.standard_normal((regions, feature_size),
                                            np.float32), 0)
  corners = rng.random((regions, 4), np.float32) * 200
  corners[:, 2:] += corners[:, :2] + 1
  return features, corners


def _features(path, rng, ids, regions, feature_size):
  with open(path, 'w') as file:
    for picture in ids.tolist():
      features, boxes = arrays(rng, regions, feature_size)
      cells = (base64.b64encode(a.tobytes()).decode() for a in (boxes, features))
      file.write('\t'.join([str(picture), '640', '480', str(regions), *cells])
                 + '\n')


def pictures(folder, count, seed):
  """Writes train/CLASS/NAME.jpg and as many of val as a tenth."""
  from PIL import Image

  rng = np.random.default_rng(seed)
  for split, many in (('train', count), ('val', count // 10)):
    for i in range(many):
      place = folder / split / f'class{i % 100:03}'
      place.mkdir(parents=True, exist_ok=True)
      pixels = rng.integers(0, 256, (4, 4, 3), np.uint8)
      Image.fromarray(pixels).resize((48, 48)).save(place / f'{i:06}.jpg')


# What is timed: a function of the arguments that returns (label, number) pairs.


def options(args, **more):
  return dict(name='folder/regions', form='questions', train='train',
              eval='val', data_dir=str(args.home), min_answers=9, batch=64,
              manual_dir=str(args.folder)) | more | dict(
                  pair.split('=') for pair in args.option)


def load(args, **more):
  from bst_jax.data import source

  return source.load(options(args, **more))


class Watch:
  """Seconds since it was made, on the clock and of the processor."""

  def __init__(self):
    self._clock, self._used = time.perf_counter(), time.process_time()

  def __call__(self, label):
    clock = time.perf_counter() - self._clock
    return [(label, clock, 's'), (
        f'{label}, processor', time.process_time() - self._used, 's')]


def step_open(args):
  watch = Watch()
  data = load(args)
  yield from watch('open')
  yield 'epoch', data.epoch, 'batches'


def step_first(args):
  watch = Watch()
  data = load(args)
  batch = next(data.train())
  yield from watch('open to first batch')
  yield 'rows of it', len(batch['mask']), ''


def step_prior(args):
  data = load(args)
  data.split('val')
  watch = Watch()
  found = data.prior('val')
  yield from watch('prior')
  yield 'overall', found['overall'], '%'


def step_feed(args):
  data = load(args)
  watch = Watch()
  rows = sum(int(batch['mask'].sum()) for batch in data.evaluation('val'))
  yield from watch('batches of val')
  yield 'questions', rows, ''


_CONFIG = """
import ml_collections
from configs import bst_mcan_vqa


def get_config(arg=''):
  config = bst_mcan_vqa.get_config('tiny')
  config.data = ml_collections.ConfigDict({options})
  config.steps, config.log_every, config.save_every, config.eval_every = 1, 1, 1, 0
  config.evaluate_at_end = False
  return config
"""


def step_evaluate(args):
  args.home.mkdir(parents=True, exist_ok=True)
  path, workdir = (args.home / name for name in ('small.py', 'small_run'))
  path.write_text(_CONFIG.format(options=options(args)))
  run = lambda *command: subprocess.run(
      [sys.executable, '-m', *command], check=True, stderr=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL)
  if not workdir.exists():
    run('bst_jax.train', f'--config={path}', f'--workdir={workdir}')
  began = time.perf_counter()
  run('bst_jax.evaluate', f'--workdir={workdir}', '--split=val')
  yield 'evaluate', time.perf_counter() - began, 's'
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  yield 'processor of both commands', used.ru_utime + used.ru_stime, 's'
  yield 'most memory of it', used.ru_maxrss / 1024, 'MiB'


def step_make(args):
  began = time.perf_counter()
  from bst_jax.data import records

  given = options(args)
  records.prepare(*(given[k] for k in ('name', 'data_dir', 'manual_dir')))
  yield 'make', time.perf_counter() - began, 's'


def step_classes(args):
  from bst_jax.data import source

  given = dict(name='class_folders', data_dir=str(args.home), eval='val',
               manual_dir=str(args.folder), image_size=48, cache=False)
  source.load(given)  # It is made here.
  watch = Watch()
  data = source.load(given)
  yield from watch('open')
  yield 'pictures', data.epoch * 128, ''


def opened(args):
  """Training records of the folder's features, and what is read of them."""
  return load(args, cache=False).split('train').pictures


def step_read(args):
  from concurrent import futures

  many = opened(args)
  rng = np.random.default_rng(args.seed)
  for threads in (1, args.threads):
    count, began, used = 0, time.perf_counter(), time.process_time()
    with futures.ThreadPoolExecutor(threads) as pool:
      while time.perf_counter() - began < args.seconds:
        wanted = [rng.integers(len(many), size=64) for _ in range(threads)]
        list(pool.map(many, wanted))
        count += 64 * threads
    yield (f'read, {threads} threads',
           count / (time.perf_counter() - began), 'pictures/s')
    yield ('a processor second', count / (time.process_time() - used),
           'pictures')


def step_train(args):
  data = load(args, cache=False)
  batches = data.train()
  next(batches)
  count, began, used = 0, time.perf_counter(), time.process_time()
  while time.perf_counter() - began < args.seconds:
    next(batches)
    count += len(data.example['mask'])
  yield 'examples', count / (time.perf_counter() - began), '/s'
  yield 'examples a processor second', count / (time.process_time() - used), ''
  yield 'open files', len(os.listdir('/proc/self/fd')), ''


def alone(args):
  """Runs one step here and prints what it says, and this process' memory."""
  for label, number, unit in globals()[f'step_{args.what[0]}'](args):
    print(f'{args.what[0]:8} {label:28} {number:12,.2f} {unit}', flush=True)
  used = resource.getrusage(resource.RUSAGE_SELF)
  print(f'{args.what[0]:8} {"processor, with imports":28} '
        f'{used.ru_utime + used.ru_stime:12,.2f} s', flush=True)
  most = used.ru_maxrss / 1024
  print(f'{args.what[0]:8} {"most memory":28} {most:12,.0f} MiB', flush=True)


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('command', choices=('files', 'pictures', 'time', 'alone'))
  parser.add_argument('--folder', type=pathlib.Path, required=True)
  parser.add_argument('--home', type=pathlib.Path,
                      help='of the records; FOLDER_records without it')
  parser.add_argument('--share', type=float, default=1.0)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--regions', type=int, default=4)
  parser.add_argument('--feature_size', type=int, default=8)
  parser.add_argument('--count', type=int, default=50_000, help='of pictures')
  parser.add_argument('--what', nargs='+', default=STEPS[:5], choices=STEPS)
  parser.add_argument('--seconds', type=float, default=10.0)
  parser.add_argument('--threads', type=int, default=os.cpu_count())
  parser.add_argument('--option', nargs='*', default=[], metavar='KEY=VALUE',
                      help='of config.data')
  args = parser.parse_args()
  args.home = args.home or args.folder.with_name(f'{args.folder.name}_records')
  if args.command == 'files':
    files(args.folder, args.share, args.seed, args.regions, args.feature_size)
  elif args.command == 'pictures':
    pictures(args.folder, args.count, args.seed)
  elif args.command == 'alone':
    alone(args)
  else:
    for what in args.what:
      given = [arg for arg in sys.argv[2:]]
      place = given.index('--what') if '--what' in given else len(given)
      rest = given[place + 1:]
      while rest and not rest[0].startswith('--'):
        rest = rest[1:]
      subprocess.run([sys.executable, __file__, 'alone', *given[:place], *rest,
                      '--what', what], check=True)


if __name__ == '__main__':
  main()
