"""A small video transformer on Motion-8, moving clothes, whose order matters.

  apt-get install dataset-fashion-mnist    # Or config.data.manual_dir.
  python -m bst_jax.train --config configs/motion.py --workdir runs/motion
  python -m bst_jax.search --budget 'mean_macs<=16M' --workdir runs/motion \
      --output runs/motion_ats

Eight kinds of motion in pairs, of which each is the other backwards: one frame
tells nothing, frames without their order half. `:timesformer` is meant if
nothing is said, `:xvit` is the other one, and `,tiny` behind either takes a
minute. docs/results.md has accuracies.
"""
from configs import common


def get_config(arg=''):
  parts = [part for part in arg.split(',') if part]
  model = next((part for part in parts if part != 'tiny'), 'timesformer')
  if model not in ('timesformer', 'xvit') or len(set(parts)) < len(parts) or (
      len(parts) > 1 + ('tiny' in parts)):
    raise ValueError(f'there is no variant {arg!r} of configs/motion.py; there '
                     'are timesformer and xvit, each also with ,tiny.')
  config = common.base()
  config.data = dict(
      name='motion8/full', train='train', eval='test', watch='val', batch=64,
      eval_batch=100, frames=8, shuffle_frames=False,
      seed=config.get_ref('seed'), limit=0, data_dir='', manual_dir='')
  config.task = dict(name='classify')
  config.model = dict(
      name=model, patch=12, width=48, heads=3, mlp=192, num_layers=4,
      mean=(0.1, 0.1, 0.1), std=(0.25, 0.25, 0.25), init_std=0.14,
      ats=dict(blocks=(), num_points=None, capacity=None, grad='hard',
               method='its'))
  if model == 'xvit':
    config.model.fused = 48
  else:  # The order of frames is to matter from the start.
    config.model.places_std = (0.3, 0.7)
  config.method = dict(name='plain')

  config.optimizer = dict(name='adamw', lr=2e-3, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.1)
  config.steps = 2400
  config.eval_every = 800
  if 'tiny' in parts:
    config.data.update(name='motion8/tiny', batch=8, eval_batch=20)
    config.steps, config.log_every, config.save_every = 4, 2, 4
    config.eval_every = 0
    config.model.update(width=12, mlp=24, num_layers=2, patch=16)
    if model == 'xvit':
      config.model.fused = 12
  return config
