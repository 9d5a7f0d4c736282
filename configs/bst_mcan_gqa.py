"""MCAN with BST at its published size and schedule, GQA form.

  python -m bst_jax.convert --config configs/bst_mcan_gqa.py --table mcan_bst \
      --checkpoint epoch11.pkl --workdir runs/mcan_gqa

Boxes are embedded beside the features, the image adapter has no norm, and one
answer of many is right. Accuracy: not measured here, the reference repository
reports 58.37 test-dev at 1x1 and 56.69 at 1/4x1/3. `:tiny` trains on the
embedded data in a minute on a CPU.
"""
from configs import bst_mcan_vqa


def get_config(arg=''):
  config = bst_mcan_vqa.get_config()
  config.data.update(
      name='gqa', train='train+val', eval='testdev', max_tokens=29,
      answers_from='', min_answers=1,
      sizes=dict(vocab_size=2933, num_answers=1843, max_tokens=29,
                 num_regions=100))
  config.task.name = 'gqa'
  config.model.update(box_size=2048, image_norm=False)

  config.schedule = dict(name='quarters', warmup_epochs=2,
                         decay_epochs=(9, 11), decay=0.2)
  config.epochs = 11
  return bst_mcan_vqa.tiny(config) if arg == 'tiny' else config
