"""MCAN with BST's adapters, alone, GQA form: the teacher of bst_mcan_gqa.py.

  python -m bst_jax.train --config configs/mcan_gqa.py --workdir runs/mcan_gqa

Needs the files of GQA in config.data.manual_dir. A released teacher takes its
place:

  python -m bst_jax.convert --config configs/mcan_gqa.py --table mcan_bst \
      --checkpoint epoch11.pkl --workdir runs/mcan_gqa

Boxes are embedded beside the features, the image adapter has no norm, and one
answer of many is right. Accuracy: not measured here. `:tiny` trains on the
embedded data in a minute on a CPU.
"""
from configs import common, mcan_vqa


def get_config(arg=''):
  config = common.gqa(mcan_vqa.get_config())
  config.data.max_tokens = 29
  config.data.sizes.update(vocab_size=2933, max_tokens=29)
  config.model.update(box_size=2048, image_norm=False)

  config.schedule = dict(name='quarters', warmup_epochs=2,
                         decay_epochs=(9, 11), decay=0.2)
  config.epochs = 11
  return common.tiny(config) if arg == 'tiny' else config
