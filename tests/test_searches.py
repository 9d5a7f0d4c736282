"""A search, and the training without what it found, by one command."""
import dataclasses
import json
import shutil
import signal

from bst_jax import elastic, extract, train
from bst_jax.elastic import Choice
from bst_jax.learn import optimizers
from bst_jax.learn import state as states
from bst_jax.report import watching
from bst_jax.run import experiment, matching, searches, training
from bst_jax.run import start as starts
from bst_jax.store import checkpoint
from configs import (
  das_flickr30k,
  das_meter_vqa,
  das_nlvr2,
  das_scenes,
  das_snli_ve,
  das_vilt_vqa,
)
import jax
import models
import numpy as np
import pytest
import test_train


def config_of(arg, **changes):
  config = das_scenes.get_config(f'{arg},tiny' if arg else 'tiny')
  config.evaluate_at_end = False
  config.update(changes)
  return config


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """The workdir of a search of ViLT and of the training behind it."""
  workdir = tmp_path_factory.mktemp('das') / 'run'
  train.run(config_of(''), workdir)
  return workdir


def test_one_command_leaves_a_small_workdir(trained):
  whole, small = map(experiment.load, (searches.place(trained), trained))
  found = searches.found(trained)
  assert len(found) == 2 and set(found) <= set(whole.model.candidates)
  assert small.model.skip == found and small.config.get('search') is None
  params = elastic.flatten(checkpoint.load_params(trained, small.shapes))
  for path in found:
    assert not any(name.startswith(f'{path}/') for name in params)
    layer = path.rpartition('/')[2]
    assert any(name.startswith(f'encoder/skip_{layer}/') for name in params)
  assert elastic.size(small.shapes) < elastic.size(whole.shapes)
  lines = [json.loads(line) for line in (
      searches.place(trained) / 'metrics.jsonl').read_text().splitlines()]
  assert all(np.isfinite(line['reward']) for line in lines if 'reward' in line)


def test_the_same_command_finds_all_done_and_another_search_is_refused(trained):
  config = config_of('')
  assert 'is finished' in training.finished(config, trained, watching.REPORTS)
  config.search.method.skips = 1
  with pytest.raises(ValueError, match='method.skips: 2 there, 1 now'):
    train.run(config, trained)


def test_what_was_found_is_cut_out_of_the_search_too(trained, tmp_path):
  place = searches.place(trained)
  choice = experiment.read_choice(place / 'choice.json')
  assert choice.model == elastic.fingerprint(experiment.load(place).shapes)
  extract.extract(place, choice, tmp_path / 'small')
  small = experiment.load(tmp_path / 'small')
  assert small.model.skip == choice.skip
  whole = experiment.load(place)
  batch = models.batch_of('tokens', side=64) | {
      'image': np.zeros((2, 64, 64, 3), np.uint8)}
  batch['tokens'] = np.asarray(batch['tokens']) % 5
  flags = np.array([path in choice.skip for path in whole.model.candidates])
  want = whole.model.apply(
      {'params': checkpoint.load_params(place, whole.shapes)}, batch,
      flags=jax.numpy.asarray(flags))
  got = small.model.apply(
      {'params': checkpoint.load_params(tmp_path / 'small', small.shapes)},
      batch)
  np.testing.assert_array_equal(got['answers'], want['answers'])


def ended(workdir):
  """Parameters, preferences and the choice that a search ended with."""
  params = elastic.flatten(checkpoint.load_params(
      workdir, experiment.load(workdir).shapes))
  lines = [json.loads(line) for line in (
      workdir / 'metrics.jsonl').read_text().splitlines()]
  last = [line for line in lines if 'gate/max' in line][-1]
  return params, [last[key] for key in ('gate/min', 'gate/max', 'reward')], (
      workdir / 'choice.json').read_text()


def test_a_search_that_lost_its_end_goes_on_to_the_same_gates(tmp_path):
  config = config_of('').search
  config.steps, config.save_every, config.log_every = 8, 4, 4
  train.run(config, tmp_path)
  want = ended(tmp_path)
  assert want[1][0] < 0 < want[1][1]
  for name in ('choice.json', 'finished.json', 'metrics.jsonl'):
    (tmp_path / name).unlink()
  shutil.rmtree(tmp_path / 'checkpoints' / '8')
  train.run(config, tmp_path)
  got = ended(tmp_path)
  assert got[1:] == want[1:]
  for path, value in want[0].items():
    np.testing.assert_array_equal(got[0][path], value, err_msg=path)


SEARCH = ('--config=configs/das_scenes.py:tiny', '--config.search.steps=12',
          '--config.search.save_every=3', '--config.search.log_every=1',
          '--config.steps=2', '--config.evaluate_at_end=False')


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_a_search_that_was_stopped_goes_on_to_the_same_gates(
    tmp_path, tmp_path_factory, number):
  """By the command, which then trains without what was found."""
  how = dict(config=SEARCH, cache=tmp_path / 'compiled')
  run = test_train.finish(tmp_path / 'straight', **how)
  assert run.returncode == 0, run.stdout
  code, output = test_train.stop_at(
      tmp_path / 'stopped', 7, number, metrics_in=searches.FOLDER, **how)
  assert code in (-signal.SIGKILL, 130), output
  assert not (tmp_path / 'stopped' / 'config.json').exists()
  run = test_train.finish(tmp_path / 'stopped', **how)
  assert run.returncode == 0, run.stdout
  assert 'going on from step' in run.stdout
  straight, stopped = (tmp_path / name for name in ('straight', 'stopped'))
  got, want = (ended(searches.place(workdir)) for workdir in (
      stopped, straight))
  assert got[1:] == want[1:]
  assert test_train.same(searches.place(straight), searches.place(stopped))
  assert test_train.same(straight, stopped)


@pytest.mark.parametrize('config', [
    das_nlvr2.get_config('tiny'), das_flickr30k.get_config('tiny')],
                         ids=['pairs', 'retrieval'])
def test_searches_of_other_tasks(config, tmp_path):
  config.evaluate_at_end = False
  config.steps = config.search.steps = 4
  train.run(config, tmp_path / 'run')
  small = experiment.load(tmp_path / 'run')
  assert small.model.skip == searches.found(tmp_path / 'run')
  assert len(small.model.skip) == 1


@pytest.mark.parametrize('name', ['das_nlvr2', 'das_flickr30k', 'das_snli_ve'])
@pytest.mark.parametrize('model', ['meter', 'vilt'])
def test_other_tasks_start_from_what_questions_do(name, model):
  """Of the checkpoint everything is taken but the head, or begins anew."""
  module = {'das_nlvr2': das_nlvr2, 'das_flickr30k': das_flickr30k,
            'das_snli_ve': das_snli_ve}[name]
  whole = {'meter': das_meter_vqa, 'vilt': das_vilt_vqa}[model]
  sizes = dict(vocab_size=30, num_answers=9, max_tokens=14, image_size=96)
  tiny = dict(num_layers=2, width=16, heads=2, mlp=32, fused=16)
  configs = [module.get_config('meter' if model == 'meter' else ''),
             whole.get_config('pretrained')]
  for config in configs:
    config.model.update(tiny)
    if model == 'meter':
      config.model.update(image_width=16, image_heads=2, image_layers=1,
                          text_width=16, text_heads=2, text_layers=1)
  config = searches.expected(configs[0], sizes)
  config.model.skip = config.model.skip[:1]
  small, before = (experiment.build(c, sizes).shapes for c in (
      config, configs[1]))
  left = config.model.skip if name == 'das_snli_ve' else (
      'head', *config.model.skip)
  start = dataclasses.replace(starts.of(config), leave=left)
  small, before = map(elastic.flatten, (small, before))
  if name == 'das_nlvr2':  # Three kinds of tokens in place of two.
    kinds = 'types/table' if model == 'meter' else 'kinds/table'
    before[kinds] = small[kinds]
  taken = matching.match(start, small, before)
  assert {path.split('/')[0] for path in small.keys() - taken.keys()} <= {
      'head', 'pair_head', 'match_head', 'encoder', 'text_fusion', 'image_fusion'}


@pytest.mark.parametrize('about', ['questions', 'statements'])
@pytest.mark.parametrize('backbone', ['vilt', 'meter'])
@pytest.mark.parametrize('way', das_scenes._WAYS)
def test_what_every_way_trains(way, backbone, about):
  arg = ','.join((way, *({backbone, about} & {'meter', 'statements'})))
  config = das_scenes.get_config(arg)
  sizes = dict(vocab_size=30, num_answers=9, max_tokens=14, image_size=64)
  if config.search:
    search = experiment.build(config.search, sizes)
    assert search.model.skip is None
    assert search.model.candidates[0].endswith('layer_0')
    matching.check_globs(starts.of(config.search),
                       elastic.flatten(search.shapes))
    config = searches.expected(config, sizes)
  exp = experiment.build(config, sizes)
  tx = optimizers.create(config.optimizer, config.schedule, exp.shapes, 10, 100,
                         exp.frozen_parts)
  learns, rest = states.trained(exp.shapes, tx)
  share = elastic.size(learns) / elastic.size(exp.shapes)
  assert (share == 1) == (way == 'full')
  assert ('head' if about == 'questions' else 'pair_head') in learns
  if way != 'full':
    assert share < 0.35
    matching.check_globs(starts.of(config), elastic.flatten(exp.shapes))


def test_layers_that_are_skipped_stay_behind_where_training_starts():
  config = das_scenes.get_config()
  found = searches.settled(config, ('encoder/layer_2', 'encoder/layer_5'))
  assert found.search is None
  assert found.model.skip == ('encoder/layer_2', 'encoder/layer_5')
  assert tuple(found.start.leave) == (
      'match_head', 'words_head', 'encoder/layer_2', 'encoder/layer_5')
  assert tuple(config.start.leave) == ('match_head', 'words_head')  # As it was.
  exp = experiment.build(found, dict(
      vocab_size=30, num_answers=9, max_tokens=14, image_size=64))
  pretrained = experiment.build(das_scenes.get_config('pretrain'), dict(
      vocab_size=30, max_tokens=29, max_masked=9, image_size=64))
  taken = matching.match(starts.of(found), elastic.flatten(exp.shapes),
                       elastic.flatten(pretrained.shapes))
  assert {'encoder/layer_0/ffn/fc1/kernel', 'pooler/kernel'} <= taken.keys()
  assert not any('skip_layer' in path or 'adapter' in path for path in taken)


@pytest.mark.parametrize('change, says', [
    (lambda c: c.search.model.update(num_layers=4), 'config.model.num_layers'),
    (lambda c: c.search.update(method=dict(name='plain')), 'with method das'),
    (lambda c: c.search.data.update(held_out=''),
     'config.data.held_out names no split')])
def test_a_search_that_does_not_fit_is_refused(change, says, tmp_path):
  config = config_of('')
  config.unlock()
  change(config)
  with pytest.raises(ValueError, match=says):
    train.run(config, tmp_path / 'run')
  assert not list(tmp_path.glob('run/**/checkpoints'))


def test_a_choice_of_another_model_is_refused(trained, tmp_path):
  whole = experiment.load(searches.place(trained))
  with pytest.raises(ValueError, match='fingerprint'):
    experiment.chosen(whole, Choice(skip=whole.model.candidates[:1],
                                    model='00000000'))
