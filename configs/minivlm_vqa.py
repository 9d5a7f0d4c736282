"""MiniVLM answers the questions of VQA-v2 about regions of an extractor.

  python -m bst_jax.features --workdir runs/tee --images vqa_v2/images \
      --output features/vqa_v2
  python -m bst_jax.train --config configs/minivlm_vqa.py:pretrained \
      --config.start.workdir=runs/pretrained \
      --config.data.word_pieces=vocab.txt --workdir runs/minivlm_vqa

It goes on from a pre-training with words and matches, whose heads stay behind;
or, without `:pretrained`, from MiniLM, which table `bert` converts. vocab.txt
is that of BERT, uncased. Settings are the author's: no tags, no warm-up,
questions without a scored answer left out. Accuracy: not measured here.

`:scenes` is a small one on synthetic scenes of real digits, from which
configs/minivlm_nlvr2.py:scenes starts. Measured, three seeds: 97.3 % of test
(96.8 to 97.6), where the questions alone give 34.8 %, in two minutes on two shared cores. `:tiny` is
a short run on embedded data.
"""
from configs import common, minivlm_scenes, pairs_scenes

# Heads of a pre-training, with words and matches.
HEADS = 'words_head', 'match_head'
# A text has at most so many words in any of the trainings on scenes.
SMALL = minivlm_scenes.MODEL | dict(tag_start=40, max_positions=72)


def get_config(arg=''):
  common.check_variant(arg, ('pretrained', 'scenes', 'tiny'), __file__)
  if arg == 'scenes':
    return scenes()
  config = common.base()
  config.data = common.vqa_v2(
      name='vqa_v2/images', features='features/vqa_v2', num_regions=50,
      train='train+nominival', batch=128, max_tokens=128,
      sizes=dict(vocab_size=30522, num_answers=3129, max_tokens=128,
                 num_regions=50, feature_size=1024))
  config.task = dict(name='vqa', reduction='sum_over_soft_targets',
                     scored_only=True)
  config.model = dict(name='minivlm', width=384, heads=12, mlp=1536,
                      num_layers=12, feature_size=1024, tag_start=None,
                      dropout=0.3)
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=5e-5, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='linear', warmup=0.0)
  config.epochs = 40
  if arg == 'pretrained':
    config.start = dict(workdir='runs/pretrained', fresh=('head',), leave=HEADS)
  return tiny(config) if arg == 'tiny' else config


def scenes():
  """The same task on digit scenes."""
  config = common.base()
  config.data = common.digit_scenes('easy')
  config.data.update(max_tokens=10, eval_questions_per_picture=5,
                     blank_regions=True, words_of=pairs_scenes.WORDS_OF,
                     features='', seed=config.get_ref('seed'))
  config.task = dict(name='vqa', reduction='sum_over_soft_targets')
  config.model = SMALL
  config.method = dict(name='plain')
  config.optimizer = dict(name='adamw', lr=1e-3, weight_decay=1e-4, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.08)
  config.steps = 2500
  config.log_every, config.save_every, config.eval_every = 100, 500, 1000
  return config


def tiny(config):
  """A short run of a small one on embedded data, from random parameters."""
  config = common.tiny(config)
  del config.model.word  # Its embeddings are as wide as the rest.
  if config.data.get('features'):
    config.data.update(features='', num_regions=0)
  return config
