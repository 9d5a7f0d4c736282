"""Costs of video networks, plain and sampled, against published arithmetic."""
import functools

from bst_jax import models
from bst_jax.report import costs
from bst_jax.run import experiment
from configs import ats_timesformer, ats_xvit
import jax
import pytest


@functools.cache
def dense(config, variant):
  config = config.get_config(f'{variant},dense'.removeprefix(','))
  return experiment.build(config, dict(config.data.sizes))


def sampled(config, variant, **changes):
  """The model that samples; `dense` has its parameters."""
  config = config.get_config(variant)
  config.model.ats.update(changes)
  return models.create(config.model, **config.data.sizes)


def counted(exp, model, shapes=None):
  """Multiply-accumulates of the program for one clip."""
  return costs.of(model, shapes or exp.shapes,
                  experiment.example(exp.sizes)).macs


# In G over 3 views: dense as counted; the published budget of the sampled one.
@pytest.mark.parametrize('config, variant, patches, full, budget', [
    (ats_timesformer, 'base', 196 * 8, None, None),
    (ats_timesformer, 'hr', 784 * 16, 5108, 3103),
    (ats_timesformer, 'l', 196 * 96, 7140, 3510),
    # The published share of the cost: 850 G are 843 as counted.
    (ats_xvit, '', 196 * 16, 843, 843.4 * 521 / 850)])
def test_published_sizes(config, variant, patches, full, budget):
  exp = dense(config, variant)
  assert exp.model.slots * exp.model.frames == patches
  macs = counted(exp, exp.model)
  model = sampled(config, variant)
  few = counted(exp, model)
  if full:
    assert round(3 * macs / 1e9) == full
    assert 3 * few / 1e9 == pytest.approx(budget, rel=2e-3)


@pytest.mark.parametrize('config', [ats_timesformer, ats_xvit])
def test_sampling_after_attention(config):
  exp = dense(config, 'small')
  model = sampled(config, 'small')
  later = sampled(config, 'small', attention='reference')
  assert counted(exp, later) > counted(exp, model)
  # Sampling has no parameters.
  assert jax.eval_shape(later.init, jax.random.key(0), experiment.example(
      exp.sizes))['params'] == exp.boxed
