"""TEE on Visual Genome, as MiniVLM's extractor of regions was trained.

  python -m bst_jax.train --config configs/tee_vg.py --workdir runs/tee0 \
      --config.data.manual_dir=visual_genome
  python -m bst_jax.features --workdir runs/tee0 --images pictures --output features

Variants: `tee0` (which no variant is too) to `tee4`. Classes are read from the
names in `config.data.manual_dir`; docs/own_data.md tells which files lie there. A
classifier of the same trunk, as configs/efficientnet.py has it, starts it by
--config.start. Needs accelerators; what it finds is not measured here.

Reference: Wang et al., "MiniVLM: A Smaller and Faster Vision-Language Model",
  arXiv 2012.06946, section 3.1; rates, steps and sizes as the first author's
  released settings of the larger TEE-3 have them, for want of TEE-0's.
Differs: pictures lie in the corner of one of three canvases, of which a step draws
  one, cut out by share of their area; published is a shorter side drawn from
  steps of 32 pixels, then a cut. Every class has an embedding of its own where
  attributes are read; published are 326 groups of classes. Three hundred
  proposals a picture are kept in evaluation, as published.
"""
from bst_jax.models import tee
from configs import common

_VARIANTS = tuple(name for name in tee.SIZES if name != 'tee5')
_EPOCH = 400  # Steps of 256 of the hundred thousand pictures.


def get_config(arg=''):
  common.check_variant(arg, _VARIANTS, __file__)
  config, sizes = common.base(), tee.sizes(arg or 'tee0')
  side = sizes.pop('image_size')
  config.data = dict(
      name='visual_genome', form='objects', train='train', eval='val',
      batch=256, inputs=('image', 'extent'), image_size=(side, side),
      image_fit='corner', canvases=tuple(
          (side - less, side - less) for less in (128, 64, 0)),
      augment=dict(crop=(0.25, 1.0), flip=0.5), num_objects=100,
      most_attributes=16, seed=config.get_ref('seed'), limit=0, data_dir='',
      manual_dir='', sizes=dict(num_answers=1594, num_attributes=524,
                                num_objects=100, image_size=(side, side)))
  config.model = dict(
      name='tee', batch_stats='batch', proposals=(1000, 300), **sizes)
  config.task = dict(name='regions')
  config.method = dict(name='plain')
  config.optimizer = dict(
      name='sgd', lr=0.2 if arg == 'tee4' else 0.1, momentum=0.9,
      weight_decay=1e-5, parts={'**/bias': dict(lr_scale=2.0, weight_decay=0.0)})
  config.schedule = dict(name='multistep', decay_epochs=(133, 178), decay=0.1,
                         warmup_steps=5 * _EPOCH)
  config.epochs = 200
  config.log_every, config.save_every, config.eval_every = 100, 2_000, 0
  return config
