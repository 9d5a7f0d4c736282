"""MCAN with BST at its published size and schedule, VQA-v2 form.

  python -m bst_jax.convert --config configs/bst_mcan_vqa.py --table mcan_bst \
      --checkpoint epoch14.pkl --workdir runs/mcan_vqa
  python -m bst_jax.profile --config configs/bst_mcan_vqa.py --convention bst

Training needs the files of VQA-v2 in config.data.manual_dir, or a folder of
your own; bst_jax/data/builders/folder/README.md has its form. Accuracy: not
measured here, the reference repository reports 71.04 test-dev at 1x1 and 68.13
at 1/4x1/3. `:tiny` trains on the embedded data in a minute on a CPU.
"""
from configs import common


def get_config(arg=''):
  config = common.base()
  # What the data decide: bottom-up-attention regions, the published word and
  # answer lists.
  config.data = dict(
      name='vqa_v2', train='train+nominival+vg', eval='minival', batch=64,
      questions_per_picture=1, inputs=('regions',), max_tokens=14,
      words_from='', answers_from='train+val', min_answers=9, scoring='official',
      allow_overlap=False, data_dir='', manual_dir='', max_bad=0,
      num_regions=0, image_size=0,
      sizes=dict(vocab_size=20573, num_answers=3129, max_tokens=14,
                 num_regions=100))
  config.task = dict(name='vqa')
  config.model = dict(name='mcan', feature_size=2048, width=512, heads=8,
                      mlp=2048, fused=1024, num_layers=6, word=300,
                      recurrent=512, dropout=0.1)
  config.space.widths = ('1/4', '1/2', '3/4', '1')
  config.space.depths = ('1/6', '1/3', '2/3', '1')
  config.method = dict(name='bst', teacher='frozen', sampled=3, gt_weight=0.0)

  config.optimizer = dict(name='adam', lr=1e-4, b1=0.9, b2=0.98, eps=1e-9)
  config.schedule = dict(name='quarters', warmup_epochs=3,
                         decay_epochs=(11, 13, 15), decay=0.2)
  config.epochs = 15
  config.save_every = config.eval_every = 5000
  return tiny(config) if arg == 'tiny' else config


def tiny(config):
  """Shrinks this experiment or GQA's."""
  # A frozen teacher needs a trained model; two minutes have none.
  config.method.teacher = 'inplace'
  return common.tiny(config)
