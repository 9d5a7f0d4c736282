"""A small CvT on Fashion-MNIST, with batch statistics that train.

  apt-get install dataset-fashion-mnist    # Or config.data.manual_dir.
  python -m bst_jax.train --config configs/cvt_fashion.py --workdir runs/cvt
  python -m bst_jax.train --config configs/cvt_fashion.py --workdir runs/stored \
      --config.model.batch_stats=stored

Real pictures, 28 x 28, in two stages of 7 x 7 and 4 x 4 cells. The second
command normalises by statistics that nobody ever took, mean 0 and variance 1:
docs/results.md has both. `:tiny` takes a minute.
"""
from configs import common


def get_config(arg=''):
  common.check_variant(arg, ('tiny',), __file__)
  config = common.base()
  config.data = common.fashion_mnist(config, batch=64)
  config.task = dict(name='classes')
  config.model = dict(
      name='cvt', width=(32, 64), heads=(1, 2), mlp=(64, 128),
      num_layers=(1, 1), kernels=(7, 3), strides=(4, 2), paddings=(2, 1),
      batch_stats='batch', mean=(0.286, 0.286, 0.286), std=(0.353, 0.353, 0.353))
  config.method = dict(name='plain')

  config.optimizer = dict(name='adamw', lr=2e-3, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.1)
  config.steps = 1000
  config.eval_every = 500
  if arg == 'tiny':
    config.steps, config.log_every, config.save_every = 20, 5, 10
    config.eval_every, config.data.limit, config.data.batch = 10, 200, 16
    config.data.eval_batch = 50
    config.model.update(width=(8, 16), mlp=(8, 16))
  return config
