"""DAS of ViLT or METER on Flickr30K: which caption belongs to which picture.

  python -m bst_jax.train --config configs/das_flickr30k.py --workdir runs/das \
      --config.start.workdir=runs/vilt --config.search.start.workdir=runs/vilt \
      --config.data.word_pieces=vocab.txt \
      --config.search.data.word_pieces=vocab.txt

runs/vilt is what configs/das_vilt_vqa.py converts, or with variant `meter` runs/meter
of configs/das_meter_vqa.py, which says what differs from the released training.
A picture comes with its caption and fifteen others. Rewards are of the split val.
Accuracy: not measured here. `tiny` is a short run on the embedded data.
"""
from configs import das_vilt_vqa


def get_config(arg=''):
  return das_vilt_vqa.other_task(
      arg, __file__, 'match_head', dict(meter=1.0, vilt=1.0), lambda name: dict(
          name='flickr30k', form='retrieval', train='train+val', eval='test',
          batch=512 if name == 'meter' else 256, texts='all',
          texts_per_picture=16, eval_texts_per_picture=0),
      dict(meter=56, vilt=113, splits=dict(train='train', held_out='val')),
      micro_batches=dict(meter=256, vilt=64), rates=dict(meter=5e-5, vilt=5e-4))
