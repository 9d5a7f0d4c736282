"""A small RetinaNet on PVTv2 finds the plates of digit scenes, and their digits.

  python -m bst_jax.train --config configs/retinanet_scenes.py --workdir runs/retinanet

A classifier of the same backbone, as `configs/pvt_v2.py:small` has it, starts it;
with the choice that `prune` writes beside what it leaves, only that goes in:

  python -m bst_jax.train --config configs/retinanet_scenes.py --workdir runs/boxes \
      --config.start="{'workdir': 'runs/classifier', 'fresh': ('fpn', 'head')}" \
      --config.choice=runs/pruned/choice.json

Synthetic scenes of real digits, 96 x 96 pixels; average precision needs
`pip install 'bst_jax[eval]'`. Results, of a third of the steps: docs/results.md.
`:tiny` takes a minute.
"""
from configs import common


def get_config(arg=''):
  common.check_variant(arg, ('tiny',), __file__)
  config = common.base()
  config.data = dict(
      name='digit_scenes/full', form='objects', train='train', eval='test',
      watch='val', batch=16, inputs=('image',), augment=dict(flip=0.0),
      seed=config.get_ref('seed'), limit=0, data_dir='')
  config.model = dict(
      name='retinanet', width=(16, 32, 48, 64), heads=(2, 2, 4, 4),
      mlp=(32, 64, 96, 128), num_layers=(2, 2, 2, 2), reductions=(4, 2, 2, 1),
      pyramid_width=32, depth=2, anchor_sizes=(16, 24, 48, 64, 96), each=200,
      detections=30)
  config.task = dict(name='detect')
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=1e-4, clip=5.0)
  config.schedule = dict(name='cosine', warmup=0.05)
  config.steps = 3000
  config.log_every, config.save_every, config.eval_every = 50, 500, 1000
  if arg == 'tiny':
    config.data.update(name='digit_scenes/tiny', batch=8)
    config.model.update(width=(8, 8, 8, 8), heads=(2, 2, 2, 2),
                        mlp=(16, 16, 16, 16), num_layers=(1, 1, 1, 1),
                        pyramid_width=8, depth=1, each=20,
                        detections=6)
    config.steps, config.log_every, config.save_every = 12, 4, 6
    config.eval_every = 0
  return config
