"""Ten MCAN submodels from one training, on digit scenes made on first use.

  python -m bst_jax.train --config configs/quickstart.py --workdir runs/quickstart

A teacher learns from labels, then all submodels learn from it by the sandwich
rule. Synthetic scenes of real digits; not VQA-v2. Time, accuracy and seed
spread: docs/results.md. `:tiny` is the same in two minutes and learns little.
"""
from configs import common


def get_config(arg=''):
  config = common.base()
  config.data = common.digit_scenes('easy')
  config.data.update(max_tokens=10, eval_questions_per_picture=5,
                     blank_regions=True)
  config.task = dict(name='vqa')
  config.model = dict(name='mcan', width=64, heads=4, mlp=128, fused=128,
                      num_layers=4, word=64, recurrent=64, dropout=0.0,
                      identity_init=True)
  config.space.widths = ('1/4', '1/2', '3/4', '1')
  config.space.depths = ('1/4', '1/2', '3/4', '1')
  config.log_every, config.save_every, config.eval_every = 100, 500, 1000

  teacher = config.copy_and_resolve_references()
  teacher.method = dict(name='plain')
  teacher.optimizer = dict(name='adamw', lr=1e-3, weight_decay=1e-4, clip=1.0)
  teacher.schedule = dict(name='cosine', warmup=0.08)
  teacher.steps = 2500
  teacher.evaluate_at_end = False

  # One seed for all: initialisation, draws and the order of the data.
  for part in (config.data, teacher, teacher.data):
    part.seed = config.get_ref('seed')
  config.teacher = teacher
  config.method = dict(name='bst', teacher='frozen', sampled=3, gt_weight=0.0)
  config.optimizer = dict(name='adamw', lr=3e-3, weight_decay=1e-4, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.05)
  config.steps = 1500
  return common.tiny(config) if arg == 'tiny' else config
