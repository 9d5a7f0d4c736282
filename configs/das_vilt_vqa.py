"""DAS of ViLT on VQA-v2: one layer is found and left out.

  python -m bst_jax.convert --config configs/das_vilt_vqa.py:pretrained \
      --table vilt --checkpoint vilt_200k_mlm_itm.ckpt \
      --workdir runs/vilt --config.data.word_pieces=vocab.txt
  python -m bst_jax.train --config configs/das_vilt_vqa.py --workdir runs/das \
      --config.data.word_pieces=vocab.txt \
      --config.search.data.word_pieces=vocab.txt

vocab.txt is that of BERT, uncased; `--table hf_vilt` reads the weights of
transformers. The second command searches for three epochs, then trains for ten
without the layer that it found, see configs/das_meter_vqa.py, which says what differs
from the released training; besides, pictures are cut to 384 x 384 here. Accuracy: not
measured here. `:tiny` is a short run on the embedded data.
"""
from configs import common, das_meter_vqa


def get_config(arg=''):
  common.check_variant(arg, ('pretrained', 'tiny'), __file__)
  config = common.base()
  config.search = None
  config.data = common.vqa_v2(
      batch=256, inputs=('image',), image_size=(384,), image_fit='crop',
      max_tokens=40, word_pieces='',  # The vocab.txt of BERT, uncased.
      sizes=dict(vocab_size=30522, num_answers=3129, max_tokens=40,
                 image_size=384))
  config.micro_batches = 4
  config.task = dict(name='vqa', reduction='mean_batch')
  config.model = dict(name='vilt', num_layers=12, fused=1536)
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=1e-4, b1=0.9, b2=0.98, eps=1e-8,
                          weight_decay=0.01)
  config.schedule = dict(name='linear', warmup=0.1)
  config.epochs = 10
  if arg == 'pretrained':
    return config
  das_meter_vqa.adapted(config, 'head', 10.0)
  config.search = das_meter_vqa.searching(
      config, 1, 3600, train='train+vg', held_out='nominival')
  return das_meter_vqa.tiny(config) if arg == 'tiny' else config
