"""CLIP-ViL-p, alone, GQA form: the teacher of configs/bst_clip_vil_gqa.py.

  python -m bst_jax.convert --config configs/clip_vil_gqa.py \
      --table clip_vil_encoder --checkpoint Epoch_LXRT.pth \
      --workdir runs/clip_vil_pretrained --config.data.word_pieces=vocab.txt
  python -m bst_jax.train --config configs/clip_vil_gqa.py \
      --workdir runs/clip_vil_gqa --config.start=runs/clip_vil_pretrained \
      --config.data.word_pieces=vocab.txt

One answer of many is right, so that the loss is the mean over questions alone;
all else is as for VQA-v2. Accuracy: not measured here. `:tiny` is a short run
on the embedded data.
"""
from configs import clip_vil_vqa, common


def get_config(arg=''):
  config = common.gqa(clip_vil_vqa.get_config())
  config.task.reduction = 'mean_batch'
  return common.tiny(config) if arg == 'tiny' else config
