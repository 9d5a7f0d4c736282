"""MiniVLM writes captions of COCO's pictures, or of your own.

  python -m bst_jax.train --config configs/minivlm_captions.py \
      --workdir runs/captions --config.data.word_pieces=vocab.txt \
      --config.start="{'workdir': 'runs/pretrained', 'leave': ('match_head',)}" \
      --config.data.manual_dir=coco --config.data.features=features/coco
  python -m bst_jax.train --config configs/minivlm_captions.py:scst \
      --workdir runs/rewarded --config.start=runs/captions \
      --config.data.word_pieces=vocab.txt \
      --config.data.manual_dir=coco --config.data.features=features/coco
  python -m bst_jax.evaluate --workdir runs/rewarded --results

runs/pretrained is what configs/minivlm_pretrain.py trains. The first goes on with
masked words of captions alone, by the author's settings for the small model; `:scst`
with CIDEr-D as a reward, by OSCAR's for its base model, as none of MiniVLM are
published. Words of the best of five beams are evaluated. Pictures of your own, with
lists of captions, are --config.data.name=caption_list; the whole path to a phone is
docs/minivlm.md, and configs/bst_minivlm_captions.py has the ten submodels. Needs
accelerators; scores: not measured here. `:tiny` and `:scst,tiny` take a minute.
"""
from configs import common


def get_config(arg=''):
  common.check_variant(arg, ('scst', 'tiny', 'scst,tiny'), __file__)
  config = common.base()
  config.data = dict(
      name='coco_captions', form='captioning', train='train', eval='test',
      watch='', batch=512, texts_per_picture=1, eval_texts_per_picture=5,
      inputs=('regions',), max_tokens=40, masked=0.15, max_masked=3, max_tags=30,
      least_confidence=0.2, num_regions=50, word_pieces='',
      seed=config.get_ref('seed'), limit=0, data_dir='', manual_dir='',
      features='', sizes=dict(
          vocab_size=30522, max_tokens=40, max_tags=30, max_masked=3,
          num_regions=50, feature_size=1024, special=(101, 102, 103)))
  config.model = dict(
      name='minivlm', mask='caption', width=384, heads=12, mlp=1536,
      num_layers=12, feature_size=1024, tag_start=40, dropout=0.1)
  config.task = dict(name='captioning', smoothing=0.1, beams=5)
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=1e-5, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='linear', warmup=0.0)
  config.epochs = 20
  config.log_every, config.save_every, config.eval_every = 100, 5_000, 0
  if 'scst' in arg:
    config.model.dropout = 0.0  # Captions are learnt as they were drawn.
    config.method = dict(name='scst', samples=5)
    config.data.update(batch=320, texts_per_picture=5)
    config.optimizer.lr, config.epochs = 5e-6, 5
  if 'tiny' in arg:
    common.tiny(config)
    config.data.update(max_tags=0, num_regions=0)
    config.model.max_positions = 72  # As in the tiny pre-training.
    del config.model.fused
    del config.model.word
  if arg == 'scst,tiny':
    config.method.samples, config.data.batch, config.steps = 2, 20, 10
  return config
