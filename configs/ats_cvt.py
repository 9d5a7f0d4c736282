"""CvT with adaptive token sampling at its published sizes, ImageNet-1k form.

  python -m bst_jax.convert --config configs/ats_cvt.py:21_384 --table cvt \
      --checkpoint CvT-21-384x384-IN-1k.pth --workdir runs/ats_cvt_21_384
  python -m bst_jax.profile --config configs/ats_cvt.py:21_384

Variants: `13` (which no variant is too), `21`, `13_384`, `21_384`; with
`_dense` behind it (`13_dense`, …) a network that samples nothing; `small`, a
network of a minute. Off-the-shelf sampling needs no training: the weights are
those of CvT. Weights from Hugging Face are read by --table hf_cvt.

Capacities are arithmetic, not calibrated: what was published does not say where
CvT samples or how much, so every layer of the last stage but the first hands on
0.90 of its tokens. That is 17.7 G multiply-accumulates for CvT-21 at 384 (dense
24.85), where the paper reports 17.4 G and 83.1 top-1 (dense 83.3). Accuracy:
not measured here.
"""
from configs import common

LAYERS = {'13': (1, 2, 10), '21': (1, 4, 16)}
VARIANTS = ('13', '21', '13_384', '21_384')
# Of the tokens that reach a layer.
KEPT = 0.90


def get_config(arg=''):
  config = common.base()
  name, dense = arg.removesuffix('dense').rstrip('_'), arg.endswith('dense')
  name = name or '13'
  size = 384 if name.endswith('_384') else 224
  config.data = dict(
      name='imagenet2012', batch=1024,
      sizes=dict(num_answers=1000, image_size=size))
  config.task = dict(name='classify')
  config.model = dict(
      name='cvt', width=(64, 192, 384), heads=(1, 3, 6), mlp=(256, 768, 1536),
      num_layers=LAYERS.get(name.removesuffix('_384'), LAYERS['13']),
      activation='quick_gelu', depth_dropout=0.1, dropped='stale',
      score_stride1=False, batch_stats=common.unset())
  if name == 'small':
    config.data.sizes = dict(num_answers=10, image_size=32)
    config.model.update(width=(16, 32, 48), heads=(2, 4, 6),
                        mlp=(64, 128, 192), num_layers=(2, 2, 4),
                        strides=(2, 2, 1))
    size = 128  # The last grid is that of such a picture: 8 x 8.
  elif name not in VARIANTS:
    raise ValueError(f'there is no variant {arg!r} of configs/ats_cvt.py; there '
                     f'are {", ".join(VARIANTS)}, and small, each also with '
                     '_dense behind it, and dense.')
  blocks = tuple(range(1, config.model.num_layers[-1]))
  slots = (size // 16) ** 2
  config.model.ats = dict(
      blocks=() if dense else blocks, num_points=slots,
      capacity=None if dense else tuple(
          round(slots * KEPT ** i) for i in blocks),
      grad='hard', attention='select_first')
  config.method = dict(name='plain')

  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=0.05)
  config.schedule = dict(name='cosine', warmup=0.05)
  config.epochs = 30
  return config
