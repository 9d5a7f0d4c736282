"""Costs of CvT, plain and sampled, against the published arithmetic."""
import functools

from bst_jax import elastic, models
from bst_jax.report import costs
from bst_jax.run import experiment
from configs import ats_cvt
import pytest

DENSE = {'13': ('4.57', '20'), '21': ('7.18', '32'), '13_384': ('16.27', '20'),
         '21_384': ('24.85', '32')}


@functools.cache
def built(arg):
  config = ats_cvt.get_config(arg)
  return experiment.build(config, dict(config.data.sizes))


@functools.cache
def model_of(arg):
  config = ats_cvt.get_config(arg)
  return models.create(config.model, **config.data.sizes)


def counted(model, exp):
  return costs.of(model, exp.shapes, experiment.example(exp.sizes))


@functools.cache
def dense(arg):
  exp = built(f'{arg}_dense')
  return counted(exp.model, exp)


@pytest.mark.parametrize('arg', ats_cvt.VARIANTS)
def test_published_sizes(arg):
  exp = built(f'{arg}_dense')
  found = dense(arg)
  macs, params = DENSE[arg]
  assert f'{found.macs / 1e9:.2f}' == macs
  assert f'{elastic.size(exp.shapes) / 1e6:.0f}' == params
  side = 56 if exp.sizes['image_size'] == 224 else 96
  assert exp.model.grids == tuple((side // n,) * 2 for n in (1, 2, 4))
  if arg == '21_384':
    assert f'{found.by_part()["stage_2"] / 1e9:.1f}' == '15.4'


def test_variants_that_are_not():
  with pytest.raises(ValueError, match="no variant '21_348_dense'.* and small"):
    ats_cvt.get_config('21_348_dense')


def test_sampling_has_no_parameters():
  assert elastic.names(built('small').boxed) == elastic.names(
      built('small_dense').boxed)
  assert built('small').shapes == built('small_dense').shapes


def test_capacities_of_the_config():
  for arg in ats_cvt.VARIANTS:
    model = model_of(arg)
    widths = model.ats.widths(model.slots)
    assert widths == model.ats.capacity and len(widths) == model.num_layers[
        -1] - 1
  macs = counted(model_of('21_384'), built('21_384_dense')).macs
  assert macs < 0.9 * dense('21_384').macs
  assert f'{macs / 1e9:.1f}' == '17.7'


def test_scores_of_stride_1():
  exp = built('small_dense')
  model = exp.model.clone(ats=dict(blocks=(1, 3), capacity=(3, None)))
  cells, keys, width = 64, 16, exp.model.width[-1]
  more = 2 * 9 * width + 2 * width ** 2 + width  # Of each cell that is no key.
  assert exp.model.grids[-1] == (8, 8)
  assert counted(model.clone(score_stride1=True), exp).macs == (
      counted(model, exp).macs + 2 * (cells - keys) * more)


def test_the_layer_of_the_table():
  """Section by section: convolutions, queries, keys, products, the rest."""
  cells, keys, width, mlp, tokens, kept = 576, 144, 384, 1536, 519, 467
  exp = built('21_384_dense')
  model = exp.model.clone(ats=dict(blocks=(0, 1), capacity=(518, 466)))
  less = model.clone(ats=dict(blocks=(0,), capacity=518))
  layer = lambda kept: (
      9 * width * (cells + 2 * keys) + kept * width ** 2
      + 2 * (keys + 1) * width ** 2 + kept * 2 * (keys + 1) * width
      + kept * width ** 2 + 2 * kept * width * mlp)
  want = layer(kept) + (keys + 1) * width + 14 * layer(kept)
  assert counted(model, exp).macs - counted(less, exp).macs == (
      want - 15 * layer(tokens))
