"""Costs of PS-ViT, plain and sampled, against the published arithmetic."""
import functools

from bst_jax import elastic, models
from bst_jax.interop import core, ps_vit
from bst_jax.report import costs
from bst_jax.run import experiment
from configs import ats_ps_vit
import pytest

# Multiply-accumulates in G, tokens with that of the class.
DENSE = {'b_10': ('3.09', 101), 'b_14': ('5.38', 197), 'b_18': ('8.74', 325),
         'ti_14': ('1.57', 197)}


@functools.cache
def built(arg):
  config = ats_ps_vit.get_config(arg)
  return experiment.build(config, dict(config.data.sizes))


def model_of(arg):
  config = ats_ps_vit.get_config(arg)
  return models.create(config.model, **config.data.sizes)


def counted(model, exp):
  return costs.of(model, exp.shapes, experiment.example(exp.sizes))


@functools.cache
def dense(arg):
  exp = built(f'{arg}_dense')
  return counted(exp.model, exp)


@pytest.mark.parametrize('arg', ats_ps_vit.POINTS)
def test_published_sizes(arg):
  exp = built(f'{arg}_dense')
  found = dense(arg)
  macs, tokens = DENSE[arg]
  assert f'{found.macs / 1e9:.2f}' == macs
  assert exp.model.slots + 1 == tokens
  if arg == 'ti_14':
    assert f'{found.macs / 1e9:.3f}' == '1.565'
  else:
    assert f'{elastic.size(exp.shapes) / 1e6:.1f}' == '21.3'
  if arg == 'b_18':
    assert {part: f'{n / 1e9:.2f}' for part, n in found.by_part().items()
            if n > 1e6} == {
                'stem': '0.90', 'sampling': '2.24', 'encoder': '5.60'}
    # The table leaves out where tokens are and where they go.
    small = 7 * 324 * 2 * 384
    assert f'{(found.by_part()["sampling"] - small) / 1e9:.2f}' == '2.23'


def test_variants_that_are_not():
  with pytest.raises(ValueError, match="no variant 'b_12_dense'.* and small"):
    ats_ps_vit.get_config('b_12_dense')


def test_sampling_has_no_parameters():
  assert elastic.names(built('small').boxed) == elastic.names(
      built('small_dense').boxed)
  assert built('small').shapes == built('small_dense').shapes


def test_capacities_of_the_config():
  for arg in ats_ps_vit.POINTS:
    model = model_of(arg)
    widths = model.ats.widths(model.slots)
    assert widths == model.ats.capacity and len(widths) == model.num_layers
    assert all(dict(stage.options)['num_points'] == model.slots
               for stage in model.ats.stages(
                   range(model.num_layers), model.slots, 1).values())
  macs = counted(model_of('b_18'), built('b_18_dense')).macs
  assert macs < 0.8 * dense('b_18').macs
  assert f'{macs / 1e9:.1f}' == '5.5'


@pytest.mark.parametrize('arg', ['b_18_dense', 'ti_14_dense'])
def test_every_parameter_has_a_row(arg):
  shapes = built(arg).shapes
  assert not core.unsourced(ps_vit.TABLE, shapes)
  names = {name for name, _, _ in core.rows_for(
      ps_vit.TABLE, list(elastic.flatten(shapes)))}
  # Ti/14 has as many channels between its bottlenecks as behind them.
  assert ('stem.5.downsample.0.weight' in names) == (arg == 'b_18_dense')
  assert 'ps_layers.2.offset_layer.bias' in names
  assert 'ps_layers.3.offset_layer.bias' not in names
