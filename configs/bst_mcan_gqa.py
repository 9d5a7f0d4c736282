"""MCAN with BST at its published size and schedule, GQA form.

  python -m bst_jax.train --config configs/mcan_gqa.py --workdir runs/mcan_gqa
  python -m bst_jax.train --config configs/bst_mcan_gqa.py \
      --workdir runs/bst_mcan_gqa --config.start=runs/mcan_gqa

The first trains the teacher, by the same schedule. Accuracy: not measured here,
the reference repository reports 58.37 test-dev at 1x1 and 56.69 at 1/4x1/3.
`:tiny` trains on the embedded data in a minute on a CPU.
"""
from configs import common, mcan_gqa


def get_config(arg=''):
  config = common.sandwich(mcan_gqa.get_config())
  return common.tiny(config) if arg == 'tiny' else config
