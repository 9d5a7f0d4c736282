"""Costs of CvT, plain and sampled, against the published arithmetic."""
import functools

from bst_jax import elastic, models
from bst_jax.report import costs
from bst_jax.run import experiment
from configs import ats_cvt
import numpy as np
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


@pytest.mark.parametrize('arg', ats_cvt.VARIANTS)
def test_published_sizes(arg):
  exp = built(f'{arg}_dense')
  found = counted(exp.model, exp)
  macs, params = DENSE[arg]
  assert f'{found.macs / 1e9:.2f}' == macs
  assert f'{elastic.size(exp.shapes) / 1e6:.0f}' == params
  assert found.macs == exp.model.token_macs()
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
  macs = {}
  for arg in ats_cvt.VARIANTS:
    model = model_of(arg)
    widths = model.ats.widths(model.slots)
    assert widths == model.ats.capacity and len(widths) == model.num_layers[
        -1] - 1
    macs[arg] = model.token_macs(widths)
    assert macs[arg] < 0.9 * model_of(f'{arg}_dense').token_macs()
  assert f'{macs["21_384"] / 1e9:.1f}' == '17.7'


@pytest.mark.parametrize('attention, changes', [
    ('select_first', {}), ('select_first', dict(score_stride1=True)),
    ('reference', dict(dropped='zero'))], ids=str)
def test_the_program_that_runs(attention, changes):
  exp = built('13_dense')
  ats = dict(blocks=(1, 2, 5), capacity=(150, None, 60), attention=attention)
  model = exp.model.clone(ats=ats, **changes)
  assert counted(model, exp).macs == model.token_macs([150, 150, 60])


def test_the_layer_of_the_table():
  """Section by section: convolutions, queries, keys, products, the rest."""
  cells, keys, width, mlp, tokens, kept = 576, 144, 384, 1536, 519, 467
  model = model_of('21_384').clone(ats=dict(blocks=(0, 1), capacity=(518, 466)))
  less = model.clone(ats=dict(blocks=(0,), capacity=518))
  layer = lambda kept: (
      9 * width * (cells + 2 * keys) + kept * width ** 2
      + 2 * (keys + 1) * width ** 2 + kept * 2 * (keys + 1) * width
      + kept * width ** 2 + 2 * kept * width * mlp)
  want = layer(kept) + (keys + 1) * width + 14 * layer(kept)
  assert model.token_macs([518, 466]) - less.token_macs([518]) == (
      want - 15 * layer(tokens))


def test_every_image_pays_for_its_own_tokens():
  model = model_of('13').clone(ats=dict(blocks=(1, 4)))
  counts = np.array([[150, 100], [120, 119]])
  each = model.token_macs({1: counts[:, 0], 4: counts[:, 1]})
  for row, macs in zip(counts, each, strict=True):
    assert macs == model.token_macs(row)
