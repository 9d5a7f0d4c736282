"""Ten MCAN submodels from questions about raw pictures of your own.

  python -m bst_jax.train --config configs/pictures.py --workdir runs/mine \
      --config.data.manual_dir=my_data
  python -m bst_jax.predict --workdir runs/mine --submodel 1/2x1/2 \
      --image my_data/images/a.jpg --question "is it red?"

my_data holds {train,val}_questions.json and _annotations.json in VQA-v2's form
and images/: see bst_jax/data/builders/folder/README.md. A convolutional stem
turns 128 x 128 pixels into 8 x 8 cells, and the full model teaches the others
while it learns. Pictures that are larger in what matters want a larger
`--config.data.image_size`, a multiple of 16. Accuracy depends on your data; the
same from the embedded ones is configs/bst_mcan_pictures.py. `:tiny` takes two
minutes on embedded data.
"""
from configs import common


def get_config(arg=''):
  common.check_variant(arg, ('tiny',), __file__)
  config = common.base()
  config.data = dict(
      name='folder/images', manual_dir='', train='train', eval='val', watch='',
      batch=64, questions_per_picture=1, inputs=('image',),
      image_size=(128, 128), image_fit='black', max_tokens=14, min_answers=1,
      max_bad=0, seed=config.get_ref('seed'), limit=0, data_dir='')
  config.task = dict(name='vqa')
  config.model = dict(name='mcan', width=256, heads=8, mlp=1024, fused=512,
                      num_layers=4, word=128, recurrent=256, dropout=0.1,
                      identity_init=True, stem=(32, 64, 96, 128),
                      feature_size=256, box_size=32)
  config.space.widths = config.space.depths = ('1/4', '1/2', '3/4', '1')
  config.method = dict(name='bst', teacher='inplace', sampled=3, gt_weight=0.0)
  config.optimizer = dict(name='adamw', lr=5e-4, weight_decay=1e-4, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.05)
  config.steps = 10_000
  config.log_every, config.save_every, config.eval_every = 100, 500, 1000
  return common.tiny(config) if arg == 'tiny' else config
