"""Whether a layer that is skipped costs nothing: time against what is counted.

  python tests/bench/das_skipped.py --rounds 7

METER's and ViLT's real sizes on pictures of --side pixels, random parameters,
float32, forward: with all layers, and with --skips of them skipped, as a model
without them (static) and as flags decide while a search runs (cond). The four take
turns. Prints the ratio of times, median and range, beside the ratio of
multiply-accumulates that bst_jax.report.costs counts.
"""
import argparse
import statistics
import time

from bst_jax.report import costs, latency
from bst_jax.run import experiment
from configs import das_meter_vqa, das_vilt_vqa
import jax
import jax.numpy as jnp


def built(name, skip, args):
  """The experiment of a backbone that skips these layers."""
  config = {'meter': das_meter_vqa, 'vilt': das_vilt_vqa}[name].get_config()
  config.search, config.model.skip = None, skip
  return experiment.build(config, dict(
      config.data.sizes, image_size=args.side))


def ways(name, args):
  """{what runs: (function without arguments, multiply-accumulates)}."""
  whole = built(name, None, args)
  some = whole.model.candidates
  some = some[::len(some) // args.skips][:args.skips]
  batch, found = whole.example(args.questions), {}
  for what, skip in (('static, all', ()), ('static, skipped', some)):
    exp = built(name, skip, args)
    params = latency.random_params(exp)
    run = jax.jit(lambda p, b, model=exp.model: model.apply({'params': p}, b))
    found[what] = (lambda run=run, params=params: run(params, batch),
                   costs.of(exp.model, params, batch).macs)
  params = latency.random_params(whole)
  run = jax.jit(lambda p, b, f: whole.model.apply({'params': p}, b, flags=f))
  for what, skipped in (('cond, all', ()), ('cond, skipped', some)):
    flags = jnp.array([path in skipped for path in whole.model.candidates])
    found[what] = (lambda flags=flags: run(params, batch, flags),
                   found[what.replace('cond', 'static')][1])
  return found


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--side', type=int, default=192)
  parser.add_argument('--questions', type=int, default=2)
  parser.add_argument('--skips', type=int, default=4)
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--models', nargs='+', default=['meter', 'vilt'])
  args = parser.parse_args()
  for name in args.models:
    found = ways(name, args)
    times = {what: [] for what in found}
    for run, _ in found.values():
      jax.block_until_ready(run())
    for _ in range(args.rounds):
      for what, (run, _) in found.items():
        began = time.perf_counter()
        jax.block_until_ready(run())
        times[what].append(time.perf_counter() - began)
    for kind in ('static', 'cond'):
      ratios = [b / a for a, b in zip(
          times[f'{kind}, all'], times[f'{kind}, skipped'])]
      counted = found[f'{kind}, skipped'][1] / found[f'{kind}, all'][1]
      taken = statistics.median(ratios)
      print(f'{name:6} {kind:7} {statistics.median(times[f"{kind}, all"]):.2f} s '
            f'whole; {args.skips} skipped: {taken:.3f} of the time '
            f'({min(ratios):.3f} to {max(ratios):.3f}), {counted:.3f} counted, '
            f'{taken / counted:.2f}', flush=True)


if __name__ == '__main__':
  main()
