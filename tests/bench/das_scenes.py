"""Ways to tune a small ViLT or METER for questions or statements, on digit scenes.

  python tests/bench/das_scenes.py --output runs/das --seeds 0 1 2
  python tests/bench/das_scenes.py --output runs/das --seeds 0 1 2 --model meter
  python tests/bench/das_scenes.py --output runs/das --seeds 0 --about statements

configs/das_scenes.py, shorter: for each seed one pre-training on masked words and
on captions that match, and from it every way to tune: all parameters, the head
alone, adapters, LoRA, prompts (--ways), and DAS, which finds 1, 2 and 4 layers to skip
(--skips).
Beside it random sets of as many layers, and with --singles every single layer.
Prints test accuracy, mean and range of seeds, parameters that are trained and
that are left, multiply-accumulates, and milliseconds of 16 questions, in turns:
the median of --rounds and its ratio to the whole model's. --about statements is of
sentences about two pictures, true or false. Finished runs are kept:
the same command goes on where it stopped.
"""
import argparse
import itertools
import pathlib
import statistics

from bst_jax import elastic
from bst_jax.learn import paths
from bst_jax.report import latency, scoring
from bst_jax.run import experiment, searches
from bst_jax.store import checkpoint
from configs import das_scenes
import jax
import kept
import numpy as np

WAYS = ('full', 'classifier', 'sequential', 'parallel', 'scaled', 'lora',
        'prompt')
SKIPS = (1, 2, 4)
QUESTIONS = 16  # At a time, when latency is measured.


def config_of(variant, seed, args, steps):
  """A variant of the config with a seed, for so many steps."""
  config = das_scenes.get_config(
      ','.join((*({args.model, args.about} & {'meter', 'statements'}), variant)))
  config.seed, config.steps = seed, steps
  config.save_every, config.data.watch = 10 ** 6, ''
  return config


def named(args):
  """How folders of a model begin."""
  return args.model if args.about == 'questions' else f'{args.model}-{args.about}'


def pretrained(seed, args):
  """The workdir that every way starts from."""
  return kept.trained(
      args.output / f'{named(args)}-pretrained-{seed}',
      config_of('pretrain', seed, args, args.pretrain_steps))


def tuned(way, seed, args, skips=0, skip=None):
  """The workdir of a way, with layers found, or given, that are skipped."""
  start = str(pretrained(seed, args))
  config = config_of(way, seed, args, args.steps)
  config.start.workdir = start
  name = way
  if skips:
    search, name = config.search, f'das-{skips}'
    search.method.skips, search.start.workdir = skips, start
    search.steps = args.search_steps
    search.method.warmup = args.search_steps // 3
    search.save_every = 10 ** 6
  elif skip is not None:
    config = searches.settled(config, skip)
    name = 'skip-' + '-'.join(path.replace('/', '.') for path in skip)
  return kept.trained(args.output / f'{named(args)}-{name}-{seed}', config)


def candidates(seed, args):
  """Paths of the layers that may be skipped."""
  config = config_of('das', seed, args, args.steps).search
  sizes = experiment.load(pretrained(seed, args)).sizes
  return experiment.build(config, sizes | dict(num_answers=2)).model.candidates


def random_sets(seed, args):
  """{skips: a random set of as many layers}."""
  rng, known = np.random.default_rng(seed), candidates(seed, args)
  found = {skips: tuple(known[i] for i in sorted(rng.permutation(
      len(known))[:skips])) for skips in SKIPS}
  return {skips: found[skips] for skips in args.skips}


def rows_of(seed, args):
  """{row: workdir} of a seed."""
  found = {way: tuned(way, seed, args) for way in args.ways}
  for skips in args.skips:
    found[f'DAS, {skips} skipped'] = tuned('das', seed, args, skips)
  for skips, skip in random_sets(seed, args).items():
    found[f'{skips} at random'] = tuned('das', seed, args, skip=skip)
  return found


def trained_size(workdir):
  """Parameters that were trained."""
  exp = experiment.load(workdir)
  every = elastic.flatten(exp.shapes)
  parts = exp.config.optimizer.get('parts') or {}
  frozen = {path for path in every if (glob := paths.closest(
      parts, path, 'part')) and parts[glob].get('frozen')}
  return sum(leaf.size for path, leaf in every.items() if path not in frozen)


def milliseconds(workdirs, rounds):
  """{row: (median milliseconds, ratio to the first row)}, measured in turns."""
  runs = {}
  for row, workdir in workdirs.items():
    exp = experiment.load(workdir)
    params, batch = checkpoint.load_params(workdir, exp.shapes), exp.example(
        QUESTIONS)
    run = jax.jit(lambda p, b, model=exp.model: model.apply({'params': p}, b))
    runs[row] = lambda run=run, params=params, batch=batch: run(params, batch)
  times = {row: [] for row in runs}
  for _ in range(rounds):
    for row, run in runs.items():
      times[row].append(1e3 * latency.median_seconds(run, 5))
  first = next(iter(times.values()))
  return {row: (statistics.median(each), statistics.median(
      a / b for a, b in zip(each, first))) for row, each in times.items()}


def table(seeds, args):
  """The lines of all ways."""
  taken = milliseconds(seeds[0], args.rounds)
  lines = [('', 'accuracy', 'trained', 'params', 'MACs', 'ms', 'of full')]
  for row in seeds[0]:
    scores = [kept.scored(of[row])[0] for of in seeds]
    lines.append((
        row, kept.spread([score['accuracy'] for score in scores]),
        f'{trained_size(seeds[0][row]):,}', f'{scores[0]["params"]:,}',
        f'{scores[0]["macs"]:,}', f'{taken[row][0]:.1f}',
        f'{taken[row][1]:.2f}'))
  return lines


def singles(args):
  """Lines of every single layer skipped, and where DAS's choice stands."""
  lines = [('skipped', *(f'seed {seed}' for seed in args.singles), 'mean')]
  each, places = {}, []
  for seed in args.singles:
    of = {path: kept.scored(tuned('das', seed, args, skip=(path,)))[0][
        'accuracy'] for path in candidates(seed, args)}
    chosen, = searches.found(tuned('das', seed, args, 1))
    places.append(f'seed {seed}: {chosen} is number '
                  f'{sorted(of.values(), reverse=True).index(of[chosen]) + 1} '
                  f'of {len(of)}')
    for path, accuracy in of.items():
      each.setdefault(path, []).append(accuracy)
  for path, values in sorted(each.items(), key=lambda item: -sum(item[1])):
    lines.append((path, *(f'{value:.1f}' for value in values),
                  f'{sum(values) / len(values):.1f}'))
  return lines, places


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
  parser.add_argument('--model', choices=('vilt', 'meter'), default='vilt')
  parser.add_argument('--about', choices=('questions', 'statements'),
                      default='questions')
  parser.add_argument('--pretrain_steps', type=int, default=600)
  parser.add_argument('--search_steps', type=int, default=300)
  parser.add_argument('--steps', type=int, default=400)
  parser.add_argument('--ways', nargs='*', default=WAYS, choices=WAYS)
  parser.add_argument('--skips', type=int, nargs='*', default=SKIPS,
                      choices=SKIPS)
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--singles', type=int, nargs='*', default=[],
                      help='seeds whose single layers are all tried')
  args = parser.parse_args()
  kept.programs(args.output)
  print(f'{args.model}, {args.about}, {args.steps} steps after {args.pretrain_steps} of '
        f'pre-training, seeds {args.seeds}')
  found = [rows_of(seed, args) for seed in args.seeds]
  print(scoring.aligned(table(found, args)))
  for seed, of in zip(args.seeds, found):
    print(f'seed {seed}:', '; '.join(
        f'{skips} skipped: {", ".join(searches.found(of[row]))}'
        for skips, row in zip(args.skips, itertools.islice(
            (row for row in of if row.startswith('DAS')), len(args.skips)))))
  if args.singles:
    lines, places = singles(args)
    print(scoring.aligned(lines))
    print('\n'.join(places))


if __name__ == '__main__':
  main()
