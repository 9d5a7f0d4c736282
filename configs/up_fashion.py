"""A ViT on Fashion-MNIST, a quarter of it, and how the quarter is taught.

  apt-get install dataset-fashion-mnist    # Or config.data.manual_dir.
  python -m bst_jax.train --config configs/up_fashion.py --workdir runs/parent
  python -m bst_jax.prune --workdir runs/parent --target 'params<=34K' \
      --attn_rule segment --output runs/cut
  python -m bst_jax.train --config configs/up_fashion.py:small,taught \
      --config.start=runs/cut --config.teacher_from=runs/parent \
      --workdir runs/pruned

`small` has a quarter of the parent's width, heads and hidden units; `taught`
learns from the parent and from labels, 6.4 to 1; `sandwich` trains the parent
with all of its widths; `pvt` is a small PVTv2 in three stages, whose size `prune`
decides; `tiny` takes a minute. tests/bench/up_fashion.py and up_depth.py compare
them, docs/results.md has the tables.
"""
from configs import common


def get_config(arg=''):
  asked = tuple(part for part in arg.split(',') if part)
  for part in asked:
    common.check_variant(part, ('small', 'taught', 'sandwich', 'pvt', 'tiny'),
                         __file__)
  if 'pvt' in asked and {'small', 'sandwich'} & set(asked):
    raise ValueError("configs/up_fashion.py has no 'small' and no 'sandwich' of "
                     "'pvt'; prune cuts it.")
  config = common.base()
  config.data = common.fashion_mnist(config, batch=128)
  config.task = dict(name='classify')
  quarter = 4 if 'small' in asked else 1
  pixels = dict(mean=(0.286, 0.286, 0.286), std=(0.353, 0.353, 0.353))
  config.model = dict(
      name='vit', patch=7, width=96 // quarter, heads=4 // quarter,
      mlp=384 // quarter, num_layers=4, depth_dropout=0.0, **pixels)
  if 'pvt' in asked:
    # Grids of 7 x 7, 4 x 4 and 2 x 2 cells.
    config.model = dict(
        name='pvt', width=(32, 64, 128), heads=(2, 4, 8), mlp=(128, 256, 512),
        num_layers=(2, 4, 2), reductions=(2, 1, 1), kernels=(7, 3, 3),
        strides=(4, 2, 2), paddings=(3, 1, 1), **pixels)
  config.method = dict(name='plain')
  if 'taught' in asked:
    config.method = dict(name='plain', teacher_weight=6.4, gt_weight=1.0)
  if 'sandwich' in asked:
    config.method = dict(name='bst', teacher='frozen', sampled=1, gt_weight=0.0)
    config.space.update(widths=('1/4', '1/2', '3/4', '1'), depths=('1',))

  config.optimizer = dict(name='adamw', lr=2e-3, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.1)
  config.steps = 400 if quarter > 1 else 1000
  config.eval_every, config.log_every = 0, 100
  if 'tiny' in asked:
    config.steps, config.log_every, config.save_every = 20, 5, 10
    config.data.limit, config.data.batch, config.data.eval_batch = 200, 16, 50
    if 'pvt' in asked:
      config.model.update(width=(8, 8, 16), heads=(1, 2, 2), mlp=(16, 16, 32),
                          num_layers=(1, 2, 1))
    else:
      config.model.update(width=16 // quarter, mlp=32 // quarter, num_layers=2)
  return config
