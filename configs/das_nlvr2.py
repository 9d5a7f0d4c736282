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
from configs import common, das_meter_vqa, das_vilt_vqa


def get_config(arg=''):
  asked = tuple(part for part in arg.split(',') if part)
  for part in asked:
    common.check_variant(part, ('meter', 'tiny'), __file__)
  name = 'meter' if 'meter' in asked else 'vilt'
  whole = das_meter_vqa if name == 'meter' else das_vilt_vqa
  config = whole.get_config('pretrained')
  config.data = dict(
      name='nlvr2', form='pairs', train='train', eval='test',
      watch='', batch=256 if name == 'meter' else 128, inputs=('image',),
      image_size=(288 if name == 'meter' else 384,), image_fit='crop',
      max_tokens=50 if name == 'meter' else 40, word_pieces='', words_of=(),
      data_dir='', manual_dir='',
      limit=0, max_bad=0, seed=config.get_ref('seed'),
      sizes=dict(vocab_size=50265 if name == 'meter' else 30522, max_tokens=40,
                 image_size=288 if name == 'meter' else 384))
  config.micro_batches = 8 if name == 'meter' else 2
  config.task = dict(name='pair')
  config.model.outputs = ('pair',)
  config.optimizer.lr = 5e-5 if name == 'meter' else 5e-4
  das_meter_vqa.adapted(config, 'pair_head', 10.0 if name == 'meter' else 1.0)
  config.search = das_meter_vqa.searching(
      config, 4 if name == 'meter' else 1, 340 if name == 'meter' else 680,
      train='train', held_out='dev')
  return das_meter_vqa.tiny(config) if 'tiny' in asked else config
