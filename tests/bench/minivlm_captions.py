"""Captions of digit scenes: by masked words, then by rewards, beside what is true.

  python tests/bench/minivlm_captions.py --output runs/captions --seeds 0 1 2

For every seed configs/minivlm_caption_scenes.py learns masked words, and its `:scst`
goes on from there with CIDEr-D as the reward. Beside them stand one caption for all
pictures, the one of --candidates training captions that is worth most there, and the
five sorts of sentences that the data set has, of the plates as they are: a model
cannot know which sort is wanted. Prints scores of the test split, mean and range of
seeds. Finished runs are kept: the same command goes on where it stopped.
"""
import argparse
import pathlib

from bst_jax.data.builders.digit_scenes import (
  captions,
  examples,
  programs,
  scenes,
)
from bst_jax.data.builders.digit_scenes.draws import Draws
from bst_jax.report import scoring
from bst_jax.scores import captions as scores
from configs import minivlm_caption_scenes
import kept

NUMBERS = 'CIDEr-D', 'CIDEr', 'BLEU-4', 'ROUGE-L', 'open ends'
SORTS = {'all plates': captions._list, 'counts': captions._count,
         'one plate': captions._one, 'digits': captions._digits,
         'first and last': captions._place}
_STREAM = 80  # Sets these draws apart from those of the data set.


def trained(variant, seed, args, start=None):
  """The workdir of a variant of the config."""
  config = minivlm_caption_scenes.get_config(variant)
  config.seed = seed
  config.steps = args.rewarded_steps if variant == 'scst' else args.steps
  if start:
    config.start = str(start)
  config.save_every, config.eval_every, config.data.watch = 10 ** 6, 0, ''
  return kept.trained(args.output / f'{variant or "masked"}-{seed}', config)


def models(args):
  """{row: {number: its values, one a seed}} of what is trained."""
  found = {}
  for seed in args.seeds:
    first = trained('', seed, args)
    for row, workdir in (('masked words', first),
                         ('then rewards', trained('scst', seed, args, first))):
      numbers = kept.scored(workdir)[0]['numbers']
      for name in NUMBERS:
        found.setdefault(row, {}).setdefault(name, []).append(numbers[name])
  return found


def pictures(split, count):
  """Pictures of a split of the easy scenes."""
  return [*examples.generate(scenes.EASY, programs.EASY, split, count)]


def without_a_model(args):
  """{row: scores} of one caption for all, and of sorts of what is true."""
  train, test = pictures('train', 1000), pictures('test', 1000)
  references = [picture.captions for picture in test]
  several = [text for picture in train for text in picture.captions]
  step = len(several) // args.candidates
  best = max(several[::step], key=lambda text: scores.of_texts(
      [text] * len(train), [picture.captions for picture in train])['CIDEr-D'])
  found = {f'for all: "{best}"': scores.of_texts([best] * len(test), references)}
  for name, write in SORTS.items():
    found[f'true, {name}'] = scores.of_texts(
        [write(picture.plates, Draws(0, _STREAM, i))
         for i, picture in enumerate(test)], references)
  return found


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
  parser.add_argument('--steps', type=int, default=1500)
  parser.add_argument('--rewarded_steps', type=int, default=300)
  parser.add_argument('--candidates', type=int, default=60)
  args = parser.parse_args()
  kept.programs(args.output)
  lines = [('', *NUMBERS)]
  for row, numbers in without_a_model(args).items():
    lines.append((row, *(f'{numbers[name]:.1f}' for name in NUMBERS)))
  for row, numbers in models(args).items():
    lines.append((row, *(kept.spread(numbers[name]) for name in NUMBERS)))
  print(f'{args.steps} steps of masked words and {args.rewarded_steps} of rewards, '
        f'seeds {args.seeds}')
  print(scoring.aligned(lines))


if __name__ == '__main__':
  main()
