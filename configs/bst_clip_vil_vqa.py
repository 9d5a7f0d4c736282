"""CLIP-ViL-p with BST at its published size, VQA-v2 form.

  python -m bst_jax.convert --config configs/clip_vil_vqa.py --table clip_vil \
      --checkpoint BEST.pth --workdir runs/clip_vil_vqa \
      --config.data.word_pieces=vocab.txt
  python -m bst_jax.train --config configs/bst_clip_vil_vqa.py \
      --workdir runs/bst_clip_vil_vqa --config.start=runs/clip_vil_vqa \
      --config.data.word_pieces=vocab.txt
  python -m bst_jax.profile --config configs/bst_clip_vil_vqa.py

The first converts a teacher; configs/clip_vil_vqa.py trains one, by the same
optimisers and schedules, and has what both share. The trunk runs once for all
submodels; --config.model.train_visual=False leaves it as it is. Accuracy: not
measured here. `:tiny` is a short run on the embedded data.
"""
from configs import clip_vil_vqa, common


def get_config(arg=''):
  config = common.sandwich(clip_vil_vqa.get_config())
  return common.tiny(config) if arg == 'tiny' else config
