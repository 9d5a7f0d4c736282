"""EfficientNet: sizes as published, outputs of timm, tables, statistics, errors."""
import json
import pathlib

from bst_jax import convert, elastic
from bst_jax.interop import core, efficientnet_pytorch, files, timm_efficientnet
from bst_jax.layers import efficientnet, resample
from bst_jax.layers.batch_norm import WRITTEN
from bst_jax.layers.efficientnet import Plan, Trunk
from bst_jax.models.efficientnet import Model
from bst_jax.report import costs
from bst_jax.run import experiment
from bst_jax.store import checkpoint
from flax import linen as nn
import golden_pyramids
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

GOLDEN = np.load(pathlib.Path(__file__).parent / 'golden' / 'efficientnet.npz')
# Trained parameters with a head of 1000 classes.
PUBLISHED = {'b0': 5_288_548, 'b2': 9_109_994, 'b5': 30_389_784,
             'lite0': 4_652_008}
# Stem, width and layers of every stage.
TABLE = {
    'b0': (32, (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    'b1': (32, (16, 24, 40, 80, 112, 192, 320), (2, 3, 3, 4, 4, 5, 2)),
    'b2': (32, (16, 24, 48, 88, 120, 208, 352), (2, 3, 3, 4, 4, 5, 2)),
    'b3': (40, (24, 32, 48, 96, 136, 232, 384), (2, 3, 3, 5, 5, 6, 2)),
    'b4': (48, (24, 32, 56, 112, 160, 272, 448), (2, 4, 4, 6, 6, 8, 2))}


def shapes_of(module, inputs):
  return elastic.unbox(jax.eval_shape(
      module.init, jax.random.key(0), inputs)['params'])


def trained(shapes):
  """Number of parameters, without the statistics of batches."""
  return elastic.size({path: leaf for path, leaf in elastic.flatten(
      shapes).items() if '/stats/' not in path})


@pytest.mark.parametrize('name', PUBLISHED)
def test_parameters_are_those_published(name):
  model = Model(1000, **efficientnet.sizes(name))
  image = np.zeros((1, *model.sides, 3), np.uint8)
  assert trained(shapes_of(model, {'image': image})) == PUBLISHED[name]


@pytest.mark.parametrize('name', TABLE)
def test_sizes_are_those_published(name):
  model = Model(1000, **efficientnet.sizes(name))
  assert (model.stem, model.width, model.num_layers) == TABLE[name]
  assert model.mlp[0] is None and model.mlp[6].at('stage_6/layer_0') == (
      6 * model.width[5])
  assert model.squeeze[1].at('stage_1/layer_0') == model.width[0] // 4


def test_the_trunk_of_a_detector():
  trunk = Trunk()
  assert trained(shapes_of(trunk, np.zeros((1, 64, 64, 3)))) == 3_595_388
  assert [axis.size for axis in trunk.channels] == [24, 40, 112, 320]
  grids = [trunk.plan.grids((65, 512))[stage] for stage in trunk.taps]
  assert grids == [(17, 128), (9, 64), (5, 32), (3, 16)]
  # What no tap reads is not there.
  assert 'stage_5' not in shapes_of(trunk.clone(taps=(1, 4)),
                                    np.zeros((1, 64, 64, 3)))


def test_costs_are_those_published():
  """0.39 G, table 2 of the paper."""
  model = Model(1000)
  image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8)
  found = costs.of(model, shapes_of(model, {'image': image}), {'image': image})
  assert 0.38e9 < found.macs < 0.40e9


@pytest.mark.parametrize('name, padding, eps', [
    ('efficientnet_b0', 'symmetric', 1e-5), ('tf_efficientnet_b0', 'same', 1e-3)])
def test_grids_are_those_of_timm(name, padding, eps):
  image = golden_pyramids.pixels(*golden_pyramids.ODD)
  trunk = Trunk(Plan(padding=padding, eps=eps))
  params = golden_pyramids.params(
      timm_efficientnet.trunk_rows(), shapes_of(trunk, image))
  with jax.default_matmul_precision('highest'):
    grids = jax.jit(trunk.apply)({'params': params}, image)
  for i, grid in enumerate(grids):
    want = GOLDEN[f'{name}/{i}']
    assert grid.shape == want.shape
    np.testing.assert_allclose(grid / want.std(), want / want.std(), rtol=0,
                               atol=1e-4)


@pytest.mark.parametrize('name', ['b0', 'lite0'])
def test_logits_are_those_of_timm(name):
  sides = golden_pyramids.ODD
  batch = {'image': golden_pyramids.pixels(*sides)}
  model = Model(10, **efficientnet.sizes(name) | dict(
      eps=1e-5, image_size=sides))
  params = golden_pyramids.params(timm_efficientnet.TABLE,
                                  shapes_of(model, batch))
  with jax.default_matmul_precision('highest'):
    got = jax.jit(model.apply)({'params': params}, batch)['classes']
  want = GOLDEN[f'efficientnet_{name}/logits']
  assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


# --- tables -------------------------------------------------------------------

def small(**changes):
  """Seven narrow stages."""
  model = Model(5, image_size=32, stem=8, width=(8, 8, 8, 16, 16, 16, 24),
                num_layers=(1, 2, 1, 2, 1, 1, 1), fused=24, **changes)
  return model, models.prepare(model, models.batch_of('image', side=32))[0]


@pytest.mark.parametrize('family', [timm_efficientnet, efficientnet_pytorch])
@pytest.mark.parametrize('changes', [
    {}, dict(squeeze=(None,) * 7, activation='relu6')])
def test_there_and_back(family, changes):
  _, params = small(**changes)
  foreign = core.write(family.TABLE, params)
  counters = {name.replace('running_var', 'num_batches_tracked'): np.int64(7)
              for name in foreign if name.endswith('running_var')}
  back = core.read(family.TABLE, foreign | counters, params, family.IGNORED)
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(elastic.flatten(back)[path], value)
  del foreign[[*foreign][9]]
  with pytest.raises(ValueError, match='1 missing'):
    core.read(family.TABLE, foreign, params, family.IGNORED)


def test_layers_are_numbered_through_all_stages():
  """Also where convolutions that pad by themselves have a name more."""
  _, params = small()
  foreign = core.write(efficientnet_pytorch.TABLE, params)
  kernel = params['stage_3']['layer_1']['depthwise']['kernel']
  np.testing.assert_array_equal(foreign['_blocks.5._depthwise_conv.weight'],
                                np.transpose(kernel, (3, 2, 0, 1)))
  gate = params['stage_6']['layer_0']['gate']['reduce']['kernel']
  np.testing.assert_array_equal(foreign['_blocks.8._se_reduce.weight'],
                                np.transpose(gate)[:, :, None, None])
  longer = {name.replace('_conv.', '_conv.conv.').replace(
      '_se_reduce.', '_se_reduce.conv.'): value
            for name, value in foreign.items()}
  assert longer.keys() != foreign.keys()
  back = core.read(efficientnet_pytorch.TABLE, longer, params, (),
                   efficientnet_pytorch.RENAMES)
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(elastic.flatten(back)[path], value)


@pytest.mark.parametrize('name, eps, padding', [
    ('efficientnet_b0', 1e-5, 'symmetric'),
    ('tf_efficientnet_b0.ns_jft_in1k', 1e-3, 'same'),
    ('efficientnet_lite0', 1e-5, 'symmetric')])
def test_folders_of_timm_need_no_flags(tmp_path, name, eps, padding):
  lite = dict(squeeze=(None,) * 7) if 'lite' in name else {}
  model, params = small(**lite)
  files.save(tmp_path / 'model.safetensors',
             core.write(timm_efficientnet.TABLE, params))
  (tmp_path / 'config.json').write_text(json.dumps(dict(
      architecture=name.partition('.')[0], num_classes=5, pretrained_cfg=dict(
          input_size=[3, 32, 32], mean=[0.4] * 3, std=[0.2] * 3))))
  convert.read(None, None, tmp_path, tmp_path / 'work')
  exp = experiment.load(tmp_path / 'work')
  got = exp.model
  assert (got.eps, got.padding, got.mean[0]) == (eps, padding, 0.4)
  assert (got.width, got.num_layers, got.squeeze) == (
      model.width, model.num_layers, model.squeeze)
  assert got.activation == ('relu6' if lite else 'silu')
  stored = elastic.flatten(checkpoint.load_params(tmp_path / 'work', exp.shapes))
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(stored[path], value, err_msg=path)


@pytest.mark.parametrize('name', ['efficientnet_es', 'efficientnetv2_s',
                                  'efficientnet_cc_b0_4e'])
def test_networks_of_like_names_are_refused(tmp_path, name):
  _, params = small()
  files.save(tmp_path / 'model.safetensors',
             core.write(timm_efficientnet.TABLE, params))
  (tmp_path / 'config.json').write_text(json.dumps(dict(architecture=name)))
  with pytest.raises(ValueError, match=f"architecture is '{name}'"):
    convert.read(None, None, tmp_path, tmp_path / 'work')


# --- training -----------------------------------------------------------------

def test_statistics_are_a_hundredth_of_the_batch():
  model, batch, params, _ = models.build('efficientnet')
  model = model.clone(batch_stats='batch')
  _, sown = model.apply({'params': params}, batch, train=True, mutable=[WRITTEN],
                        rngs={'dropout': jax.random.key(0)})
  image = (np.asarray(batch['image'], np.float64) / 255 - model.mean) / model.std
  padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
  kernel = np.asarray(params['stem']['kernel'], np.float64)
  places = [[np.einsum('byxc,cf->byxf', padded[:, i:i + 16:2, j:j + 16:2],
                       kernel[i, j]) for j in range(3)] for i in range(3)]
  y = np.sum(places, (0, 1)).reshape(-1, 8)
  old = params['stem_norm']['stats']
  got = sown[WRITTEN]['stem_norm']['stats']
  np.testing.assert_allclose(
      got['mean'], 0.99 * old['mean'] + 0.01 * y.mean(0), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
      got['var'], 0.99 * old['var'] + 0.01 * y.var(0, ddof=1), rtol=1e-4)
  # Every one of the normalisations writes its own.
  paths = elastic.flatten(params)
  assert len(elastic.flatten(sown[WRITTEN])) == sum(
      '/stats/' in path for path in paths)


def test_chances_to_skip_rise_with_the_number_of_the_layer():
  seen = {}

  def watch(next_fun, args, kwargs, context):
    if isinstance(context.module, efficientnet.Layer):
      seen['/'.join(context.module.path)] = context.module.depth_dropout
    return next_fun(*args, **kwargs)

  with nn.intercept_methods(watch):
    jax.eval_shape(Model(5, depth_dropout=0.2).init, jax.random.key(0),
                   {'image': np.zeros((1, 224, 224, 3), np.uint8)})
  assert len(seen) == 16
  np.testing.assert_allclose([*seen.values()], [0.0125 * k for k in range(16)])
  assert [*seen][4] == 'stage_2/layer_1'


def test_a_layer_without_its_branch_is_its_input():
  model, batch, params, _ = models.build('efficientnet')
  kernel = params['stage_1']['layer_2']['project_norm']
  still = {name: jnp.zeros_like(kernel[name]) for name in ('scale', 'bias')}
  layer = params['stage_1']['layer_2'] | {'project_norm': kernel | still}
  quiet = params | {'stage_1': params['stage_1'] | {'layer_2': layer}}
  others = {k: v for k, v in params['stage_1'].items() if k != 'layer_2'}
  less = {f'layer_{i}': others[key] for i, key in enumerate(sorted(others))}
  np.testing.assert_allclose(
      models.run(model, quiet, batch),
      models.run(model.clone(num_layers=(4, 3)), params | {'stage_1': less},
                 batch), atol=1e-6)


# --- what cannot be, and pools -------------------------------------------------

@pytest.mark.parametrize('changes, said', [
    (dict(strategy='keep_last'), 'can drop the first layer of a stage'),
    (dict(num_layers=(4,)), 'num_layers is of 1 stages and width of 2'),
    (dict(padding='reflect'), "padding 'reflect'.*symmetric"),
    (dict(activation='relu'), "activation 'relu'.*relu6"),
    (dict(batch_stats='mine'), 'source of batch statistics'),
    (dict(squeeze=(1,)), 'squeeze is of 1 stages')])
def test_what_cannot_be_is_refused(changes, said):
  with pytest.raises(ValueError, match=said):
    models.backbones.create(models.TINY['efficientnet'][0] | changes)


def test_no_such_size():
  with pytest.raises(ValueError, match="'b9'.*b0"):
    efficientnet.sizes('b9')


@pytest.mark.parametrize('padding', resample.PADDINGS)
@pytest.mark.parametrize('sides', [(8, 7), (1, 5), (2, 3)])
def test_pools_are_the_largest_of_what_is_there(padding, sides):
  x = -1 - np.random.default_rng(0).random((2, *sides, 3)).astype(np.float32)
  got = resample.max_pool(jnp.asarray(x), padding=padding)
  rows, columns = (-(-side // 2) for side in sides)
  assert got.shape == (2, rows, columns, 3)
  # With TensorFlow's padding the odd cell that is missing is at the end.
  first = lambda side: -1 if padding == 'symmetric' or side % 2 else 0
  for i in range(rows):
    for j in range(columns):
      top, left = 2 * i + first(sides[0]), 2 * j + first(sides[1])
      window = x[:, max(0, top):top + 3, max(0, left):left + 3]
      np.testing.assert_array_equal(got[:, i, j], window.max((1, 2)))


@pytest.mark.parametrize('sides', [(4, 6), (3, 5), (7, 4)])
def test_nearest_cells(sides):
  x = np.random.default_rng(0).random((1, 2, 3, 2)).astype(np.float32)
  got = resample.nearest(jnp.asarray(x), sides)
  for i in range(sides[0]):
    for j in range(sides[1]):
      np.testing.assert_array_equal(
          got[:, i, j], x[:, i * 2 // sides[0], j * 3 // sides[1]])
