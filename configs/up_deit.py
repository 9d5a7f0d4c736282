"""UP-DeiT: a pruned DeiT that learns from the DeiT-B it was cut from, ImageNet-1k.

  python -m bst_jax.prune --workdir runs/deit_b --target deit_tiny \
      --pictures_per_class 5 --kind kl --output runs/cut
  python -m bst_jax.train --config configs/up_deit.py \
      --config.start=runs/cut --config.teacher_from=runs/deit_b \
      --workdir runs/up_deit_t

Recipe: that of the released fine-tuning (T: no variant, S: `small`); it sums the
divergences over 32 pictures with weight 0.2, which is 6.4 of the mean. `folders`
takes pictures of one's own in folders (config.data.manual_dir), with their
classes. Accuracy: not measured here; the paper reports 75.8 top-1 for T and 81.6
for S, where DeiT has 72.2 and 79.9.
"""
from configs import common


def get_config(arg=''):
  asked = tuple(part for part in arg.split(',') if part)
  for part in asked:
    common.check_variant(part, ('small', 'folders'), __file__)
  config = common.base()
  config.data = dict(
      name='imagenet2012', train='train', eval='validation', batch=256,
      image_size=(224,), image_fit='crop', seed=config.get_ref('seed'),
      augment=dict(crop=(0.08, 1.0), flip=0.5, cutmix=0.5),
      manual_dir='', data_dir='', limit=0)
  if 'folders' in asked:
    config.data.update(name='class_folders', eval='val')
  else:
    config.data.sizes = dict(num_answers=1000, image_size=224)
  config.task = dict(name='classify')
  size = 2 if 'small' in asked else 1
  config.model = dict(
      name='vit', patch=16, width=192 * size, heads=3 * size, mlp=768 * size,
      num_layers=12, depth_dropout=0.1)
  config.method = dict(name='plain', teacher_weight=6.4, gt_weight=1.0)

  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=1e-3)
  config.schedule = dict(name='cosine', warmup=2 / 200)
  config.epochs = 200
  return config
