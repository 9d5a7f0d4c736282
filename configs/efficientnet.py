"""EfficientNet at its published sizes, ImageNet-1k form.

  python -m bst_jax.convert --config configs/efficientnet.py:lite0 \
      --checkpoint efficientnet-lite0.pth --workdir runs/lite0
  python -m bst_jax.profile --config configs/efficientnet.py:b0

Variants: `b0` (which no variant is too) to `b5`; `lite0`, with the colours that
its released weights read; `small`, a network of a minute. Folders of timm are
converted without a config. Checkpoints of TensorFlow's lineage, as those of
efficientnet_pytorch and timm's tf_, have `--config.model.padding=same`, which
`lite0` has already; timm's others `--config.model.eps=1e-5`.

Recipe: SGD with momentum, 400 epochs of batches of 1024 at a rate of 0.4 that
falls as a cosine, as the trunk of MiniVLM's detector was trained. Accuracy: not
measured here; the paper (arXiv 1905.11946, v5) reports 77.1 top-1 for B0, 79.1
for B1, 80.1 for B2, 81.6 for B3, 82.9 for B4 and 83.6 for B5.
"""
from bst_jax.layers import efficientnet
from configs import common

VARIANTS = (*efficientnet.SCALES, 'lite0', 'small')
# What the head's input loses in training.
DROPOUT = {'b2': 0.3, 'b3': 0.3, 'b4': 0.4, 'b5': 0.4}


def get_config(arg=''):
  config = common.base()
  name = arg or 'b0'
  common.check_variant(name, VARIANTS, __file__)
  model = {} if name == 'small' else efficientnet.sizes(name)
  side = model.pop('image_size', 224)
  config.data = dict(
      name='imagenet2012', batch=1024,
      sizes=dict(num_answers=1000, image_size=side))
  config.task = dict(name='classify')
  config.model = dict(
      name='efficientnet', batch_stats='batch', depth_dropout=0.2,
      dropout=DROPOUT.get(name, 0.2), **model)
  if name == 'lite0':
    config.model.update(padding='same', mean=(127 / 255,) * 3,
                        std=(128 / 255,) * 3)
  if name == 'small':
    config.data.sizes = dict(num_answers=10, image_size=32)
    config.model.update(
        stem=16, width=(16, 24, 40), num_layers=(1, 2, 2), kernels=(3, 3, 5),
        strides=(1, 2, 2), fused=128)
  config.method = dict(name='plain')

  config.optimizer = dict(name='sgd', lr=0.4, momentum=0.9,
                          weight_decay=1e-5)
  config.schedule = dict(name='cosine', warmup=5 / 400)
  config.epochs = 400
  return config
