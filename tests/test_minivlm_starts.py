"""MiniVLM's pre-training and retrieval as configs, and what starts from what."""
import json

from bst_jax import elastic, train
from bst_jax.ahead import abstract
from bst_jax.run import experiment, matching
from bst_jax.run import start as starts
from bst_jax.store import checkpoint
from captioners import opened
from configs import minivlm_caption_scenes, minivlm_pretrain, minivlm_retrieval
import numpy as np
import pytest

SMALL = dict(width=8, heads=2, mlp=16, num_layers=1)


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  return str(tmp_path_factory.mktemp('datasets'))


@pytest.fixture(scope='module')
def load(home):
  return lambda config=minivlm_pretrain, **options: opened(
      home, config, **options)


def shapes_of(config, **sizes):
  exp = experiment.build(config, config.data.get('sizes') or dict(
      vocab_size=30, max_tokens=32, num_regions=4, feature_size=12) | sizes)
  return exp, elastic.flatten(exp.shapes)


@pytest.mark.parametrize('module', [minivlm_pretrain, minivlm_retrieval])
def test_a_batch_without_data_has_the_shapes_of_one_with_them(module, load):
  data, config = load(module), module.get_config('tiny')
  exp = experiment.build(config, data.sizes)
  for training, real in ((True, data.example),
                         (False, next(iter(data.evaluation('val'))))):
    assert {k: (v.shape, v.dtype) for k, v in abstract.batch(
        exp, len(real['mask']), training).items()} == {
            k: (v.shape, v.dtype) for k, v in real.items()}


def test_published_configs():
  config = minivlm_pretrain.get_config()
  exp, before = shapes_of(config)
  assert elastic.size(exp.shapes) == 33_936_572  # As counted by hand.
  assert (config.data.batch, config.epochs, config.optimizer.lr,
          config.schedule.warmup) == (2048, 100, 4e-4, 0.05)
  assert 'clip' not in config.optimizer and exp.task.rivals is False
  assert exp.task.terms == {'words': (1.0, 'mean_batch'),
                            'match': (1.0, 'mean_batch')}
  config = minivlm_retrieval.get_config()
  exp, after = shapes_of(config)
  assert config.data.batch == 2 * 128 and config.data.max_tokens + (
      config.data.max_tags) == 70
  taken = matching.match(starts.of(config), after, before)
  assert taken.keys() == {path for path in after if 'match_head' not in path}


@pytest.mark.parametrize('data', [{}, dict(
    max_tags=8, plate_tags=('color', 'digit'), unique_tags=True)])
def test_captions_of_scenes_go_on_from_a_pre_training(data, load):
  """With tags and without: the same parameters, and the same words."""
  _, before = shapes_of(minivlm_pretrain.get_config('scenes'), max_masked=5,
                        max_tags=8)
  config = minivlm_caption_scenes.get_config()
  config.start = dict(workdir='runs/pretrained', leave=('match_head',))
  sizes = {'max_tags': 8} if data else {}
  _, after = shapes_of(config, max_masked=3, **sizes)
  taken = matching.match(starts.of(config), after, before)
  assert taken.keys() == after.keys() and 'words_head/bias' in taken
  captions, words = load(minivlm_caption_scenes, **data), load().vocab.words
  assert captions.vocab.words == words
  assert load(minivlm_retrieval).vocab.words == words
  assert ('tags' in next(captions.train())) == bool(data)


def run(module, workdir, home, steps, start=None, **changes):
  config = module.get_config('tiny')
  config.data.update(dict(data_dir=home, limit=8, batch=8) | changes)
  config.model.update(SMALL)
  config.schedule = dict(name='constant')
  config.steps, config.log_every, config.save_every = steps, 1, 1
  config.evaluate_at_end = bool(start)
  if start:
    config.start = module.get_config('scenes').start
    config.start.workdir = str(start)
  train.run(config, workdir)
  return config, elastic.flatten(checkpoint.load_params(workdir))


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory, home):
  workdir = tmp_path_factory.mktemp('runs') / 'pretrained'
  run(minivlm_pretrain, workdir, home, 2)
  return workdir, run(minivlm_pretrain, workdir, home, 3)[1]


def test_a_pre_training_that_goes_on_is_the_one_at_once(pretrained, tmp_path,
                                                        home):
  workdir, params = pretrained
  _, at_once = run(minivlm_pretrain, tmp_path / 'run', home, 3)
  for path, leaf in at_once.items():
    np.testing.assert_array_equal(params[path], leaf, err_msg=path)
  lines = [json.loads(line) for line in open(workdir / 'metrics.jsonl')]
  assert [one['step'] for one in lines if 'loss/full' in one] == [1, 2, 3]
  assert all(np.isfinite(one['loss/full']) for one in lines
             if 'loss/full' in one)


def test_retrieval_takes_the_transformer_and_begins_its_head_anew(
    pretrained, tmp_path, home):
  workdir, before = pretrained
  config, after = run(minivlm_retrieval, tmp_path / 'run', home, 1, workdir)
  exp = experiment.build(config, dict(
      vocab_size=len(before['text/words/table']), max_tokens=32, max_tags=8,
      num_regions=4, feature_size=128))
  begun = elastic.flatten(starts.params(starts.of(config), exp, config.seed))
  assert begun.keys() == after.keys()
  for path, leaf in begun.items():
    if path.startswith('match_head/kernel'):
      assert np.abs(leaf - before[path]).min() > 0
    elif not path.startswith('match_head'):
      np.testing.assert_array_equal(leaf, before[path], err_msg=path)
  moved = np.abs(after['match_head/kernel'] - begun['match_head/kernel']).max()
  assert 0 < moved < 2e-3  # One step of AdamW.
  table = json.loads(next((tmp_path / 'run').glob('evaluation*.json')).read_text())
  assert 'text_recall@1' in json.dumps(table)
