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
from the released training. Pictures have a shorter side of 384 at most and lie on a
canvas of 384 x 640; the released code turns it for those that are higher than wide.
Accuracy: not measured here. `:tiny` is a short run on the embedded data.
"""
from configs import common, das_meter_vqa


def get_config(arg=''):
  common.check_variant(arg, ('pretrained', 'tiny'), __file__)
  config = common.base()
  config.search = None
  config.data = common.vqa_v2(
      batch=256, **das_meter_vqa.pictures('vilt'), max_tokens=40, word_pieces='',  # The vocab.txt of BERT, uncased.
      sizes=dict(vocab_size=30522, num_answers=3129, max_tokens=40,
                 image_size=(384, 640), extents=2))
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


def other_task(arg, file, head, head_scale, data, search, micro_batches, rates,
               side=384):
  """A config of another task, of ViLT or, with variant `meter`, of METER.

  Args:
    arg: of `get_config`.
    file: that it is of, for errors.
    head: its name.
    head_scale, micro_batches, rates: of either model, {'meter': …, 'vilt': …}.
    data: model -> what config.data has beside pictures and sizes.
    search: {model: warm-up steps} and the splits of the search.
    side: of METER's pictures.
  """
  asked = tuple(part for part in arg.split(',') if part)
  for part in asked:
    common.check_variant(part, ('meter', 'tiny'), file)
  name = 'meter' if 'meter' in asked else 'vilt'
  whole = das_meter_vqa.get_config if name == 'meter' else get_config
  config = whole('pretrained')
  sizes = {key: value for key, value in config.data.sizes.items()
           if key != 'num_answers'} | dict(max_tokens=40)
  if name == 'meter':
    sizes['image_size'] = side
  config.data = dict(
      watch='', max_tokens=40, word_pieces='', words_of=(), data_dir='',
      manual_dir='', limit=0, max_bad=0, seed=config.get_ref('seed'),
      **das_meter_vqa.pictures(name, side), sizes=sizes) | data(name)
  config.micro_batches = micro_batches[name]
  config.optimizer.lr = rates[name]
  if head != 'head':
    config.model.outputs = (head.removesuffix('_head'),)
    config.task = dict(name=head.removesuffix('_head'))
  das_meter_vqa.adapted(config, head, head_scale[name])
  config.search = das_meter_vqa.searching(
      config, 4 if name == 'meter' else 1, search[name], **search['splits'])
  return das_meter_vqa.tiny(config) if 'tiny' in asked else config
