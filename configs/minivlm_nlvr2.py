"""MiniVLM tells whether statements about two pictures of NLVR2 are true.

  python -m bst_jax.features --workdir runs/tee --images nlvr2/images \
      --output features/nlvr2
  python -m bst_jax.train --config configs/minivlm_nlvr2.py \
      --config.start.workdir=runs/pretrained \
      --config.data.word_pieces=vocab.txt --workdir runs/minivlm_nlvr2

A statement is read with each of its pictures, and both pooled vectors are
compared. It starts from a pre-training with words and matches, whose heads stay
behind; vocab.txt is that of BERT, uncased. MiniVLM's own settings are not
known: these are OSCAR's. Accuracy: not measured here.

`:scenes` is a small one on synthetic scenes of real digits, which starts from
configs/minivlm_vqa.py:scenes in runs/minivlm_asked. Measured, three seeds:
86.4 % of test (85.0 to 88.6), half of which is true, in five minutes on two loaded
cores. `:tiny` is a short run on embedded data.
"""
from configs import common, minivlm_vqa, pairs_scenes


def get_config(arg=''):
  common.check_variant(arg, ('scenes', 'tiny'), __file__)
  if arg == 'scenes':
    return scenes()
  config = common.base()
  config.data = dict(
      name='nlvr2', form='pairs', train='train', eval='test', watch='dev',
      batch=72, inputs=('regions',), features='features/nlvr2', num_regions=40,
      word_pieces='', max_tokens=55, limit=0, data_dir='', manual_dir='',
      max_bad=0, seed=config.get_ref('seed'), sizes=dict(
          vocab_size=30522, max_tokens=55, num_regions=40, feature_size=1024))
  config.task = dict(name='pair')
  config.model = dict(
      name='minivlm', width=384, heads=12, mlp=1536, num_layers=12, fused=1152,
      feature_size=1024, tag_start=None, dropout=0.3)
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=3e-5, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='linear', warmup_steps=10_000)
  config.epochs = 20
  if arg == 'tiny':
    config.data.watch = 'val'
    return minivlm_vqa.tiny(config)
  config.start = dict(workdir='runs/pretrained', fresh=('pair_head',),
                      leave=minivlm_vqa.HEADS)
  return config


def scenes():
  """The same task on digit scenes."""
  config = pairs_scenes.get_config('alone')
  config.model = minivlm_vqa.SMALL | dict(dropout=0.1)
  config.start = dict(workdir='runs/minivlm_asked', fresh=('pair_head',),
                      leave=('head',))
  return config
