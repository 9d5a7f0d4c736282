"""BiFPN, FPN and ResNet's grids: outputs of effdet and torchvision, sizes, errors."""
import functools
import pathlib

from bst_jax import elastic
from bst_jax.elastic import Axis
from bst_jax.interop import core, effdet, torchvision_resnet
from bst_jax.layers.batch_norm import BatchNorm
from bst_jax.layers.bifpn import BiFpn
from bst_jax.layers.efficientnet import Plan, Trunk
from bst_jax.layers.fpn import Fpn
from bst_jax.layers.resnet import BLOCKS, ResNet
from flax import linen as nn
import golden_pyramids
import jax
import jax.numpy as jnp
import numpy as np
import pytest

GOLDEN = np.load(pathlib.Path(__file__).parent / 'golden' / 'efficientnet.npz')
# Of B0.
TAPS = Axis('embed', 24, 'stage_1'), Axis('embed', 40, 'stage_2'), Axis(
    'embed', 112, 'stage_4'), Axis('embed', 320, 'stage_6')


class Detector(nn.Module):
  """EfficientNet-B0's trunk with a BiFPN, as tables name them."""

  raw: int
  eps: float = 1e-5
  padding: str = 'symmetric'
  use_bias: bool = False

  @nn.compact
  def __call__(self, image):
    trunk = Trunk(Plan(eps=self.eps, padding=self.padding), name='trunk')
    width, cells = golden_pyramids.BIFPN
    norm = functools.partial(BatchNorm, eps=1e-3, momentum=0.01)
    pyramid = BiFpn(trunk.channels[-self.raw:], width, cells, 'effdet',
                    self.use_bias, self.padding, norm, name='bifpn')
    return pyramid(trunk(image)[-self.raw:])


class Retina(nn.Module):
  """A ResNet of four bottlenecks with a pyramid."""

  top: str

  @nn.compact
  def __call__(self, image):
    trunk = ResNet((1, 1, 1, 1), name='trunk')
    return Fpn(trunk.channels[1:], golden_pyramids.FPN, self.top, name='fpn')(
        trunk(image)[1:])


def shapes_of(module, *inputs):
  return elastic.unbox(jax.eval_shape(
      module.init, jax.random.key(0), *inputs)['params'])


def same_as_golden(module, table, image, name):
  """Checks all levels of a pyramid; returns its parameters."""
  params = golden_pyramids.params(table, shapes_of(module, image))
  with jax.default_matmul_precision('highest'):
    levels = jax.jit(module.apply)({'params': params}, image)
  assert len(levels) == 5
  for i, level in enumerate(levels):
    want = GOLDEN[f'{name}/{i}']
    assert level.shape == want.shape
    np.testing.assert_allclose(level, want, rtol=0, atol=1e-4 * want.std())
  return params


@pytest.mark.parametrize('raw, name, options', [
    (3, 'bifpn_3', {}), (4, 'bifpn_4', {}),
    (3, 'bifpn_same', dict(eps=1e-3, padding='same', use_bias=True))])
def test_levels_are_those_of_effdet(raw, name, options):
  image = golden_pyramids.pixels(*golden_pyramids.EVEN)
  params = same_as_golden(Detector(raw, **options), effdet.TABLE, image, name)
  # All names that effdet has are known, and nothing else is left out.
  foreign = core.write(effdet.TABLE, params)
  assert ('fpn.cell.0.fnode.6.combine.resample.3.conv.conv.weight' in foreign
          ) == (raw == 4)
  heads = {'class_net.predict.conv_pw.weight': np.zeros(1)}
  back = core.read(effdet.TABLE, foreign | heads, params, effdet.IGNORED)
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(elastic.flatten(back)[path], value)


@pytest.mark.parametrize('top', ['c5', 'p5'])
def test_levels_are_those_of_torchvision(top):
  image = golden_pyramids.pixels(*golden_pyramids.ODD)
  params = same_as_golden(Retina(top), torchvision_resnet.TABLE, image, top)
  foreign = core.write(torchvision_resnet.TABLE, params)
  # As versions before 0.13 have it.
  old = {name.replace('blocks.2.0.', 'blocks.2.'): value
         for name, value in foreign.items()}
  assert old.keys() != foreign.keys()
  back = core.read(torchvision_resnet.TABLE, old, params, (),
                   torchvision_resnet.RENAMES)
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(elastic.flatten(back)[path], value)


def test_the_trunks_have_the_parameters_of_torchvision():
  """25,557,032 and 44,549,160 with a head of 1000 classes."""
  for name, whole in (('resnet50', 25_557_032), ('resnet101', 44_549_160)):
    flat = elastic.flatten(shapes_of(
        ResNet(BLOCKS[name]), np.zeros((1, 32, 32, 3), np.float32)))
    count = elastic.size({path: leaf for path, leaf in flat.items()
                          if '/stats/' not in path})
    assert count == whole - 1000 * 2049


# --- the style of TEE ----------------------------------------------------------

def grids_of(start, sides=(16, 24), width=(24, 40, 112, 320), batch=1):
  """What B0 hands on of pictures whose stride-4 grid has these sides."""
  rng = np.random.default_rng(0)
  return [jnp.asarray(rng.standard_normal(
      (batch, *(-(-side // 2 ** i) for side in sides), width[i])), jnp.float32)
          for i in range(start - 2, 4)]


@pytest.mark.parametrize('start, count', [(2, 159_417), (3, 196_281)])
def test_parameters_of_the_smallest_detector(start, count):
  """With strides from 4 and from 8, hand-derived from the published graph."""
  shapes = elastic.flatten(shapes_of(
      BiFpn(TAPS[start - 2:]), grids_of(start)))
  assert elastic.size({path: leaf for path, leaf in shapes.items()
                       if '/stats/' not in path}) == count


def sequential(params, grids, cells):
  """The way down and up in numpy, level by level; statistics are as new."""
  def lateral(p, x):
    x = x @ p['conv']['kernel'][0, 0] + p['conv']['bias']
    return x / np.sqrt(1 + 1e-3) * p['norm']['scale'] + p['norm']['bias']

  def pool(x):
    y = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    rows, columns = (-(-side // 2) for side in x.shape[1:3])
    return np.stack([np.stack(
        [y[:, 2 * i:2 * i + 3, 2 * j:2 * j + 3].max((1, 2))
         for j in range(columns)], 1) for i in range(rows)], 1)

  def up(x, like):
    rows, columns = (np.arange(n) * m // n for n, m in zip(
        like.shape[1:3], x.shape[1:3]))
    return x[:, rows][:, :, columns]

  def node(p, *inputs):
    weights = np.maximum(p['weights'], 0)
    x = sum(w * y for w, y in zip(weights, inputs)) / (weights.sum() + 1e-4)
    x = x * (1 + np.tanh(x / 2)) / 2
    y = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = x.shape[1:3]
    x = sum(y[:, i:i + rows, j:j + columns] * p['depthwise']['kernel'][i, j, 0]
            for i in range(3) for j in range(3))
    x = x @ p['pointwise']['kernel'][0, 0] + p['pointwise']['bias']
    return x / np.sqrt(1 + 1e-3) * p['norm']['scale'] + p['norm']['bias']

  x = [lateral(params[f'down_{n}'], grid) for n, grid in enumerate(grids)]
  if len(grids) == 3:
    x.append(pool(lateral(params['above_2'], grids[-1])))
  x.append(pool(x[-1]))
  other = {n: lateral(params[f'up_{n}'], grids[n]) for n in (1, 2)}
  for i in range(cells):
    p, t, y = params[f'cell_{i}'], {4: x[4]}, []
    for n in (3, 2, 1, 0):
      t[n] = node(p[f'down_{n}'], x[n], up(t[n + 1], x[n]))
    y.append(t[0])
    for n in (1, 2, 3):
      own = other[n] if not i and n in other else x[n]
      y.append(node(p[f'up_{n}'], own, t[n], pool(y[-1])))
    y.append(node(p['up_4'], x[4], pool(y[-1])))
    x = y
  return x


@pytest.mark.parametrize('start', [2, 3])
def test_the_published_graph_step_by_step(start):
  width = (4, 6, 8, 10)
  taps = tuple(Axis('embed', n, f'stage_{n}') for n in width[start - 2:])
  norm = functools.partial(BatchNorm, eps=1e-3, momentum=0.01)
  pyramid = BiFpn(taps, 5, 2, batch_norm=norm)
  grids = grids_of(start, (11, 14), width, batch=2)
  rng = np.random.default_rng(1)
  draw = lambda path, leaf: (  # Statistics stay as new.
      np.float32(path.endswith('var')) * np.ones(leaf.shape, np.float32)
      if '/stats/' in path else
      rng.standard_normal(leaf.shape).astype(np.float32)
      + np.float32(path.endswith(('scale', 'weights'))))
  flat = elastic.flatten(shapes_of(pyramid, grids))
  params = core.unflatten({path: draw(path, leaf) for path, leaf in flat.items()})
  got = pyramid.apply({'params': params}, grids)
  want = sequential(jax.tree.map(np.asarray, params), [*map(np.asarray, grids)],
                    2)
  for mine, other in zip(got, want):
    assert mine.shape == other.shape
    np.testing.assert_allclose(mine, other, rtol=0, atol=1e-4 * other.std())


def test_slopes_are_finite_and_reach_everything():
  width = (4, 6, 8, 10)
  taps = tuple(Axis('embed', n, f'stage_{n}') for n in width)
  pyramid, grids = BiFpn(taps, 4, 1), grids_of(2, (5, 7), width)
  rng = np.random.default_rng(0)
  params = jax.tree.map(  # No variance is below zero.
      lambda leaf: rng.random(leaf.shape, np.float32), shapes_of(pyramid, grids))
  loss = lambda params: sum(
      (x ** 2).sum() for x in pyramid.apply({'params': params}, grids))
  slopes = elastic.flatten(jax.jit(jax.grad(loss))(params))
  assert np.isfinite([np.abs(x).max() for x in slopes.values()]).all()
  quiet = {path for path, x in slopes.items() if not np.abs(x).max()}
  assert quiet == {path for path in slopes if '/stats/' in path}


def test_channels_are_named_by_their_owners():
  pyramid = BiFpn(TAPS)
  boxed = jax.eval_shape(pyramid.init, jax.random.key(0), grids_of(2))
  names = elastic.flatten(elastic.names(boxed['params']))
  assert names['down_3/conv/kernel'] == (
      'window', 'window', 'embed@stage_6', 'pyramid')
  assert names['cell_1/up_2/pointwise/kernel'][2:] == ('pyramid', 'pyramid')
  assert {elastic.base(name) for every in names.values() for name in every} <= (
      elastic.AXES.keys())


@pytest.mark.parametrize('make, said', [
    (lambda: BiFpn(TAPS[:2]), 'hand it 3 or 4 grids'),
    (lambda: BiFpn(TAPS, style='retina'), "style of BiFPN 'retina'.*tee"),
    (lambda: BiFpn(TAPS, padding='full'), "padding 'full'.*same"),
    (lambda: Fpn(TAPS, top='p6'), "levels on top 'p6'.*c5"),
    (lambda: shapes_of(Fpn(TAPS), grids_of(3)), '3 grids were given, but the'),
    (lambda: shapes_of(BiFpn(TAPS), grids_of(3)), '3 grids were given, but the')])
def test_what_cannot_be_is_refused(make, said):
  with pytest.raises(ValueError, match=said):
    make()
