"""ViT and DeiT against the installed transformers, random weights.

  pytest -n 0 tests/parity/test_transformers_vit.py
"""
from bst_jax import elastic
from bst_jax.interop import (
  core,
  files,
  hf_deit,
  hf_deit_4,
  hf_deit_single,
  hf_deit_single_4,
  hf_vit,
  hf_vit_4,
  timm_vit,
)
from bst_jax.layers.tokens import resize_positions
from bst_jax.models.vit import Model
import jax
import numpy as np
import pytest
import torch
import transformers

SIZES = dict(width=24, heads=3, mlp=40, num_layers=2, image_size=(16, 24),
             patch=8, num_answers=5)
# Their class, arguments of ours, tables in the names of transformers 5 and 4.
CASES = {
    'ViT': ('ViTForImageClassification', {}, hf_vit, hf_vit_4),
    'DeiT': ('DeiTForImageClassificationWithTeacher', dict(distilled=True),
             hf_deit, hf_deit_4),
    'DeiT, one head': ('DeiTForImageClassification', dict(
        distilled=True, distilled_head=False), hf_deit_single, hf_deit_single_4),
}


def made(name):
  """Their model, whose norms and biases are not those of a new one."""
  torch.manual_seed(0)
  kind = name.split(',')[0]
  config = getattr(transformers, f'{kind}Config')(
      hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
      intermediate_size=40, image_size=(16, 24), patch_size=8, num_labels=5,
      layer_norm_eps=1e-6)
  model = getattr(transformers, CASES[name][0])(config).eval()
  with torch.no_grad():
    for p in model.parameters():
      p += 0.2 * torch.randn_like(p)
  return model


def ours_of(name, table, foreign, image):
  """Our model and its parameters from foreign tensors."""
  model = Model(**SIZES, **CASES[name][1])
  boxed = jax.eval_shape(model.init, jax.random.key(0), {'image': image})
  return model, core.read(table.TABLE, foreign, elastic.unbox(boxed['params']),
                          table.IGNORED, table.RENAMES)


def same(got, want):
  assert got.keys() == want.keys()
  for key, value in want.items():
    np.testing.assert_array_equal(got[key], value, err_msg=key)


@pytest.mark.parametrize('name', CASES)
def test_logits_and_round_trips(name, tmp_path):
  theirs, (_, _, table, old) = made(name), CASES[name]
  foreign = {k: v.numpy() for k, v in theirs.state_dict().items()}
  image = np.random.default_rng(0).standard_normal(
      (3, 16, 24, 3)).astype(np.float32)
  model, params = ours_of(name, table, foreign, image)
  with jax.default_matmul_precision('highest'):
    got = np.asarray(model.apply({'params': params}, {'image': image})['classes'])
  with torch.no_grad():
    want = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2))).logits.numpy()
  assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
  assert np.ptp(want, axis=0).min() > 1e-2

  # Its own table writes what it read; other families take it through ours.
  same(core.write(table.TABLE, params), foreign)
  for other in (old, timm_vit):
    there = core.write(other.TABLE, params)
    assert there.keys() != foreign.keys()
    _, back = ours_of(name, other, there, image)
    same(elastic.flatten(back), elastic.flatten(params))

  # Its files are in the old spelling, and it reads those that we write so.
  theirs.save_pretrained(tmp_path)
  path = tmp_path / 'model.safetensors'
  written = core.write(old.TABLE, params)
  same(written, files.load(path))
  files.save(path, written)
  loaded, report = type(theirs).from_pretrained(
      tmp_path, output_loading_info=True)
  assert not report['missing_keys'] and not report['unexpected_keys']
  same({k: v.numpy() for k, v in loaded.state_dict().items()}, foreign)


@pytest.mark.parametrize('old, new', [((4, 4), (6, 6)), ((6, 6), (4, 4)),
                                      ((3, 5), (6, 7))])
def test_places_of_another_grid(old, new):
  table = np.random.default_rng(0).standard_normal(
      (2 + old[0] * old[1], 8)).astype(np.float32)
  got = resize_positions(table, 2, old, new)
  grid = torch.from_numpy(table[2:]).reshape(1, *old, 8).permute(0, 3, 1, 2)
  want = torch.nn.functional.interpolate(
      grid, new, mode='bilinear', align_corners=False)
  want = want[0].permute(1, 2, 0).reshape(-1, 8).numpy()
  np.testing.assert_array_equal(got[:2], table[:2])
  np.testing.assert_allclose(got[2:], want, atol=1e-6)
