"""Two-process training under fire: killed, restarted, and compared.

  python tests/bench/under_fire.py --output runs/fire

Trains a tiny model in two processes undisturbed, and again while one of them,
drawn by chance, gets SIGKILL: `--kills` times at steps drawn by chance, and once
in the middle of writing a checkpoint. After each kill it waits for the other
process to end by itself, and starts both again. In the end parameters, losses
and scores must be bit for bit those of the undisturbed run.
"""
import argparse
import json
import pathlib
import sys
import time

from bst_jax import elastic
from bst_jax.run import progress as metrics
from bst_jax.store import checkpoint
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import two_processes as two  # noqa: E402

_UNFINISHED = '*.orbax-checkpoint-tmp'


def shoot(workdir, logs, cache, changes, victim, when):
  """Starts both, kills one once `when()`; how both ended, or None if it never.
  """
  before = two.last_step(workdir)
  runs = two.start(logs, (workdir, changes), cache=cache)
  if not two.wait_for(when, runs):
    two.finish(logs, runs)
    return None
  runs[victim].kill()
  began = time.monotonic()
  results = two.finish(logs, runs)
  code, said = results[1 - victim]
  assert code not in (0, 2), said
  reason = [line for line in said.splitlines() if 'process' in line]
  return dict(victim=victim, began_at=before, step=two.last_step(workdir),
              code=code, seconds=time.monotonic() - began,
              said=(reason or [''])[-1][:160])


def unfinished(workdir):
  """Names of checkpoints that are being written, or were at a kill."""
  return {path.name for path in (workdir / 'checkpoints').glob(_UNFINISHED)}


def differences(one, other):
  """What of two workdirs is not the same, in words."""
  found = []
  a, b = (elastic.flatten(checkpoint.load_params(w)) for w in (one, other))
  if a.keys() != b.keys() or not all(np.array_equal(a[k], b[k]) for k in a):
    found.append('parameters')
  of = lambda workdir: [
      {k: v for k, v in row.items() if not k.endswith(('_per_s', '_share'))}
      for row in metrics.read(workdir)]
  if of(one) != of(other):
    found.append('metrics')
  name = 'evaluation_test.json'
  if (one / name).read_text() != (other / name).read_text():
    found.append('scores')
  return found


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--kills', type=int, default=10)
  parser.add_argument('--steps', type=int, default=60)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args()
  output, rng = args.output.resolve(), np.random.default_rng(args.seed)
  cache, changes = output / 'compiled', dict(
      steps=args.steps, save_every=3, log_every=1)
  straight, fire = output / 'straight', output / 'fire'
  if straight.exists() or fire.exists():
    raise SystemExit(f'{output} has runs already; give a new --output.')

  logs = output / 'logs' / 'straight'
  for code, said in two.finish(
      logs, two.start(logs, (straight, changes), cache=cache)):
    assert code == 0, said
  print(f'undisturbed: {args.steps} steps', flush=True)

  shots = []
  steps = np.sort(rng.choice(np.arange(1, 3 * args.steps // 4), args.kills,
                             replace=False))
  for i, step in enumerate(steps.tolist()):
    shot = shoot(fire, output / 'logs' / str(i), cache, changes,
                 int(rng.integers(2)), lambda step=step: two.last_step(fire) >= step)
    shots.append(shot)
    print(f'kill {i + 1} at step {step}: {json.dumps(shot)}', flush=True)

  torn, shot = set(), {}
  while not torn and shot is not None:
    old = unfinished(fire)  # Left behind by kills; the next start clears them.
    shot = shoot(fire, output / 'logs' / 'write', cache, changes,
                 int(rng.integers(2)), lambda old=old: unfinished(fire) - old)
    torn = unfinished(fire) - old
    print(f'kill while a checkpoint was written, left behind '
          f'{", ".join(torn) or "none"}: {json.dumps(shot)}', flush=True)
  logs = output / 'logs' / 'end'
  for code, said in two.finish(
      logs, two.start(logs, (fire, changes), cache=cache)):
    assert code == 0, said
  found = differences(straight, fire)
  ends = [shot['seconds'] for shot in shots if shot]
  print(f'{len(ends)} kills at random steps; the other process ended within '
        f'{max(ends):.1f} s. Verdict: ' + (
            f'{" and ".join(found)} differ' if found else
            'bit for bit the undisturbed run'))
  raise SystemExit(bool(found))


if __name__ == '__main__':
  main()
