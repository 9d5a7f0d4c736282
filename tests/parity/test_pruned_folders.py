"""A network with fewer channels and layers, opened by transformers.

  pytest -n 0 tests/parity/test_pruned_folders.py
"""
from bst_jax import convert, elastic, extract
from bst_jax.pruning import depth, select, targets
from bst_jax.pruning.scores import counts_of, Scores
from bst_jax.run import experiment
from bst_jax.store import checkpoint
import jax
import numpy as np
import pytest
import test_folders_for_transformers as folders
import transformers


@pytest.mark.parametrize('name, budget', [
    ('ViT', 'params<=5K'), ('DeiT, two heads', 'macs<=150K'),
    ('PVTv2, linear', 'params<=15K')])
def test_it_opens_and_gives_the_same_logits(name, budget, tmp_path):
  model, side, theirs = folders.CASES[name]
  whole = folders.workdir_of(tmp_path / 'whole', model, side)
  exp = experiment.load(whole)
  stack = next(iter(exp.model.stacks))
  count = exp.model.stacks[stack].num_layers
  left = elastic.Choice(layers={
      stack: (*range(count - 2), {'attention': count - 2, 'ffn': count - 1})})
  small = experiment.chosen(experiment.whole(exp), left)
  sizes, rule = targets.sizes(small, budget)
  rng = np.random.default_rng(0)
  scores = Scores('random', '', {
      axis: rng.random(n)
      for axis, n in counts_of(small.shapes, small.axes).items()})
  choice = depth.joined(left, select.choice(
      scores, small.shapes, small.axes, sizes, rule))
  extract.extract(whole, choice, tmp_path / 'cut')
  convert.write_folder(tmp_path / 'cut', tmp_path / 'written')

  cut = experiment.load(tmp_path / 'cut')
  params = checkpoint.load_params(tmp_path / 'cut', cut.shapes)
  assert elastic.size(params) < elastic.size(exp.shapes) / 1.5
  pixels = rng.integers(0, 256, (2, *cut.model.sides, 3), np.uint8)
  with jax.default_matmul_precision('highest'):
    want = np.asarray(cut.model.apply(
        {'params': params}, {'image': pixels})['classes'])
  opened, report = (
      transformers.AutoModelForImageClassification.from_pretrained(
          tmp_path / 'written', output_loading_info=True))
  assert type(opened).__name__ == theirs
  assert not any(report[key] for key in (
      'missing_keys', 'unexpected_keys', 'mismatched_keys'))
  processor = transformers.AutoImageProcessor.from_pretrained(
      tmp_path / 'written')
  got = opened(**processor(list(pixels), return_tensors='pt')).logits
  got = got.detach().numpy()
  assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
  assert np.ptp(want, axis=0).min() > 1e-3
