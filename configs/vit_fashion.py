"""A small ViT on Fashion-MNIST, whose tokens can be sampled.

  apt-get install dataset-fashion-mnist    # Or config.data.manual_dir.
  python -m bst_jax.train --config configs/vit_fashion.py --workdir runs/vit

Real pictures, 28 x 28, in patches of 4: docs/results.md has accuracies and
times, and what sampling tokens does to it. `:tiny` takes a minute.
"""
from configs import common


def get_config(arg=''):
  common.check_variant(arg, ('tiny',), __file__)
  config = common.base()
  config.data = common.fashion_mnist(config, batch=128)
  config.task = dict(name='classify')
  config.model = dict(
      name='vit', patch=4, width=64, heads=2, mlp=256, num_layers=6,
      mean=(0.286, 0.286, 0.286), std=(0.353, 0.353, 0.353),
      ats=dict(blocks=(), num_points=None, capacity=None, grad='hard',
               method='its'))
  config.method = dict(name='plain')

  config.optimizer = dict(name='adamw', lr=2e-3, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.1)
  config.steps = 1000
  config.eval_every = 500
  if arg == 'tiny':
    config.steps, config.log_every, config.save_every = 20, 5, 10
    config.eval_every, config.data.limit, config.data.batch = 10, 200, 16
    config.data.eval_batch = 50
    config.model.update(width=12, mlp=24, num_layers=2, patch=7)
  return config
