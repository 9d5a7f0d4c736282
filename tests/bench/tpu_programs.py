"""Programs of TPU slices in two checkouts: are they the same, line by line?

  pip install -e '.[tpu]' && git worktree add ../before f7ec9a5
  export JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 ALLOW_MULTIPLE_LIBTPU_LOAD=1
  PYTHONPATH=../before python tests/bench/tpu_programs.py --output before
  PYTHONPATH=. python tests/bench/tpu_programs.py --output now --against before

Lowers, and does not compile, the training steps of docs/scale.md for v5e:16x16,
with the folder's configs, and counts the lines that differ but for the numbers
of values: the same operations of the same shapes.
"""
import argparse
import collections
import pathlib
import re

from bst_jax.ahead import programs, topology
from bst_jax.host.config_flag import load_config

# Config, batch of a chip, and whether it loops over layers.
STEPS = {
    'bst_mcan_vqa.py': (64, True),
    'bst_uniter_vqa.py': (256, True),
    'bst_clip_vil_vqa.py': (32, True),
    'ats_deit_s.py': (128, False),
    'ats_timesformer.py:base': (1, False),
}


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--against', type=pathlib.Path)
  args = parser.parse_args()

  topology.prepare()  # Before jax is imported.
  from bst_jax.learn import sharding
  from bst_jax.run import experiment

  args.output.mkdir(parents=True, exist_ok=True)
  part = topology.check('v5e:16x16')
  for path, (batch, scan) in STEPS.items():
    config = load_config(f'configs/{path}')
    config.compute.update(dtype='bfloat16', scan=scan)
    exp = experiment.build(config, experiment.sizes_of(config))
    mesh = sharding.make_mesh(config.mesh, topology.devices(part))
    text = programs.train(
        exp, mesh, batch * mesh.devices.size).lowered.as_text()
    name = f'{path.replace(":", "_")}.txt'
    (args.output / name).write_text(text)
    said = f'{path}: {len(text.splitlines()):,} lines'
    if args.against:
      here, there = lines(text), lines((args.against / name).read_text())
      said += (f', {sum((here - there).values())} of them here alone, '
               f'{sum((there - here).values())} there alone')
    print(said, flush=True)


def lines(text):
  """How often each line stands there, without the numbers of its values."""
  return collections.Counter(
      re.sub(r'%[\w#:]+', '%', line).strip() for line in text.splitlines())


if __name__ == '__main__':
  main()
