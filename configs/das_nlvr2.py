"""DAS of ViLT or METER on NLVR2: statements about two pictures.

  python -m bst_jax.train --config configs/das_nlvr2.py --workdir runs/das \
      --config.start.workdir=runs/vilt --config.search.start.workdir=runs/vilt \
      --config.data.word_pieces=vocab.txt \
      --config.search.data.word_pieces=vocab.txt

runs/vilt is what configs/das_vilt_vqa.py converts, or with variant `meter` runs/meter
of configs/das_meter_vqa.py, which says what differs from the released training.
Rewards are of the development split, and test is the public one.
Accuracy: not measured here. `tiny` is a short run on the embedded data.
"""
from configs import das_vilt_vqa


def get_config(arg=''):
  return das_vilt_vqa.other_task(
      arg, __file__, 'pair_head', dict(meter=10.0, vilt=1.0), lambda name: dict(
          name='nlvr2', form='pairs', train='train', eval='test',
          batch=256 if name == 'meter' else 128,
          max_tokens=50 if name == 'meter' else 40),
      dict(meter=340, vilt=680, splits=dict(train='train', held_out='dev')),
      micro_batches=dict(meter=8, vilt=2), rates=dict(meter=5e-5, vilt=5e-4),
      side=288)
