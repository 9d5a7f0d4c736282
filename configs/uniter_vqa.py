"""UNITER-base, alone, VQA-v2 form: the teacher of configs/bst_uniter_vqa.py.

  python -m bst_jax.convert --config configs/uniter_vqa.py \
      --table uniter_pretrained --checkpoint uniter-base.pt \
      --workdir runs/uniter_pretrained --config.data.word_pieces=vocab.txt
  python -m bst_jax.train --config configs/uniter_vqa.py \
      --workdir runs/uniter_vqa --config.start=runs/uniter_pretrained \
      --config.data.word_pieces=vocab.txt

vocab.txt is that of BERT, cased. Table `bert` starts from less; a UNITER that
is fine-tuned already, table `uniter`, needs no training. Steps, optimiser and
schedule are those of UNITER, which fills a batch with 102,400 tokens and
regions and trains in half precision. Accuracy: not measured here. `:tiny` is a
short run on the embedded data.
"""
from configs import common


def get_config(arg=''):
  config = common.base()
  # What the data decide: bottom-up-attention regions, the pieces of BERT's
  # cased vocabulary, the published answers. Costs are those of 14 pieces
  # between [CLS] and [SEP]; training reads more.
  config.data = common.vqa_v2(
      batch=1024,  # Of 100 tokens and regions each, about UNITER's.
      max_tokens=32,
      word_pieces='',  # The vocab.txt of BERT; '': words, for a new model.
      sizes=dict(vocab_size=28996, num_answers=3129, max_tokens=16,
                 num_regions=100))
  config.micro_batches = 4
  config.task = dict(name='vqa', reduction='mean_batch')
  config.model = dict(name='uniter', feature_size=2048, width=768, heads=12,
                      mlp=3072, fused=1536, num_layers=12, embed_mode='slice',
                      dropout=0.1)
  config.method = dict(name='plain')

  config.optimizer = dict(name='adamw', lr=8e-5, b1=0.9, b2=0.98,
                          eps=1e-6, weight_decay=0.01, clip=2.0,
                          parts=dict(head=dict(lr_scale=10.0)))
  config.schedule = dict(name='linear', warmup=0.1)
  config.steps = 6000
  return common.tiny(config) if arg == 'tiny' else config
