"""PVTv2 at its published sizes, ImageNet-1k form: a parent to be pruned.

  python -m bst_jax.convert --config configs/pvt_v2.py:b2 --table pvt_v2 \
      --checkpoint pvt_v2_b2.pth --workdir runs/pvt_v2_b2
  python -m bst_jax.profile --config configs/pvt_v2.py:b2

Variants: `b0` (which no variant is too), `b1`, `b2`, `b2_linear`, `b3`, `b4`,
`b5`; `small`, a network of a minute. Folders of timm and of transformers are
converted without a config. Recipe: that of the released code, but for its
Mixup. Accuracy: not measured here; the paper reports 70.5 top-1 for B0, 78.7
for B1, 82.0 for B2 (linear: 82.1), 83.1 for B3, 83.6 for B4 and 83.8 for B5.
"""
from configs import common

LAYERS = {'b0': (2, 2, 2, 2), 'b1': (2, 2, 2, 2), 'b2': (3, 4, 6, 3),
          'b2_linear': (3, 4, 6, 3), 'b3': (3, 4, 18, 3), 'b4': (3, 8, 27, 3),
          'b5': (3, 6, 40, 3)}


def get_config(arg=''):
  config = common.base()
  name = arg or 'b0'
  common.check_variant(name, (*LAYERS, 'small'), __file__)
  config.data = dict(
      name='imagenet2012', batch=1024,
      sizes=dict(num_answers=1000, image_size=224))
  config.task = dict(name='classify')
  config.model = dict(
      name='pvt', width=(32, 64, 160, 256), heads=(1, 2, 5, 8),
      mlp=(256, 512, 640, 1024), num_layers=LAYERS.get(name, (2, 2, 2, 2)),
      reductions=(8, 4, 2, 1), linear=name == 'b2_linear',
      depth_dropout=0.3 if name in ('b3', 'b4', 'b5') else 0.1)
  if name == 'small':
    config.data.sizes = dict(num_answers=10, image_size=32)
    config.model.update(width=(16, 32, 48, 64), heads=(2, 2, 4, 4),
                        mlp=(32, 64, 96, 128), reductions=(4, 2, 2, 1))
  elif name != 'b0':
    config.model.update(width=(64, 128, 320, 512), mlp=(512, 1024, 1280, 2048))
  if name == 'b5':
    config.model.mlp = (256, 512, 1280, 2048)
  config.method = dict(name='plain')

  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=0.05)
  if name in ('b3', 'b4', 'b5'):
    config.optimizer.clip = 1.0
  config.schedule = dict(name='cosine', warmup=5 / 300)
  config.epochs = 300
  return config
