"""RetinaNet on PVTv2 on COCO, from a classifier's workdir, as published.

  python -m bst_jax.convert --config configs/pvt_v2.py --table pvt_v2 \
      --checkpoint pvt_v2_b0.pth --workdir runs/pvt_v2_b0
  python -m bst_jax.train --config configs/retinanet_coco.py --workdir runs/coco \
      --config.start="{'workdir': 'runs/pvt_v2_b0', 'fresh': ('fpn', 'head')}"

  python -m bst_jax.convert --config configs/retinanet_coco.py:resnet50 \
      --table torchvision_retinanet --workdir runs/torchvision \
      --checkpoint retinanet_resnet50_fpn_coco-eeacb38b.pth

Variants: `b0` (which no variant is too), `b1`, `b2`, `b3`, `b4`, `b5`;
`resnet50` and `resnet50_v2`, torchvision's two, whose weights convert. Needs COCO 2017's files in `config.data.manual_dir`, `pip install 'bst_jax[eval]'` and
accelerators. Average precision: not measured here. Recipe: that of PVTv2's released
code, 12 epochs of 16 pictures. Differs: pictures lie in the corner of one canvas
of 800 x 1344 pixels, so that a tall one is smaller; biases and gains do not decay.
"""
from configs import common, pvt_v2

RESNETS = {'resnet50': dict(top='p5', norm_eps=0.0),
           'resnet50_v2': dict(top='c5', groups=32)}


def get_config(arg=''):
  config = common.base()
  common.check_variant(arg, ('b0', 'b1', 'b2', 'b3', 'b4', 'b5', *RESNETS),
                       __file__)
  config.data = dict(
      name='coco_detection', form='objects', train='train', eval='val',
      batch=16, inputs=('image', 'extent'), image_size=(800, 1344),
      image_fit='corner', image_shorter=800, augment=dict(flip=0.5),
      num_objects=100, empty_pictures=False, seed=config.get_ref('seed'),
      limit=0, data_dir='', manual_dir='',
      sizes=dict(num_answers=80, num_objects=100, image_size=(800, 1344)))
  if arg in RESNETS:
    config.model = dict(name='retinanet_resnet', **RESNETS[arg])
  else:
    config.model = pvt_v2.get_config(arg).model
    config.model.update(name='retinanet', depth_dropout=0.1)
  config.task = dict(name='detect')
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=1e-4, weight_decay=1e-4)
  config.schedule = dict(name='multistep', decay_epochs=(9, 12), decay=0.1,
                         warmup_steps=500)
  config.epochs = 12
  config.log_every, config.save_every, config.eval_every = 100, 7_000, 0
  return config
