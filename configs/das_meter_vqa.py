"""DAS of METER on VQA-v2: four layers of its fusion are found and left out.

  python -m bst_jax.convert --config configs/das_meter_vqa.py:pretrained \
      --table meter --checkpoint meter_clip16_288_roberta_pretrain.ckpt \
      --workdir runs/meter --config.data.word_pieces=roberta/vocab.json
  python -m bst_jax.train --config configs/das_meter_vqa.py --workdir runs/das \
      --config.data.word_pieces=roberta/vocab.json \
      --config.search.data.word_pieces=roberta/vocab.json

vocab.json, with merges.txt beside it, is that of RoBERTa. The second command
searches for three epochs, then trains adapters, poolers and the head for ten without
the layers that it found, from runs/meter again, and leaves the smaller model. Batches,
rates, decay and schedules are the released ones; differs: rewards are of questions that
the search is not trained on, and a seventh of a picture is cut off at its sides.
Accuracy: not measured here. `:tiny` is a short run on the embedded data.
"""
from configs import common

# By model: hidden units of a skip adapter; parts that are trained, and how much
# faster; which of them the checkpoint lacks.
_SKIP = {'meter': 288, 'vilt': 192}
_TRAINED = {
    'meter': {'types': 1.0, 'class_prompt': 1.0, '*_pooler': 5.0,
              '**/skip_layer_*': 1.0, '*_fusion/layer_*/adapter_*': 5.0},
    'vilt': {'kinds': 1.0, 'text_types': 1.0, 'pooler': 1.0,
             '**/skip_layer_*': 1.0, '**/adapter_*': 1.0}}


def get_config(arg=''):
  common.check_variant(arg, ('pretrained', 'tiny'), __file__)
  config = common.base()
  config.search = None
  config.data = common.vqa_v2(
      batch=512, **pictures('meter'), max_tokens=50, word_pieces='',  # RoBERTa's vocab.json.
      sizes=dict(vocab_size=50265, num_answers=3129, max_tokens=40,
                 image_size=384))
  config.micro_batches = 16
  config.task = dict(name='vqa', reduction='mean_batch')
  config.model = dict(name='meter', padding=1, num_layers=6, fused=1536)
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=2.5e-5, b1=0.9, b2=0.98, eps=1e-8,
                          weight_decay=0.01)
  config.schedule = dict(name='linear', warmup=0.1)
  config.epochs = 10
  if arg == 'pretrained':
    return config
  adapted(config, 'head', 50.0)
  config.search = searching(config, 4, train='train+vg', held_out='nominival')
  return tiny(config) if arg == 'tiny' else config


def pictures(name, side=384):
  """How pictures of a model are read: a square of METER, a part of a canvas."""
  augment = dict(rand_augment=9.0)
  if name == 'meter':
    return dict(inputs=('image',), image_size=(side,), image_fit='crop',
                augment=augment)
  return dict(inputs=('image', 'extent'), image_size=(384, 640),
              image_fit='corner', image_shorter=384, augment=augment)


def adapted(config, head, scale):
  """Puts adapters beside frozen layers, which start from a converted checkpoint.

  Args:
    config: of a training of the whole model.
    head: the name of its head.
    scale: of the head's rate.
  """
  name = config.model.name
  config.model.update(adapter=_SKIP[name], extra=dict(kind='parallel', size=96))
  trained = _TRAINED[name] | {head: scale}
  config.optimizer.parts = {'**': dict(frozen=True)} | {
      path: dict(frozen=False, lr_scale=rate, decay_gains=True) for path, rate in trained.items()}
  config.start = dict(
      workdir=f'runs/{name}', fresh=(head, *(
          path for path in trained if path.endswith(('adapter_*', 'layer_*')))),
      leave=() if head == 'head' else ('head',))


def searching(config, skips, warmup=1800, **data):
  """The search before a training: of its model, for three epochs.

  Args:
    config: of the training.
    skips: layers that it finds.
    warmup: steps of an epoch, about.
    **data: the splits that it is trained and rewarded on.
  """
  search = config.copy_and_resolve_references()
  search.model.skip = None
  search.data.update(data)
  search.method = dict(name='das', skips=skips, subnetworks=3, interval=10,
                       warmup=warmup, gate_rate=1.0, law='multinomial')
  search.epochs, search.evaluate_at_end = 3, False
  return search


def tiny(config):
  """A short run on the embedded data, from random parameters."""
  search, config.search = config.search, None
  config = common.tiny(config)
  del config.model['word']
  config.data.update(image_size=(64,), train='train', eval='test')
  config.model.patch = 16
  if config.model.name == 'meter':
    config.model.update(
        padding=0, image_width=16, image_heads=2, image_mlp=32, image_layers=1,
        text_width=16, text_heads=2, text_mlp=32, text_layers=1)
  config.start = None
  if search:
    search.search = None
    config.search = tiny(search)
    config.search.data.held_out = 'val'
    config.search.method.update(skips=1, subnetworks=2, interval=2, warmup=2)
  return config
