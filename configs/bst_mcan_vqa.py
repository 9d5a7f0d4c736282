"""MCAN with BST at its published size and schedule, VQA-v2 form.

  python -m bst_jax.train --config configs/mcan_vqa.py --workdir runs/mcan_vqa
  python -m bst_jax.train --config configs/bst_mcan_vqa.py \
      --workdir runs/bst_mcan_vqa --config.start=runs/mcan_vqa
  python -m bst_jax.profile --config configs/bst_mcan_vqa.py --convention bst

The first trains the teacher; configs/mcan_vqa.py has what both share, and how
to convert a released teacher instead. Accuracy: not measured here, the
reference repository reports 71.04 test-dev at 1x1 and 68.13 at 1/4x1/3. `:tiny`
trains on the embedded data in a minute on a CPU.
"""
from configs import common, mcan_vqa


def get_config(arg=''):
  config = common.sandwich(mcan_vqa.get_config())
  config.schedule.decay_epochs = (11, 13, 15)
  config.epochs = 15
  return common.tiny(config) if arg == 'tiny' else config
