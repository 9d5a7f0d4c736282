"""UNITER-base, alone, GQA form: the teacher of configs/bst_uniter_gqa.py.

  python -m bst_jax.convert --config configs/uniter_gqa.py \
      --table uniter_pretrained --checkpoint uniter-base.pt \
      --workdir runs/uniter_pretrained --config.data.word_pieces=vocab.txt
  python -m bst_jax.train --config configs/uniter_gqa.py \
      --workdir runs/uniter_gqa --config.start=runs/uniter_pretrained \
      --config.data.word_pieces=vocab.txt

One answer of many is right; all else is as for VQA-v2, as nothing was
published. Accuracy: not measured here. `:tiny` is a short run on the embedded
data.
"""
from configs import common, uniter_vqa


def get_config(arg=''):
  config = common.gqa(uniter_vqa.get_config())
  return common.tiny(config) if arg == 'tiny' else config
