"""Costs of UNITER and CLIP-ViL against the table of their slicing rules."""
import functools

from bst_jax import elastic
from bst_jax.elastic import Submodel
from bst_jax.report import costs
from bst_jax.run import experiment
from configs import bst_clip_vil_vqa, bst_mcan_clip_vqa, bst_uniter_vqa
import jax
import jax.numpy as jnp
import pytest

# Millions of parameters; GFLOPs (2 x multiply-accumulates). UNITER: 16 tokens
# and 100 or 36 regions, then the parameters in mode `adapter`. CLIP-ViL: 20
# tokens and 240 cells, without the trunk.
TABLE = {
    '1/4x1/6': ('8.27', '0.307', '0.127', '26.75', '8.79', '0.802'),
    '1/4x1/3': ('9.16', '0.533', '0.223', '27.64', '9.68', '1.366'),
    '1/4x2/3': ('10.94', '0.985', '0.416', '29.42', '11.45', '2.494'),
    '1/4x1': ('12.72', '1.437', '0.608', '31.20', '13.23', '3.622'),
    '1/2x1/3': ('22.07', '1.888', '0.815', '34.79', '22.98', '4.573'),
    '1/2x2/3': ('29.17', '3.613', '1.568', '41.89', '30.08', '8.669'),
    '1/2x1': ('36.27', '5.338', '2.321', '48.99', '37.18', '12.765'),
    '3/4x2/3': ('54.70', '7.883', '3.457', '61.66', '56.00', '18.525'),
    '3/4x1': ('70.66', '11.702', '5.138', '77.61', '71.95', '27.429'),
    '1x1': ('115.89', '20.530', '9.060', '117.07', '117.57', '47.615'),
}


@functools.cache
def uniter(embed_mode='slice', num_regions=100):
  config = bst_uniter_vqa.get_config()
  config.model.embed_mode = embed_mode
  return experiment.build(
      config, dict(config.data.sizes) | dict(num_regions=num_regions))


@functools.cache
def clip_vil(embed_mode='slice'):
  config = bst_clip_vil_vqa.get_config()
  config.model.embed_mode = embed_mode
  return experiment.build(config, dict(config.data.sizes))


def macs(exp, sub):
  """Of one question, the grid of CLIP-ViL being there already."""
  batch = experiment.example(exp.sizes)
  shapes = dict(exp.shapes_at(sub))
  if shapes.pop('visual', None):
    batch = {'tokens': batch['tokens'], 'grid': jnp.ones((1, 12, 20, 2560))}
  return costs.of(exp.model.at(sub), shapes, batch).macs


def parameters(exp, sub):
  """Without the trunk."""
  return sum(n for part, n in costs.parameters(exp.shapes_at(sub)).items()
             if part != 'visual')


def printed(value, want):
  """Whether a figure is the printed one, or next to it."""
  last = 10 ** len(want.partition('.')[2])
  return abs(round(value * last) - round(float(want) * last)) <= 1


def test_the_table_holds_the_whole_space():
  assert list(TABLE) == [str(sub) for sub in uniter().space]


@pytest.mark.parametrize('text', TABLE)
def test_uniter(text):
  sub = Submodel.parse(text)
  params, flops, flops_36, adapter, *_ = TABLE[text]
  assert printed(parameters(uniter(), sub) / 1e6, params)
  assert printed(2 * macs(uniter(), sub) / 1e9, flops)
  assert printed(2 * macs(uniter(num_regions=36), sub) / 1e9, flops_36)
  assert printed(parameters(uniter('adapter'), sub) / 1e6, adapter)


@pytest.mark.parametrize('text', TABLE)
def test_clip_vil(text):
  sub = Submodel.parse(text)
  *_, params, flops = TABLE[text]
  assert printed(parameters(clip_vil(), sub) / 1e6, params)
  assert printed(2 * macs(clip_vil(), sub) / 1e9, flops)


def test_full_sizes_are_the_published_classes_without_what_they_do_not_use():
  mask_embedding, box_branch = 4_096, 5_376
  assert elastic.size(uniter().shapes) == 115_892_281 - mask_embedding
  parts = costs.parameters(clip_vil().shapes)
  visual, head = parts.pop('visual'), parts.pop('head')
  assert sum(parts.values()) == 111_584_000 - box_branch
  assert head == 5_993_529
  # Statistics are no parameters for torch, which the published figure counts.
  learnt = sum(
      leaf.size for path, leaf in elastic.flatten(
          clip_vil().shapes['visual']).items()
      if not path.endswith(('/mean', '/var')))
  assert f'{learnt / 1e6:.2f}' == '65.62' and learnt < visual


def test_adapters_of_the_full_model():
  """A linear layer and a normalisation a modality."""
  more = 2 * (768 * 768 + 3 * 768)
  for build in (uniter, clip_vil):
    assert (elastic.size(build('adapter').shapes)
            - elastic.size(build().shapes)) == more


def test_the_trunk_is_dearer_than_the_transformer():
  exp = clip_vil()
  found = costs.count(
      lambda params, batch: exp.model.apply(
          {'params': params}, batch, method='shared'),
      exp.shapes, experiment.example(exp.sizes))
  assert printed(2 * found.macs / 1e9, '115.5')
  assert found.by_kind()['convolution'] == found.macs
  whole = costs.of(exp.model, exp.shapes, experiment.example(exp.sizes))
  assert whole.by_part()['visual'] == found.macs
  assert whole.macs == found.macs + macs(exp, elastic.FULL)


def test_mcan_on_the_grid():
  config = bst_mcan_clip_vqa.get_config()
  exp = experiment.build(config, dict(config.data.sizes))
  assert exp.shapes['image_adapter']['kernel'].shape == (2560, 512)
  outputs = jax.eval_shape(
      lambda p: exp.model.apply({'params': p}, experiment.example(exp.sizes)),
      exp.shapes)
  assert outputs['answers'].shape == (1, 3129)
