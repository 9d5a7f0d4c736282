"""UNITER with BST at the size of UNITER-base, GQA form.

  python -m bst_jax.train --config configs/uniter_gqa.py \
      --workdir runs/uniter_gqa --config.start=runs/uniter_pretrained \
      --config.data.word_pieces=vocab.txt
  python -m bst_jax.train --config configs/bst_uniter_gqa.py \
      --workdir runs/bst_uniter_gqa --config.start=runs/uniter_gqa \
      --config.data.word_pieces=vocab.txt

The first trains the teacher, from what configs/uniter_gqa.py says. Accuracy:
not measured here. `:tiny` is a short run on the embedded data.
"""
from configs import common, uniter_gqa


def get_config(arg=''):
  config = common.sandwich(uniter_gqa.get_config())
  return common.tiny(config) if arg == 'tiny' else config
