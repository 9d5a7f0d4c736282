"""MiniVLM tells which caption belongs to which picture of COCO, both ways.

  python -m bst_jax.train --config configs/minivlm_retrieval.py \
      --workdir runs/retrieval --config.start.workdir=runs/pretrained \
      --config.data.word_pieces=vocab.txt --config.data.manual_dir=coco \
      --config.data.features=features/coco
  python -m bst_jax.evaluate --workdir runs/retrieval
  python -m bst_jax.evaluate --workdir runs/retrieval --data.limit=1000

runs/pretrained is what configs/minivlm_pretrain.py trains; the head begins anew.
Each right pair comes with a wrong one, of another caption or of another picture
and its tags; tags follow the last word of their caption, and all words see all.
Evaluation scores every caption for every picture, of the 5,000 of COCO's test in
Karpathy's splits or of the first 1,000, by the odds that a pair matches. Settings
are the author's: 128 right pairs a batch, 30 epochs. They give text and tags 70
places together; here 40 and 30. Needs accelerators; recall: not measured here.

`:scenes` is a small one on synthetic scenes of real digits, with the captions
that name every plate, so that none fits two pictures; it starts from
configs/minivlm_pretrain.py:scenes, and with `:alone` at random. Measured on two
loaded cores, one seed, shortened: 250 steps behind 700 of pre-training tell 91 %
of the right and wrong pairs of val, and of 59 pictures of test 31 % find their
text first and 34 % of texts their picture, where chance is 2 %. The steps given
here, and all of test: not yet measured. `:tiny` and `:scenes,tiny`, the same,
take a minute and start at random.
"""
from configs import common, minivlm_pretrain


def get_config(arg=''):
  common.check_variant(arg, ('scenes', 'alone', 'tiny', 'scenes,tiny'), __file__)
  config = common.base()
  config.data = dict(
      name='coco_captions', form='retrieval', texts='all', train='train',
      eval='test', watch='', batch=256, eval_texts_per_picture=32,
      inputs=('regions',), negatives='either', max_tokens=40, max_tags=30,
      least_confidence=0.0, num_regions=50, features='', word_pieces='',
      seed=config.get_ref('seed'), limit=0, data_dir='', manual_dir='',
      sizes=dict(vocab_size=30522, max_tokens=40, max_tags=30, num_regions=50,
                 feature_size=1024))
  config.model = dict(
      name='minivlm', mask='both', width=384, heads=12, mlp=1536,
      num_layers=12, feature_size=1024, tag_start=None, dropout=0.1)
  config.task = dict(name='match', loss='yes_or_no')
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=2e-5, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='linear', warmup=0.0)
  config.epochs = 30
  config.log_every, config.save_every, config.eval_every = 100, 5_000, 0
  config.start = dict(workdir='runs/pretrained', fresh=('match_head',),
                      leave=('words_head',))
  return scenes(config, arg) if arg else config


def scenes(config, arg):
  """The same on digit scenes."""
  config.data = minivlm_pretrain.SCENES | dict(
      form='retrieval', texts='list', watch='', batch=128,
      eval_texts_per_picture=32, negatives='either',
      seed=config.get_ref('seed'))
  config.model = minivlm_pretrain.SMALL | dict(mask='both', tag_start=None)
  config.optimizer.lr = 5e-4
  config.epochs, config.steps, config.save_every = 0, 1500, 500
  if arg != 'scenes':
    config.start = None
  return minivlm_pretrain.shrunk(config) if 'tiny' in arg else config
