"""The author's names of TEE, there and back."""
from bst_jax import elastic
from bst_jax.interop import core, maskrcnn_tee
from bst_jax.interop.folders import families
from bst_jax.models import tee
import jax
import jax.numpy as jnp
import numpy as np
import pytest

TRUNK = 'backbone.backbone_net.model.'


def params_of(start):
  model = tee.Model(
      num_answers=5, num_attributes=6, image_size=64, stem=8, stages=(8,) * 7,
      layers=(1, 2, 1, 1, 1, 1, 1), pyramid=16, cells=2, hidden=16, start=start)
  shapes = elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0),
      {'image': jnp.zeros((1, 64, 64, 3))})['params'])
  rng = np.random.default_rng(0)
  return jax.tree.map(
      lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)


@pytest.mark.parametrize('start, laterals', [
    (2, {'p3_down_channel', 'p4_down_channel', 'p5_down_channel',
         'p6_down_channel', 'p4_down_channel_2', 'p5_down_channel_2'}),
    (3, {'p3_down_channel', 'p4_down_channel', 'p5_down_channel', 'p5_to_p6',
         'p4_down_channel_2', 'p5_down_channel_2'})])
def test_there_and_back(start, laterals):
  params = params_of(start)
  foreign = core.write(maskrcnn_tee.TABLE, params)
  assert {name.split('.')[3] for name in foreign
          if name.startswith('backbone.bifpn.0.p') and '_w' not in name
          } == laterals
  nodes = {name.split('.')[3] for name in foreign
           if name.startswith('backbone.bifpn.1.')}
  assert nodes == {
      *(f'conv{n}_up' for n in (6, 5, 4, 3)), *(f'conv{n}_down' for n in (4, 5, 6, 7)),
      *(f'p{n}_w1' for n in (6, 5, 4, 3)), *(f'p{n}_w2' for n in (4, 5, 6, 7))}
  # As its files have them: with a name more, and what no detector reads.
  theirs = {}
  for name, value in foreign.items():
    if name.startswith(TRUNK):
      for part in ('_conv', '_conv_stem', '_se_reduce', '_se_expand'):
        name = name.replace(f'{part}.', f'{part}.conv.')
    theirs[name] = value
  theirs |= {f'{TRUNK}_conv_head.conv.weight': np.zeros((4, 8, 1, 1)),
             f'{TRUNK}_bn0.num_batches_tracked': np.int64(1)}
  named = core.rename(theirs, maskrcnn_tee.RENAMES)
  back = core.read(maskrcnn_tee.TABLE, named, params, maskrcnn_tee.IGNORED)
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(elastic.flatten(back)[path], value, path)
  assert families.known(theirs, 'x.pth') == 'maskrcnn_tee'


def test_what_is_pooled_is_flattened_by_channels_first():
  params = params_of(2)
  foreign = core.write(maskrcnn_tee.TABLE, params)
  pooled = np.random.default_rng(1).standard_normal((4, 4, 16), np.float32)
  ours = np.tensordot(pooled, params['fc6']['kernel'], 3)
  weight = foreign['roi_heads.box.feature_extractor.fc6.weight']
  np.testing.assert_allclose(
      weight @ pooled.transpose(2, 0, 1).reshape(-1), ours, rtol=1e-4, atol=1e-4)
