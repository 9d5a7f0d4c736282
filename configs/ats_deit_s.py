"""DeiT-S with adaptive token sampling at its published size, ImageNet-1k form.

  python -m bst_jax.convert --config configs/ats_deit_s.py --table timm_vit \
      --checkpoint deit_small_patch16_224.pth --workdir runs/ats_deit_s
  python -m bst_jax.profile --config configs/ats_deit_s.py

Off-the-shelf sampling needs no training: the weights are those of DeiT-S. The
layers' capacities are the 99th percentile of the published counts of tokens,
rounded so that widths are multiples of 8. `:dense` samples nothing, `:mask`
keeps all widths, `:small` is a network of a minute. Serves converting, costs
and latency; accuracy: not measured here, the paper reports 79.7 top-1 at 2.9 G
multiply-accumulates an image (dense: 79.8 at 4.6 G).
"""
from configs import common

# Tokens behind layers 3 to 11, the class token not counted.
CAPACITY = (175, 167, 151, 143, 127, 119, 111, 103, 87)


def get_config(arg=''):
  config = common.base()
  config.data = dict(
      name='imagenet2012', batch=1024,
      sizes=dict(num_answers=1000, image_size=224))
  config.task = dict(name='classify')
  config.model = dict(
      name='vit', patch=16, width=384, heads=6, mlp=1536, num_layers=12,
      depth_dropout=0.1,
      ats=dict(blocks=tuple(range(3, 12)), num_points=196, capacity=CAPACITY,
               grad='hard', attention='select_first'))
  config.method = dict(name='plain')

  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=0.05)
  config.schedule = dict(name='cosine', warmup=0.05)
  config.epochs = 30
  if arg == 'dense':
    config.model.ats.update(blocks=(), capacity=None)
  elif arg == 'mask':
    config.model.ats.capacity = None
  elif arg == 'small':
    config.data.sizes = dict(num_answers=10, image_size=32)
    config.model.update(patch=4, width=48, heads=3, mlp=192, num_layers=4)
    config.model.ats.update(blocks=(1, 2, 3), num_points=64,
                            capacity=(56, 48, 40))
  elif arg:
    raise ValueError(f'there is no variant {arg!r} of configs/ats_deit_s.py; '
                     'there are dense, mask and small.')
  return config
