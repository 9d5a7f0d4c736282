"""X-ViT-B/16 of 16 frames with adaptive token sampling, Kinetics-600 form.

  python -m bst_jax.convert --config configs/ats_xvit.py --table xvit \
      --checkpoint xvit_k600.pyth --workdir runs/ats_xvit
  python -m bst_jax.profile --config configs/ats_xvit.py:small

`:dense` samples nothing, `:frame` samples every frame for itself where the 8 of
a segment else share a selection, `:small` is a network of a minute; words may
be joined, as in `:small,dense`.

The capacities are arithmetic, not calibrated: where the authors sample, and how
many tokens live, is not public. Layers 3 to 11, as in DeiT, each keep 0.844 of
their patches, with which the count is the published share, 521 of 850 G
multiply-accumulates over 3 views, of the dense network's (as counted: 843 G).
Accuracy: not measured here; the paper reports 84.4 top-1 (dense: 84.5). Rate,
batch and epochs are those of the released X-ViT.
"""
from configs import common

# Patches of a frame behind layers 3 to 11.
CAPACITY = tuple(round(196 * 0.844 ** (i + 1)) for i in range(9))


def get_config(arg=''):
  words = set(arg.split(',')) - {''}
  if words - {'dense', 'frame', 'small'}:
    raise ValueError(f'there is no variant {arg!r} of configs/ats_xvit.py; '
                     'there are dense, frame and small, joined by commas.')
  config = common.base()
  config.data = dict(
      name='kinetics/600', batch=64,
      sizes=dict(num_answers=600, clip_size=(16, 224, 224)))
  config.task = dict(name='classify')
  config.model = dict(
      name='xvit', patch=16, segment=8, shift=8, width=768, heads=12, mlp=3072,
      num_layers=12, fused=768, share='group',
      ats=dict(blocks=tuple(range(3, 12)), num_points=196, capacity=CAPACITY,
               grad='hard', attention='select_first'))
  config.method = dict(name='plain')

  config.optimizer = dict(name='sgd', lr=0.03, momentum=0.9, weight_decay=1e-5)
  config.schedule = dict(name='cosine', warmup=5 / 30)
  config.epochs = 30
  if 'small' in words:
    config.data.sizes = dict(num_answers=10, clip_size=(4, 32, 32))
    config.model.update(patch=8, segment=2, width=48, heads=3, mlp=192,
                        num_layers=4, fused=48)
    config.model.ats.update(blocks=(1, 2, 3), num_points=16,
                            capacity=(12, 9, 7))
  if 'dense' in words:
    config.model.ats.update(blocks=(), capacity=None)
  if 'frame' in words:
    config.model.share = 'frame'
  return config
