"""MCAN with BST's adapters, alone, VQA-v2 form: the teacher of bst_mcan_vqa.py.

  python -m bst_jax.train --config configs/mcan_vqa.py --workdir runs/mcan_vqa

Needs the files of VQA-v2 in config.data.manual_dir, or a folder of your own;
bst_jax/data/builders/folder/README.md has its form. A released teacher takes
its place:

  python -m bst_jax.convert --config configs/mcan_vqa.py --table mcan_bst \
      --checkpoint epoch14.pkl --workdir runs/mcan_vqa

Epochs and decay are OpenVQA's for MCAN. The released teacher stems from a
longer training, whose schedule is not known. Accuracy: not measured here.
`:tiny` trains on the embedded data in a minute on a CPU.
"""
from configs import common


def get_config(arg=''):
  config = common.base()
  # What the data decide: bottom-up-attention regions, the published word and
  # answer lists.
  config.data = common.vqa_v2(sizes=dict(
      vocab_size=20573, num_answers=3129, max_tokens=14, num_regions=100))
  config.task = dict(name='vqa')
  config.model = dict(name='mcan', feature_size=2048, width=512, heads=8,
                      mlp=2048, fused=1024, num_layers=6, word=300,
                      recurrent=512, dropout=0.1)
  config.method = dict(name='plain')

  config.optimizer = dict(name='adam', lr=1e-4, b1=0.9, b2=0.98, eps=1e-9)
  config.schedule = dict(name='quarters', warmup_epochs=3,
                         decay_epochs=(11, 13), decay=0.2)
  config.epochs = 13
  config.save_every = config.eval_every = 5000
  return common.tiny(config) if arg == 'tiny' else config
