"""UNITER with BST at the size of UNITER-base, VQA-v2 form.

  python -m bst_jax.convert --config configs/bst_uniter_vqa.py --table uniter \
      --checkpoint vqa.pt --workdir runs/uniter_vqa \
      --config.data.word_pieces=vocab.txt
  python -m bst_jax.profile --config configs/bst_uniter_vqa.py --convention bst

Serves converting, costs and latency; accuracy: not measured here. Tables
`uniter_pretrained` and `bert` start a training. Steps, optimiser and schedule
are UNITER's; one learning rate for all, where the original trains the answer
head ten times faster. `:tiny` is a short run on the embedded data.
"""
from configs import common


def get_config(arg=''):
  config = common.base()
  # What the data decide: bottom-up-attention regions, the pieces of BERT's
  # cased vocabulary, the published answers.
  config.data = dict(
      name='vqa_v2', train='train+vg', eval='minival', batch=512,
      questions_per_picture=1, inputs=('regions',),
      word_pieces='',  # The vocab.txt of BERT; '': words, for a new model.
      sizes=dict(vocab_size=28996, num_answers=3129, max_tokens=16,
                 num_regions=100))
  config.task = dict(name='vqa', reduction='mean_batch')
  config.model = dict(name='uniter', feature_size=2048, width=768, heads=12,
                      mlp=3072, fused=1536, num_layers=12, embed_mode='slice',
                      dropout=0.1)
  config.space.widths = ('1/4', '1/2', '3/4', '1')
  config.space.depths = ('1/6', '1/3', '2/3', '1')
  config.method = dict(name='bst', teacher='frozen', sampled=3, gt_weight=0.0)

  config.optimizer = dict(name='adamw', lr=8e-5, b1=0.9, b2=0.98,
                          weight_decay=0.01, clip=2.0)
  config.schedule = dict(name='linear', warmup=0.1)
  config.steps = 6000
  return tiny(config) if arg == 'tiny' else config


def tiny(config):
  """Shrinks this experiment or CLIP-ViL's."""
  # A frozen teacher needs a trained model; two minutes have none.
  config.method.teacher = 'inplace'
  config = common.tiny(config)
  del config.model.recurrent  # MCAN's.
  return config
