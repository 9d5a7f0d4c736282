"""What pre-training on captions is worth to a small MiniVLM, and on its own captions.

  python -m bst_jax.train --config configs/tee_scenes.py --workdir runs/tee
  python tests/bench/minivlm_pretraining.py --detector runs/tee --output runs/words

The first --pictures training scenes of digit scenes `full`, as a folder of pictures
whose regions, and so their tags, the detector finds. Half of them have the captions of the data
set. A captioner that is trained on these writes captions of the other half. A model is
pre-trained (configs/minivlm_pretrain.py, words and tags) on the half, on both with
the written captions in the other, and on both with the data set's, as many steps each.
From these, and from random parameters, it learns --tasks on all training scenes, on
regions of the detector; from random parameters also for as many steps more as the
pre-training took. Prints test scores, mean and range of seeds. Finished runs are kept:
the same command goes on where it stopped.
"""
import argparse
import json
import pathlib
import re

import bst_jax
from bst_jax.data import picture_source
from bst_jax.data.builders.digit_scenes import examples, programs, scenes
from bst_jax.report import scoring
from bst_jax.run import captioner, extractor, features, pseudo_captions
from configs import minivlm_caption_scenes, minivlm_pretrain, minivlm_vqa
import kept
from PIL import Image

DATA = 'digit_scenes/full'
# Lists of captions: whose they are, of the first half and of the second.
LISTS = {'half': ('true', None), 'half, written for the rest': ('true', 'written'),
         'all': ('true', 'true')}
STARTS = 'nothing', 'nothing, more steps', *LISTS
TASKS = {'questions': 'accuracy %', 'captions': 'CIDEr-D %'}
_VAL = 200
_WORD = re.compile(r'\w+|[^\w\s]')
_SPECIAL = '[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'


def draw(args):
  """Writes pictures and words of the scenes; {picture: its captions}."""
  folder, told, words = args.output / 'pictures', {}, set()
  folder.mkdir(parents=True, exist_ok=True)
  for split, count in (('train', args.pictures), ('val', _VAL)):
    for i, example in enumerate(examples.generate(
        scenes.FULL, programs.FULL, split, count)):
      name = f'{split}_{i:05}.png'
      if not (folder / name).exists():
        Image.fromarray(example.image).save(folder / name)
      told[name] = example.captions
      for text in (*example.captions, *(q.text for q in example.questions)):
        words.update(_WORD.findall(text.lower()))
  (args.output / 'vocab.txt').write_text('\n'.join((*_SPECIAL, *sorted(words))))
  return told


def half_of(name, args):
  """0 or 1, in which half a picture is; None of those for validation."""
  split, _, number = pathlib.Path(name).stem.partition('_')
  return None if split == 'val' else int(int(number) >= args.pictures // 2)


def listed(which, told, args):
  """A folder for the data set caption_list, of a choice of captions."""
  place = args.output / re.sub(r'\W+', '_', which)
  if (place / 'captions.jsonl').exists():
    return place
  (place / 'images').mkdir(parents=True, exist_ok=True)
  lines = []
  for name, captions in told.items():
    half = half_of(name, args)
    source = 'true' if half is None else LISTS[which][half]
    if source is None:
      continue
    if source == 'written':
      captions = [written(args)[name]]
    image = place / 'images' / name
    if not image.exists():
      image.hardlink_to(args.output / 'pictures' / name)
    lines.append(json.dumps({
        'image': f'images/{name}', 'captions': captions, 'source': source,
        'split': 'train' if half is not None else 'val'}))
  (place / 'captions.jsonl').write_text('\n'.join(lines) + '\n')
  return place


def written(args):
  """{picture: the caption that a model wrote}."""
  lines = (args.output / 'written.jsonl').read_text().splitlines()
  return {one['image']: one['caption'] for one in map(json.loads, lines)}


def of_list(config, place, args):
  """The config on a folder's captions, with regions of the detector."""
  made = args.output / 'features' / place.name
  where = dict(manual_dir=str(place),
               data_dir=str(args.output / 'made' / place.name))
  features.write(
      extractor.Extractor(args.detector, batch=16),
      picture_source.of('caption_list', **where), made)
  config.data.update(
      name='caption_list', features=str(made), eval='val', watch='',
      word_pieces=str(args.output / 'vocab.txt'), **where)
  return config


def small(config, seed, steps):
  """The config of the model that all have, with its outputs by the task."""
  mask = config.model.get('mask', 'both')
  config.model = minivlm_vqa.SMALL | dict(mask=mask)
  config.seed, config.steps = seed, steps
  config.optimizer.update(lr=1e-3, clip=1.0)
  config.save_every, config.eval_every = 10 ** 6, 0
  return config


def pretrained(which, told, seed, args):
  """The workdir of a pre-training on a list."""
  config = minivlm_pretrain.get_config('scenes')
  config = of_list(small(config, seed, args.pretrain_steps),
                   listed(which, told, args), args)
  return kept.trained(
      args.output / f'pretrained-{re.sub(r"[^a-z]+", "_", which)}-{seed}', config)


def write_captions(told, args):
  """Lets a captioner of the half write those of the rest, once for all seeds."""
  config = minivlm_caption_scenes.get_config()
  config = of_list(small(config, 0, args.caption_steps),
                   listed('half', told, args), args)
  workdir = kept.trained(args.output / 'captioner', config)
  rest = args.output / 'rest'
  rest.mkdir(exist_ok=True)
  for name in told:
    if half_of(name, args) == 1 and not (rest / name).exists():
      (rest / name).hardlink_to(args.output / 'pictures' / name)
  writer = captioner.Captioner(
      bst_jax.load(workdir), extractor.Extractor(args.detector), batch=16)
  pseudo_captions.write(writer, rest, args.output / 'written.jsonl')


def tuned(task, start, workdir, seed, args):
  """The workdir of a task that starts from another, or from nothing."""
  config = (minivlm_vqa.get_config('scenes') if task == 'questions' else
            minivlm_caption_scenes.get_config())
  config = small(config, seed, args.steps + (
      args.pretrain_steps if start == 'nothing, more steps' else 0))
  config.schedule.warmup = 0.05
  config.data.update(
      name=DATA, features=str(args.output / 'features' / 'scenes'), watch='',
      word_pieces=str(args.output / 'vocab.txt'))
  config.data.max_tokens = 16 if task == 'questions' else 40
  if workdir:
    config.start = dict(
        workdir=str(workdir), fresh=('head',) if task == 'questions' else (),
        leave=('match_head', *(('words_head',) if task == 'questions' else ())))
  return kept.trained(args.output / '-'.join((
      task, re.sub('[^a-z]+', '_', start), str(seed))), config)


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--detector', required=True, help='its workdir')
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
  parser.add_argument('--starts', nargs='+', default=STARTS, choices=STARTS)
  parser.add_argument('--tasks', nargs='+', default=[*TASKS], choices=TASKS)
  parser.add_argument('--pictures', type=int, default=4000)
  parser.add_argument('--caption_steps', type=int, default=1500)
  parser.add_argument('--pretrain_steps', type=int, default=1000)
  parser.add_argument('--steps', type=int, default=1000)
  args = parser.parse_args()
  kept.programs(args.output)
  told = draw(args)
  features.write(extractor.Extractor(args.detector, batch=16),
                 picture_source.of(DATA), args.output / 'features' / 'scenes')
  write_captions(told, args)
  found = {}
  for seed in args.seeds:
    for start in args.starts:
      workdir = pretrained(start, told, seed, args) if (
          start in LISTS) else None
      for task in args.tasks:
        found.setdefault((start, task), []).append(kept.scored(
            tuned(task, start, workdir, seed, args))[0]['accuracy'])
  print(f'{DATA}, {args.pictures} pictures with captions or without, '
        f'{args.pretrain_steps} + {args.steps} steps, seeds {args.seeds}')
  lines = [('pre-trained on', *(f'{task}, {TASKS[task]}' for task in args.tasks))]
  for start in args.starts:
    lines.append((start, *(kept.spread(found[start, task])
                           for task in args.tasks)))
  print(scoring.aligned(lines))


if __name__ == '__main__':
  main()
