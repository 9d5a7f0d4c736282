"""A small TEE finds the plates of digit scenes: where, what digit, how they look.

  python -m bst_jax.train --config configs/tee_scenes.py --workdir runs/tee

Synthetic scenes of real digits, 96 x 96 pixels. What it finds and names:
docs/results.md. `:tiny` takes a minute.
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
      name='tee', stem=16, stages=(16, 32, 48, 64, 80, 96, 128),
      layers=(1, 2, 2, 1, 2, 1, 1), pyramid=48, cells=2, hidden=256, pool=5,
      anchor_sizes=(16, 20, 28, 40, 64), each=(300, 300), proposals=(120, 400),
      rois=64, regions=12, least=1, threshold=0.05, depth_dropout=0.0,
      batch_stats='batch')
  config.task = dict(name='regions')
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=2e-3, weight_decay=1e-4, clip=5.0)
  config.schedule = dict(name='cosine', warmup=0.05)
  config.steps = 6000
  config.log_every, config.save_every, config.eval_every = 50, 500, 1000
  if arg == 'tiny':
    config.data.update(name='digit_scenes/tiny', batch=8)
    config.model.update(
        stem=8, stages=(8,) * 7, layers=(1,) * 7, pyramid=16, cells=1, hidden=16,
        each=(60, 40), proposals=(30, 20), rois=24)
    config.steps, config.log_every, config.save_every = 12, 4, 6
    config.eval_every = 0
  return config
