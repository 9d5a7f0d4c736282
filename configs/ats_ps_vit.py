"""PS-ViT with adaptive token sampling at its published sizes, ImageNet-1k form.

  python -m bst_jax.convert --config configs/ats_ps_vit.py --table ps_vit \
      --checkpoint ps_vit_b_18.pth.tar --workdir runs/ats_ps_vit_b_18
  python -m bst_jax.profile --config configs/ats_ps_vit.py

Variants: `b_18` (which no variant is too), `b_14`, `b_10`, `ti_14`; with
`_dense` behind it (`b_18_dense`, …) a network that samples nothing; `small`, a
network of a minute. Off-the-shelf sampling needs no training: the weights are
those of PS-ViT.

Capacities are arithmetic, not calibrated: what was published does not say where
PS-ViT samples or how much, so every layer behind those that look at the map
hands on 0.84 of its tokens. That is 5.5 G multiply-accumulates for B/18 (dense
8.74), where the paper reports 5.6 G and 82.2 top-1 (dense 82.3). Accuracy: not
measured here.
"""
from configs import common

POINTS = {'b_18': 18, 'b_14': 14, 'b_10': 10, 'ti_14': 14}
# Of the tokens that reach a layer.
KEPT = 0.84


def get_config(arg=''):
  config = common.base()
  name, dense = arg.removesuffix('dense').rstrip('_'), arg.endswith('dense')
  name = name or 'b_18'
  config.data = dict(
      name='imagenet2012', batch=1024,
      sizes=dict(num_answers=1000, image_size=224))
  config.task = dict(name='classify')
  config.model = dict(
      name='ps_vit', points=POINTS.get(name, 8), width=384, heads=6, mlp=1152,
      sampling_layers=4, num_layers=10, stem=(64, 256), batch_stats=common.unset(),
      depth_dropout=0.1)
  if name == 'ti_14':
    config.model.update(width=192, heads=3, mlp=576, num_layers=8,
                        stem=(64, None))
  elif name == 'small':
    config.data.sizes = dict(num_answers=10, image_size=32)
    config.model.update(width=48, heads=3, mlp=144, sampling_layers=2,
                        num_layers=4, stem=(16, 32))
  elif name not in POINTS:
    raise ValueError(
        f'there is no variant {arg!r} of configs/ats_ps_vit.py; there are '
        f'{", ".join(POINTS)}, and small, each also with _dense behind it, and '
        'dense.')
  blocks = tuple(range(config.model.num_layers))
  slots = config.model.points ** 2
  config.model.ats = dict(
      blocks=() if dense else blocks, num_points=slots,
      capacity=None if dense else tuple(
          round(slots * KEPT ** (i + 1)) for i in blocks),
      grad='hard', attention='select_first')
  config.method = dict(name='plain')

  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=0.05)
  config.schedule = dict(name='cosine', warmup=0.05)
  config.epochs = 30
  return config
