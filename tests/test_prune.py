"""`bst_jax.prune`: from a converted network to a smaller one."""
import json
import os
import re
import subprocess
import sys

from bst_jax import convert, elastic, extract, prune
from bst_jax.data import source
from bst_jax.interop import core
from bst_jax.pruning import gates, select, targets
from bst_jax.pruning.scores import counts_of, Scores
from bst_jax.report import costs
from bst_jax.run import experiment
from bst_jax.store import checkpoint
import made_up
import models
import numpy as np
from PIL import Image
import pytest
import test_interop_folders


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A network of random numbers, and pictures of its classes beside it."""
  folder = tmp_path_factory.mktemp('prune')
  (folder / 'vit').mkdir()
  test_interop_folders.vit(folder / 'vit')
  convert.read(None, None, folder / 'vit', folder / 'whole')
  made_up.animals(folder / 'pictures', 14, 7)
  return folder / 'whole'


def run(workdir, *flags):
  """Exit code, output and log of the command, on the pictures."""
  folder = workdir.parent
  return command(folder, f'--workdir={workdir}', '--data=class_folders',
                 f'--data.manual_dir={folder / "pictures"}', '--data.eval=val',
                 *flags)


def command(folder, *flags):
  """Exit code, output and log of the command, in a folder."""
  done = subprocess.run(
      [sys.executable, '-m', 'bst_jax.prune', *flags], text=True,
      capture_output=True, cwd=folder,
      env=os.environ | {'BST_JAX_DATA': str(folder / 'data'),
                        'JAX_PLATFORMS': 'cpu'})
  return done.returncode, done.stdout, done.stderr


def test_it_becomes_smaller_and_scores_serve_again(workdir):
  code, said, log = run(workdir, '--target=macs<=60K', '--pictures=8',
                        '--output=small')
  assert code == 0, log
  assert 'before' in said and 'after' in said and 'by hybrid scores' in said
  assert 'will take about' in log and 'ms, before' in said
  assert re.search(r'rank channels alike by -?\d\.\d\d \(embed\), '
                   r'-?\d\.\d\d \(heads, lowest', said)
  assert Image.open(workdir.parent / 'small/kept.png').size[0] > 600
  assert not (workdir.parent / 'small/scores.part.json').exists()
  small = experiment.load(workdir.parent / 'small')
  whole = experiment.load(workdir)
  macs = costs.of(small.model, small.shapes, small.example()).macs
  assert macs <= 60_000 < costs.of(
      whole.model, whole.shapes, whole.example()).macs
  choice = json.loads((workdir.parent / 'small/choice.json').read_text())
  assert choice['model'] == elastic.fingerprint(whole.shapes)
  # The same scores choose other sizes, and nothing is scored again.
  code, said, log = run(
      workdir, '--target=params<=3K', '--scores=small/scores.json',
      '--output=smaller')
  assert code == 0 and 'scoring' not in log, log
  assert elastic.size(experiment.load(workdir.parent / 'smaller').shapes) <= 3000
  code, _, log = run(workdir, '--target=params<=3K', '--output=smaller')
  assert code == 2 and 'nothing is overwritten' in log
  # Of other parameters of the same sizes they are refused.
  found = json.loads((workdir.parent / 'small/scores.json').read_text())
  found['about']['parameters'] = '00000000'
  path = workdir.parent / 'other.json'
  path.write_text(json.dumps(found))
  params = checkpoint.load_params(workdir, whole.shapes)
  with pytest.raises(ValueError, match='scores of other parameters of the same'):
    prune._loaded(path, whole, params, {})
  # Pictures of each class, and a ranking over layers.
  code, said, log = run(
      workdir, '--target=params<=3K', '--pictures_per_class=2', '--kind=fisher',
      '--mode=isomorphic', '--multiple=2', '--output=ranked')
  assert code == 0, log
  about = json.loads((workdir.parent / 'ranked/scores.json').read_text())['about']
  assert about['pictures'] == 14 and about['per_class'] == 2
  assert about['places'] == list(range(14))
  assert elastic.size(experiment.load(workdir.parent / 'ranked').shapes) <= 3000


def test_what_is_met_already_removes_nothing(workdir):
  code, said, log = run(workdir, '--target=params<=3G', '--kind=random',
                        '--output=same')
  assert code == 0 and 'nothing was removed' in said, log
  assert not (workdir.parent / 'same').exists()


def test_a_class_with_too_few_pictures_is_named(workdir):
  folder = workdir.parent
  data = source.load(dict(
      experiment.load(workdir).config.data, manual_dir=str(folder / 'pictures'),
      data_dir=str(folder / 'data'), eval='val', sizes=None))
  assert data.of_each_class(2).tolist() == list(range(14))
  with pytest.raises(ValueError, match=r'has fewer of animal 0 \(2\).* 2 more'):
    data.of_each_class(9)


@pytest.mark.parametrize('target, said', [
    ('pvt_v2_b0', 'is a pvt, but the model is a vit'),
    ('macs<=1', 'no selection meets it: the smallest, one channel'),
    ('mean_macs<=3', 'depends on the pictures; give a budget of macs, params'),
    ('small', 'no budget; write one as')])
def test_targets_that_cannot_be(workdir, target, said):
  with pytest.raises(ValueError, match=said):
    targets.sizes(experiment.load(workdir), target)


@pytest.mark.parametrize('target, model', [
    ('deit_tiny', dict(name='vit', width=768, heads=12, mlp=3072)),
    ('deit_small', dict(name='vit', width=768, heads=12, mlp=3072)),
    ('pvt_v2_b1', dict(name='pvt', width=(64, 128, 320, 512),
                       mlp=(512, 1024, 1280, 2048), num_layers=(3, 4, 6, 3))),
    ('pvt_v2_b0', dict(name='pvt', width=(64, 128, 320, 512),
                       mlp=(512, 1024, 1280, 2048)))])
def test_known_targets_are_what_they_are_called(workdir, target, model):
  """To the last parameter; a parent that is smaller is refused."""
  backbone, rule, sizes = targets.KNOWN[target]
  config = experiment.load(workdir).config
  build = lambda model: experiment.build(
      _with(config, model), dict(num_answers=1000, image_size=224))
  exp, stock = build(model), build(dict(name=backbone) | sizes)
  left = targets.layers(exp, target)
  assert set(left.values()) == ({12} if backbone == 'vit' else {2})
  if target == 'pvt_v2_b1':  # Of B2 layers go, and no channels.
    exp = experiment.chosen(experiment.whole(exp), elastic.Choice(layers={
        stack: (0, {'attention': 1, 'ffn': 2}) for stack in left}))
  targets.check(exp, target)
  with pytest.raises(ValueError, match='choose a larger parent'):
    # Before anything is scored.
    targets.check(build(dict(name=backbone) | sizes | dict(mlp=(
        sizes['mlp'] // 2 if backbone == 'vit' else (256, 512, 640, 512)))),
                  target)
  found, got = targets.sizes(exp, target)
  assert got == rule
  assert targets._cost(exp, found, 'params', rule) == elastic.size(stock.shapes)
  with pytest.raises(ValueError, match='leave --multiple out'):
    targets.sizes(exp, target, multiple=8)


def test_widths_travel_with_the_weights(workdir):
  """A new process needs the folder alone; another config is told what differs.
  """
  exp = experiment.load(workdir)
  sizes = {'mlp@encoder/layer_0/ffn': 11, 'mlp@encoder/layer_1/ffn': 23}
  scores = Scores('random', '', {
      name: np.random.default_rng(0).random(count)
      for name, count in counts_of(exp.shapes, exp.axes).items()})
  output = workdir.parent / 'uneven'
  extract.extract(workdir, select.choice(
      scores, exp.shapes, exp.axes, sizes), output)
  small = experiment.load(output)
  params = checkpoint.load_params(output, small.shapes)
  batch = {'image': np.random.default_rng(0).integers(
      0, 256, (2, *exp.model.sides, 3), np.uint8)}
  want = small.model.apply({'params': params}, batch)['classes']
  np.save(workdir.parent / 'batch.npy', batch['image'])
  said = subprocess.run(
      [sys.executable, '-c', 'import numpy as np, bst_jax\n'
       'net = bst_jax.load("uneven")\n'
       'out = net.model.apply({"params": net.params},\n'
       '                      {"image": np.load("batch.npy")})\n'
       'print(np.asarray(out["classes"]).tobytes().hex())'],
      text=True, capture_output=True, cwd=workdir.parent,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  assert said.stdout.strip() == np.asarray(want).tobytes().hex(), said.stderr
  whole = elastic.flatten(exp.shapes)['encoder/layer_0/ffn/fc1/kernel'].shape[1]
  with pytest.raises(ValueError, match='The first size that differs is of '
                     f'encoder/layer_0/ffn: 11 there, {whole} here'):
    checkpoint.load_params(output, exp.shapes)


def test_a_fused_matrix_loses_the_same_channels_three_times():
  """Query, key and value in one, as timm has them; width 8, two heads."""
  model, batch, params, axes = models.build(
      'vit', width=8, heads=2, mlp=16, num_layers=1)
  name = 'heads@encoder/layer_0/attention'
  choice = elastic.Choice(keep={name: ((0, 1, 3), (4, 6, 7))})
  small = elastic.cut(params, axes, choice, model.stacks)
  table = convert.table('timm_vit').TABLE
  whole, cut = core.write(table, params), core.write(table, small)
  for part in ('weight', 'bias'):
    before, after = (one[f'blocks.0.attn.qkv.{part}'] for one in (whole, cut))
    assert len(before) - len(after) == 3 * 2
    left = before.reshape(3, 8, *before.shape[1:])[:, [0, 1, 3, 4, 6, 7]]
    left[0] *= np.sqrt(3 / 4)  # What asks: the scale of four channels.
    np.testing.assert_allclose(after, left.reshape(after.shape), rtol=1e-6)
  # As the model in which those channels are zero.
  gate = np.ones(8)
  gate[[2, 5]] = 0
  zeroed = gates.gated(params, axes, {name: gate})
  run = lambda model, params: model.apply({'params': params}, batch)['classes']
  np.testing.assert_allclose(run(model.chosen(choice), small),
                             run(model, zeroed), rtol=1e-5, atol=1e-6)


def test_channels_are_put_in_order(workdir):
  code, said, log = run(workdir, '--sort_for=bst', '--kind=magnitude',
                        '--output=ordered')
  assert code == 0 and '--config.start.workdir=ordered' in said, log
  whole, sorted_ = (experiment.load(folder) for folder in (
      workdir, workdir.parent / 'ordered'))
  assert elastic.fingerprint(whole.shapes) == elastic.fingerprint(sorted_.shapes)
  code, _, log = run(workdir, '--sort_for=bst', '--target=macs<=1K',
                     '--output=never')
  assert code == 2 and 'give one or the other' in log


def test_layers_go_before_channels_do(workdir):
  code, said, log = run(workdir, '--target=params<=3K', '--layers=1',
                        '--pictures=8', '--kind=fisher', '--output=short')
  assert code == 0 and 'encoder loses' in log, log
  small = experiment.load(workdir.parent / 'short')
  assert small.model.num_layers == 1 and elastic.size(small.shapes) <= 3000
  choice = json.loads((workdir.parent / 'short/choice.json').read_text())
  assert len(choice['layers']['encoder']) == 1
  found = json.loads((workdir.parent / 'short/scores.json').read_text())
  assert len(found['depth']['encoder']) == 3
  # The same scores know the layers that they are of.
  code, _, log = run(workdir, '--target=params<=2K', '--output=shorter',
                     '--scores=short/scores.json')
  assert code == 0, log
  assert experiment.load(workdir.parent / 'shorter').model.num_layers == 1
  exp = experiment.load(workdir)
  with pytest.raises(ValueError, match='has scores of a model with'):
    prune._loaded(workdir.parent / 'short/scores.json', exp, checkpoint.load_params(
        workdir, exp.shapes), {'encoder': 2})


@pytest.mark.parametrize('target, asked, said', [
    ('deit_tiny', None, '12 layers of .encoder. were to be left, and this model'),
    ('deit_tiny', '3', 'leave --layers out'),
    ('params<=3K', '3', 'leave from 1 to all of them'),
    ('params<=3K', '1,1', 'this model has 1: encoder'),
    ('params<=3K', 'two', 'are no numbers with commas')])
def test_layers_that_cannot_be(workdir, target, asked, said):
  with pytest.raises(ValueError, match=said):
    targets.layers(experiment.load(workdir), target, asked)


def test_a_budget_of_time_is_measured(workdir, monkeypatch):
  exp, asked = experiment.load(workdir), []

  def measure(exp, params, subs, batch, runs):
    asked.append((batch, len(subs)))
    return [{'latency_ms': elastic.size(exp.shapes) / 1000}]

  monkeypatch.setattr(targets.latency, 'measure', measure)
  found, rule = targets.sizes(exp, 'latency_ms<=3')
  assert targets._cost(exp, found, 'params', rule) <= 3000
  assert set(asked) == {(1, 1)} and len(asked) < 9
  with pytest.raises(ValueError, match='has latency_ms 0.'):
    targets.sizes(exp, 'latency_ms<=0.001')


def _with(config, model):
  config = config.copy_and_resolve_references()
  config.unlock()
  config.model = model
  return config


def test_a_smaller_budget_never_leaves_more(workdir):
  exp, before = experiment.load(workdir), float('inf')
  sizes = lambda limit, rule: targets.sizes(exp, f'params<={limit}', rule, 4)[0]
  for limit in (5000, 4000, 3000, 2000):
    total = targets._cost(exp, sizes(limit, 'heads'), 'params', 'heads')
    assert total <= min(limit, before)
    before = total
  assert set(select.RULES) == {'segment', 'per_head', 'heads'}
