"""TimeSformer with adaptive token sampling at its published sizes.

  python -m bst_jax.convert --config configs/ats_timesformer.py:base \
      --table timesformer --workdir runs/ats_timesformer \
      --checkpoint TimeSformer_divST_8x32_224_K400.pyth
  python -m bst_jax.profile --config configs/ats_timesformer.py:base

`:hr` is 16 frames of 448 x 448 on Kinetics-600 and what no argument means;
`:l` 96 and `:base` 8 frames of 224 x 224 on Kinetics-400; `:small` a network of
a minute. A second word, as in `:l,dense`, samples nothing.

The capacities are arithmetic, not calibrated: where the authors sample, and how
many sites live, is not public. Every sampling layer keeps that share of its
sites with which the count meets the published budget of multiply-accumulates
over 3 views: HR 0.8385 from layer 3 on, for 3103 G (dense: 5110); L 0.875 from
layer 0 on, for 3510 G (dense: 7140). Base has no such budget and takes HR's
share. Accuracy: not measured here; the paper reports 82.2 top-1 for HR on
Kinetics-600 (dense: 82.4). Rates, batch and epochs are those of the released
TimeSformer.
"""
from configs import common

# Frames, height and width; share that a layer keeps; first such layer; data.
_SIZES = {
    'hr': ((16, 448, 448), 0.8385, 3, 600),
    'l': ((96, 224, 224), 0.875, 0, 400),
    'base': ((8, 224, 224), 0.8385, 3, 400),
    'small': ((4, 32, 32), 0.75, 1, 10),
}


def get_config(arg=''):
  words = (arg or 'hr').split(',')
  if words[0] not in _SIZES or words[1:] not in ([], ['dense']):
    raise ValueError(
        f'there is no variant {arg!r} of configs/ats_timesformer.py; there are '
        f'{", ".join(_SIZES)}, and each with ,dense behind it.')
  clip, share, first, classes = _SIZES[words[0]]
  config = common.base()
  config.data = dict(
      name='kinetics/600' if classes == 600 else 'kinetics/400', batch=8,
      sizes=dict(num_answers=classes, clip_size=clip))
  config.task = dict(name='classify')
  config.model = dict(name='timesformer', patch=16, width=768, heads=12,
                      mlp=3072, num_layers=12)
  if words[0] == 'small':
    config.model.update(patch=8, width=48, heads=3, mlp=192, num_layers=4)
  patch, layers = config.model.patch, config.model.num_layers
  sites = (clip[1] // patch) * (clip[2] // patch)
  config.model.ats = dict(
      blocks=tuple(range(first, layers)), num_points=sites,
      capacity=tuple(round(sites * share ** (i + 1))
                     for i in range(layers - first)),
      grad='hard', attention='select_first')
  if words[1:] == ['dense']:
    config.model.ats.update(blocks=(), capacity=None)
  config.method = dict(name='plain')

  config.optimizer = dict(name='sgd', lr=5e-3, momentum=0.9, weight_decay=1e-4)
  config.schedule = dict(name='multistep', decay_epochs=(12, 15))
  config.epochs = 15
  return config
