"""MiniVLM with BST: ten captioners of one training.

  python -m bst_jax.train --config configs/bst_minivlm_captions.py \
      --workdir runs/bst_captions --config.start=runs/captions \
      --config.data.word_pieces=vocab.txt \
      --config.data.manual_dir=coco --config.data.features=features/coco
  python -m bst_jax.extract --workdir runs/bst_captions --submodel 1/2x1/3 \
      --output runs/small

runs/captions is what configs/minivlm_captions.py trains, by the same optimiser and
schedule: it starts all submodels and teaches them its words at the masked places.
None of the papers has it. Scores: not measured here; of a small one on digit scenes:
docs/results.md. `:tiny` takes a minute.
"""
from configs import common, minivlm_captions


def get_config(arg=''):
  common.check_variant(arg, ('tiny',), __file__)
  config = common.sandwich(minivlm_captions.get_config(arg))
  if arg == 'tiny':  # It has no teacher of its own.
    config.space.widths = config.space.depths = ('1/2', '1')
    config.method.update(teacher='inplace', sampled=1)
  return config
