"""What is trained beside frozen layers: adapters, low ranks, prompts."""
from bst_jax import elastic
from bst_jax.elastic import Submodel
from bst_jax.layers.extra import Extra
import jax
import models
import numpy as np
import pytest

ROWS = 'vilt', 'meter'
# What makes each kind of extra say nothing.
_LAST = {'parallel': 'ffn/fc2', 'scaled': 'ffn/fc2', 'sequential': 'ffn/fc2',
         'lora': 'up'}


def with_extra(name, kind, size=3, scale=4.0):
  return models.build(name, extra=Extra(kind, size, scale))


@pytest.mark.parametrize('kind', _LAST)
@pytest.mark.parametrize('name', ROWS)
def test_an_extra_that_says_nothing_changes_nothing(name, kind):
  model, batch, params, _ = with_extra(name, kind)
  flat = elastic.flatten(params)
  mine = {path for path in flat if 'adapter_' in path or 'lora_' in path}
  attentions = 2 * 4 * 2 if name == 'meter' else 4  # Of all layers.
  ffns = 8 if name == 'meter' else 4
  modules = {path.rpartition('_')[0] + path.rpartition('_')[2].split('/')[0]
             for path in mine}
  assert len(modules) == {'lora': 2 * attentions, 'scaled': attentions}.get(
      kind, attentions + ffns)
  spoken = models.run(model, params, batch)
  quiet = jax.tree.unflatten(jax.tree.structure(params), [
      np.zeros_like(x) if path in mine and f'/{_LAST[kind]}/' in path else x
      for path, x in flat.items()])
  plain = models.run(model.clone(extra=None), params, batch)
  np.testing.assert_allclose(models.run(model, quiet, batch), plain, atol=1e-6)
  assert np.abs(spoken - plain).max() > 1e-2


@pytest.mark.parametrize('name', ROWS)
def test_prompts_are_attended_to_and_no_more(name):
  model, batch, params, _ = with_extra(name, 'prompt', scale=1.0)
  flat = elastic.flatten(params)
  prompts = [path for path in flat if path.endswith('/prompt')]
  assert len(prompts) == (16 if name == 'meter' else 4)
  assert all(flat[path].shape == (3, 16) for path in prompts)
  got = models.run(model, params, batch)
  assert got.shape == models.run(model.clone(extra=None), params, batch).shape
  moved = jax.tree.unflatten(jax.tree.structure(params), [
      x + 1 if path in prompts else x for path, x in flat.items()])
  assert np.abs(models.run(model, moved, batch) - got).max() > 1e-3


def test_low_ranks_start_at_zero():
  model, batch = models.build('vilt', extra=Extra('lora', 2))[:2]
  params = elastic.flatten(elastic.unbox(model.init(
      jax.random.key(0), batch)['params']))
  up = [x for path, x in params.items() if '/up/' in path]
  assert len(up) == 8 and not any(np.abs(x).any() for x in up)


@pytest.mark.parametrize('kind', ['parallel', 'sequential', 'lora', 'prompt'])
def test_a_narrower_submodel_has_narrower_extras(kind):
  model, batch, params, axes = with_extra('meter', kind)
  sub = Submodel('1/2', '1/2')
  small = elastic.cut(params, axes, elastic.Choice(sub), model.stacks)
  np.testing.assert_allclose(
      models.run(model.at(sub), small, batch),
      models.run(model, params, batch, sub=sub), atol=1e-5)


@pytest.mark.parametrize('given, says', [
    (dict(kind='prefix', size=3), 'prefix'), (dict(kind='lora', size=0),
                                              'at least 1'),
    (dict(kind='lora', rank=3), 'rank')])
def test_what_is_no_extra_is_refused(given, says):
  with pytest.raises(ValueError, match=says):
    Extra.of(given)


def test_a_layer_that_samples_tokens_takes_no_prompts():
  model, batch = models.build('vilt')[:2]
  model = model.clone(extra=Extra('prompt', 3), ats=dict(
      blocks=(1,), capacity=(4,)))
  with pytest.raises(ValueError, match='takes no extra of kind prompt'):
    jax.eval_shape(model.init, jax.random.key(0), batch)
