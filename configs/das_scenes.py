"""Which layers of ViLT or METER questions about digit scenes can do without.

  python -m bst_jax.train --config configs/das_scenes.py:pretrain \
      --workdir runs/pretrained
  python -m bst_jax.train --config configs/das_scenes.py \
      --config.start.workdir=runs/pretrained \
      --config.search.start.workdir=runs/pretrained --workdir runs/das

The first command trains a small ViLT to tell words that are masked in captions, and
which caption belongs to which picture. The second searches layers to skip while
adapters learn, then begins anew from the first one's workdir without these layers, and
leaves the smaller model.
Variants, with commas between: `meter` for a METER; `pretrain`; `statements` about two
pictures in place of questions, and before it the same `pretrain`; instead of a search
`full` (all is trained), `classifier`, and beside frozen layers `parallel`, `scaled`,
`sequential`, `lora` or `prompt`; `tiny` takes a minute and starts at random.
Synthetic scenes of real digits. Accuracy, of shorter trainings: docs/results.md.
"""
from configs import common

# What stands beside frozen layers.
_EXTRAS = {
    'parallel': dict(kind='parallel', size=12),
    'scaled': dict(kind='scaled', size=12, scale=4.0),
    'sequential': dict(kind='sequential', size=12),
    'lora': dict(kind='lora', size=4),
    'prompt': dict(kind='prompt', size=16)}
_WAYS = ('das', 'full', 'classifier', *_EXTRAS)
_VILT = dict(name='vilt', patch=16, grid=(4, 4), width=64, heads=4, mlp=256,
             num_layers=6, fused=128, max_positions=30, dropout=0.0)
_METER = dict(
    name='meter', patch=16, padding=0, width=64, heads=4, mlp=256, num_layers=3,
    fused=128, image_width=64, image_heads=4, image_mlp=256, image_layers=3,
    text_width=64, text_heads=4, text_mlp=256, text_layers=2, max_positions=31,
    mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), dropout=0.0)
# What is trained whatever stands beside the layers.
_HEADS = {'vilt': ('pooler', 'kinds', 'text_types'),
          'meter': ('*_pooler', 'types', 'class_prompt')}
# What two pictures have one kind more of.
_KINDS = {'vilt': 'kinds', 'meter': 'types'}
_TRAINED = {'lora': ('**/lora_*',), 'prompt': ('**/prompt',), 'full': (),
            'classifier': (), 'das': ('**/adapter_*', '**/skip_layer_*')}
_WORDS_OF = ('questions', 'captions')


def get_config(arg=''):
  asked = tuple(part for part in arg.split(',') if part)
  for part in asked:
    common.check_variant(
        part, ('meter', 'pretrain', 'statements', 'tiny', *_WAYS), __file__)
  backbone = 'meter' if 'meter' in asked else 'vilt'
  way = next((part for part in asked if part in _WAYS), 'das')
  config = common.base()
  config.search = None
  config.data = dict(
      name='digit_scenes/easy', train='train', eval='test', watch='val',
      batch=64, inputs=('image',), max_tokens=29, words_of=_WORDS_OF,
      seed=config.get_ref('seed'), limit=0, data_dir='')
  if 'statements' in asked:
    config.data.words_of = (*_WORDS_OF, 'pairs')
  config.model = _METER if backbone == 'meter' else _VILT
  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=1e-4, clip=1.0)
  config.schedule = dict(name='linear', warmup=0.1)
  config.log_every, config.save_every, config.eval_every = 100, 500, 0
  config.method = dict(name='plain')
  if 'pretrain' in asked:
    config.data.update(form='pretraining', texts='list', batch=64, watch='',
                       texts_per_picture=2, masked=0.3, max_masked=9)
    config.task = dict(name='words', match=1.0)
    config.steps = 3000
    return _tiny(config, backbone) if 'tiny' in asked else config
  config.steps = 2000
  if 'statements' in asked:
    config.data.update(form='pairs', max_tokens=24)
    config.task = dict(name='pair')
    _tune(config, backbone, way, 'pair_head', _KINDS[backbone])
  else:
    config.data.update(questions_per_picture=4, eval_questions_per_picture=4,
                       max_tokens=14)
    config.task = dict(name='vqa', reduction='mean_batch')
    _tune(config, backbone, way, 'head')
  return _tiny(config, backbone) if 'tiny' in asked else config


def _tune(config, backbone, way, *fresh):
  """What is trained, and where it starts; the first that is fresh is the head.
  """
  config.start = dict(workdir='runs/pretrained', fresh=fresh,
                      leave=('match_head', 'words_head'))
  if way in _EXTRAS or way == 'das':
    config.model.extra = _EXTRAS.get(way, _EXTRAS['parallel'])
  if way != 'full':
    trained = (fresh[0], *_HEADS[backbone], *_TRAINED.get(way, ('**/adapter_*',)))
    config.optimizer.parts = {'**': dict(frozen=True)} | {
        path: dict(frozen=False) for path in trained}
    config.start.fresh = (*fresh, *(
        glob for glob in trained if glob.startswith('**')))
  if way == 'das':
    # As many parameters as the adapters of a layer.
    config.model.adapter = 24 if backbone == 'vilt' else 36
    search = config.copy_and_resolve_references()
    search.data.seed = search.seed = config.get_ref('seed')
    search.model.skip = None
    search.data.held_out = 'val'
    search.method = dict(name='das', skips=2, subnetworks=3, interval=10,
                         warmup=200, gate_rate=1.0, law='multinomial')
    search.steps, search.evaluate_at_end = 600, False
    config.search = search


def _tiny(config, backbone):
  """The same shrunk to a minute on a CPU, from random parameters."""
  config.data.update(name='digit_scenes/tiny', batch=16)
  config.steps, config.log_every, config.save_every = 12, 4, 6
  config.model.update(width=16, heads=2, mlp=32, fused=32, num_layers=3,
                      patch=16)
  if backbone == 'meter':
    config.model.update(
        image_width=16, image_heads=2, image_mlp=32, image_layers=1,
        text_width=16, text_heads=2, text_mlp=32, text_layers=1)
  if 'start' in config:
    config.start = None
  if 'search' in config and config.search:
    config.search = _tiny(config.search, backbone)
    config.search.method.update(interval=2, warmup=2)
  return config
