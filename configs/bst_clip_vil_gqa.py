"""CLIP-ViL-p with BST at its published size, GQA form.

  python -m bst_jax.train --config configs/clip_vil_gqa.py \
      --workdir runs/clip_vil_gqa --config.start=runs/clip_vil_pretrained \
      --config.data.word_pieces=vocab.txt
  python -m bst_jax.train --config configs/bst_clip_vil_gqa.py \
      --workdir runs/bst_clip_vil_gqa --config.start=runs/clip_vil_gqa \
      --config.data.word_pieces=vocab.txt

The first trains the teacher, from what configs/clip_vil_gqa.py says. Accuracy:
not measured here. `:tiny` is a short run on the embedded data.
"""
from configs import clip_vil_gqa, common


def get_config(arg=''):
  config = common.sandwich(clip_vil_gqa.get_config())
  return common.tiny(config) if arg == 'tiny' else config
