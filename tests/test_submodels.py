"""The package's one invariant: slicing then running equals running sliced."""
from bst_jax import elastic
import chex
import jax
import models
import numpy as np
import pytest

PAIRS = list(models.SPACE)
# Every width and every depth once, neither the same ratio.
FEW = [elastic.Submodel(*pair) for pair in (
    ('1/4', '1/2'), ('1/2', '1'), ('3/4', '1/4'), ('1', '3/4'))]
CASES = [(name, sub) for name in models.TINY
         for sub in (PAIRS if name in models.THOROUGH else FEW)]


@pytest.mark.parametrize('name, sub', CASES, ids=lambda x: str(x))
def test_slicing_then_running_equals_running_sliced(name, sub):
  model, batch, params, axes = models.build(name)

  sliced = models.run(model, params, batch, sub)

  small = elastic.Slices(axes, model.stacks).cut(params, sub)
  alone = models.run(model.at(sub), small, batch)
  assert sliced.shape == (4, 7)
  np.testing.assert_allclose(sliced, alone, atol=1e-5)


# Every width and every depth once: the shapes depend on each by itself.
@pytest.mark.parametrize('sub', PAIRS[::5], ids=str)
@pytest.mark.parametrize('name', models.TINY)
def test_what_is_extracted_has_the_shapes_of_the_smaller_model(name, sub):
  model, batch, params, axes = models.build(name)
  small = elastic.Slices(axes, model.stacks).cut(params, sub)
  boxed = jax.eval_shape(model.at(sub).init, jax.random.key(0), batch)
  chex.assert_trees_all_equal_shapes(small, elastic.unbox(boxed['params']))


@pytest.mark.parametrize('name', models.TINY)
def test_submodels_differ(name):
  """Otherwise the invariant could hold by ignoring `sub`."""
  model, batch, params, _ = models.build(name)
  run = lambda text: models.run(
      model, params, batch, sub=elastic.Submodel.parse(text))
  full = run('1x1')
  for text in ('1/2x1', '1x1/2'):
    assert abs(run(text) - full).max() > 1e-2, text


def test_an_impossible_submodel_fails_before_anything_runs():
  model, *_ = models.build('mcan_vqa')
  with pytest.raises(ValueError, match="width 1/8 .* 4 'heads' units"):
    model.at(elastic.Submodel('1/8', 1))
  with pytest.raises(ValueError, match='depth 1/3 .* 4 layers'):
    model.at(elastic.Submodel(1, '1/3'))
