"""UNITER with BST at the size of UNITER-base, VQA-v2 form.

  python -m bst_jax.convert --config configs/uniter_vqa.py --table uniter \
      --checkpoint vqa.pt --workdir runs/uniter_vqa \
      --config.data.word_pieces=vocab.txt
  python -m bst_jax.train --config configs/bst_uniter_vqa.py \
      --workdir runs/bst_uniter_vqa --config.start=runs/uniter_vqa \
      --config.data.word_pieces=vocab.txt
  python -m bst_jax.profile --config configs/bst_uniter_vqa.py --convention bst

The first converts a teacher; configs/uniter_vqa.py trains one, by the same
optimiser and schedule, and has what both share. Accuracy: not measured here.
`:tiny` is a short run on the embedded data.
"""
from configs import common, uniter_vqa


def get_config(arg=''):
  config = common.sandwich(uniter_vqa.get_config())
  return common.tiny(config) if arg == 'tiny' else config
