"""A converted classifier: what `convert` makes of a standard folder.

  python -m bst_jax.convert --checkpoint hf:google/vit-base-patch16-224 \
      --workdir runs/vit
  python -m bst_jax.train --from runs/vit --workdir runs/mine \
      --config.data.manual_dir=my_pictures --config.start.fresh="('head',)"

`convert` fills in the model and its sizes from the files beside the weights;
what stands here is how it trains on: on a user's own pictures, one folder a
class, or, with `:videos`, on videos.
"""
from configs import common


def get_config(arg=''):
  common.check_variant(arg, ('videos',), __file__)
  config = common.base()
  config.data = dict(
      name='class_folders', train='train', eval='val', watch='', batch=64,
      eval_batch=0, image_size=0, image_fit='crop', data_dir='', manual_dir='',
      max_bad=0, limit=0, seed=config.get_ref('seed'),
      sizes=dict(num_answers=1000, image_size=224))
  config.task = dict(name='classify')
  config.model = dict(name='vit')
  config.method = dict(name='plain')

  config.optimizer = dict(name='adamw', lr=1e-4, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.05)
  config.epochs = 10
  if arg == 'videos':
    config.data.name = 'kinetics/400'
    config.data.batch, config.data.frames = 16, 8
    config.data.sizes = dict(num_answers=400, clip_size=(8, 224, 224))
    config.model.name = 'timesformer'
  return config
