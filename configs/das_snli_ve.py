"""DAS of ViLT or METER on SNLI-VE: whether a picture entails a sentence.

  python -m bst_jax.train --config configs/das_snli_ve.py --workdir runs/das \
      --config.start.workdir=runs/vilt --config.search.start.workdir=runs/vilt \
      --config.data.word_pieces=vocab.txt \
      --config.search.data.word_pieces=vocab.txt

runs/vilt is what configs/das_vilt_vqa.py converts, or with variant `meter` runs/meter
of configs/das_meter_vqa.py, which says what differs from the released training. DAS
was not published on SNLI-VE: rates and batches are those of NLVR2.
Accuracy: not measured here. `tiny` is a short run on the embedded data.
"""
from configs import das_vilt_vqa


def get_config(arg=''):
  config = das_vilt_vqa.other_task(
      arg, __file__, 'head', dict(meter=10.0, vilt=1.0), lambda name: dict(
          name='snli_ve', form='questions', train='train', eval='test',
          batch=256 if name == 'meter' else 128,
          max_tokens=50 if name == 'meter' else 40),
      dict(meter=2000, vilt=4000, splits=dict(train='train', held_out='dev')),
      micro_batches=dict(meter=8, vilt=2), rates=dict(meter=5e-5, vilt=5e-4))
  for one in (config, config.search):
    one.task = dict(name='gqa', reduction='mean_batch')
    if one.data.sizes:
      one.data.sizes.num_answers = 3
  return config
