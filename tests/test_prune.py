"""`bst_jax.prune`: from a converted network to a smaller one."""
import json
import os
import subprocess
import sys

from bst_jax import convert, elastic
from bst_jax.pruning import select, targets
from bst_jax.report import costs
from bst_jax.run import experiment
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
  rng = np.random.default_rng(0)
  for split in ('train', 'val'):
    for i in range(14):
      place = folder / 'pictures' / split / f'animal {i % 7}'
      place.mkdir(parents=True, exist_ok=True)
      Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(
          place / f'{i}.png')
  return folder / 'whole'


def run(workdir, *flags):
  """Exit code, output and log of the command."""
  folder = workdir.parent
  done = subprocess.run(
      [sys.executable, '-m', 'bst_jax.prune', '--workdir', str(workdir),
       '--data=class_folders', f'--data.manual_dir={folder / "pictures"}',
       '--data.eval=val', *flags], text=True, capture_output=True, cwd=folder,
      env=os.environ | {'BST_JAX_DATA': str(folder / 'data'),
                        'JAX_PLATFORMS': 'cpu'})
  return done.returncode, done.stdout, done.stderr


def test_it_becomes_smaller_and_scores_serve_again(workdir):
  code, said, log = run(workdir, '--target=macs<=60K', '--pictures=8',
                        '--output=small')
  assert code == 0, log
  assert 'before' in said and 'after' in said and 'by hybrid scores' in said
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
  # What is there already is told, and no folder made.
  code, said, log = run(workdir, '--target=params<=3G', '--kind=random',
                        '--output=same')
  assert code == 0 and 'nothing was removed' in said
  assert not (workdir.parent / 'same').exists()


@pytest.mark.parametrize('target, said', [
    ('deit_tiny', 'has 12 layers, but the model has 2'),
    ('pvt_v2_b0', 'is a pvt, but the model is a vit'),
    ('macs<=1', 'no selection meets it: the smallest, one channel'),
    ('latency_ms<=3', 'is measured, and prune counts'),
    ('small', 'no budget; write one as')])
def test_targets_that_cannot_be(workdir, target, said):
  with pytest.raises(ValueError, match=said):
    targets.sizes(experiment.load(workdir), target)


@pytest.mark.parametrize('target, model', [
    ('deit_tiny', dict(name='vit', width=768, heads=12, mlp=3072)),
    ('deit_small', dict(name='vit', width=768, heads=12, mlp=3072)),
    ('pvt_v2_b0', dict(name='pvt', width=(64, 128, 320, 512),
                       mlp=(512, 1024, 1280, 2048)))])
def test_known_targets_are_what_they_are_called(workdir, target, model):
  """To the last parameter; a parent that is smaller is refused."""
  backbone, rule, sizes = targets.KNOWN[target]
  config = experiment.load(workdir).config
  build = lambda model: experiment.build(
      _with(config, model), dict(num_answers=1000, image_size=224))
  exp, stock = build(model), build(dict(name=backbone) | sizes)
  found, got = targets.sizes(exp, target)
  assert got == rule
  assert targets._cost(exp, found, 'params', rule) == elastic.size(stock.shapes)
  with pytest.raises(ValueError, match='leave --multiple out'):
    targets.sizes(exp, target, multiple=8)


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
