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
from configs import common, das_meter_vqa, das_vilt_vqa


def get_config(arg=''):
  asked = tuple(part for part in arg.split(',') if part)
  for part in asked:
    common.check_variant(part, ('meter', 'tiny'), __file__)
  name = 'meter' if 'meter' in asked else 'vilt'
  whole = das_meter_vqa if name == 'meter' else das_vilt_vqa
  config = whole.get_config('pretrained')
  config.data = dict(
      name='flickr30k', form='retrieval', train='train+val', eval='test',
      watch='', batch=512 if name == 'meter' else 256, inputs=('image',),
      image_size=(384,), image_fit='crop',
      max_tokens=40, word_pieces='', words_of=(), data_dir='', manual_dir='',
      limit=0, max_bad=0, seed=config.get_ref('seed'),
      texts_per_picture=16, eval_texts_per_picture=0, texts='all',
      sizes=dict(vocab_size=50265 if name == 'meter' else 30522, max_tokens=40,
                 image_size=384))
  config.micro_batches = 256 if name == 'meter' else 64
  config.task = dict(name='match')
  config.model.outputs = ('match',)
  config.optimizer.lr = 5e-5 if name == 'meter' else 5e-4
  das_meter_vqa.adapted(config, 'match_head', 1.0)
  config.search = das_meter_vqa.searching(
      config, 4 if name == 'meter' else 1, 56 if name == 'meter' else 113,
      train='train', held_out='val')
  return das_meter_vqa.tiny(config) if 'tiny' in asked else config
