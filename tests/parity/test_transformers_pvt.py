"""PVTv2 against the installed transformers, random weights.

  pytest -n 0 tests/parity/test_transformers_pvt.py
"""
from bst_jax import elastic
from bst_jax.interop import core, files, hf_pvt_v2, pvt_v2, timm_pvt_v2
from bst_jax.models.pvt import Model
import jax
import numpy as np
import pytest
import torch
import transformers

# Depths (but for the 40 layers of b5) and ratios of the published ones, in an
# eighth to a sixteenth of their widths; pictures of no square, whose grids neither 7 nor the ratios divide.
_WIDTHS, _HEADS, _RATIOS = (4, 8, 20, 32), (1, 2, 5, 8), (8, 8, 4, 4)
SIZES = {
    'b0': ((2, 2, 2, 2), _RATIOS, False), 'b2': ((3, 4, 6, 3), _RATIOS, False),
    'b2-linear': ((3, 4, 6, 3), _RATIOS, True),
    'b5': ((3, 6, 9, 3), (4, 4, 4, 4), False)}
SIDES = 80, 112


@pytest.mark.parametrize('name', SIZES)
def test_logits_and_round_trips(name, tmp_path):
  depths, ratios, linear = SIZES[name]
  torch.manual_seed(0)
  theirs = transformers.PvtV2ForImageClassification(transformers.PvtV2Config(
      hidden_sizes=_WIDTHS, num_attention_heads=_HEADS, depths=depths,
      mlp_ratios=ratios, linear_attention=linear, num_labels=5)).eval()
  with torch.no_grad():
    for p in theirs.parameters():
      p += 0.1 * torch.randn_like(p)
  foreign = {k: v.numpy() for k, v in theirs.state_dict().items()}
  image = np.random.default_rng(0).standard_normal(
      (1, *SIDES, 3)).astype(np.float32)
  model = Model(
      num_answers=5, image_size=SIDES, width=_WIDTHS, heads=_HEADS,
      mlp=tuple(w * r for w, r in zip(_WIDTHS, ratios)), num_layers=depths,
      linear=linear, reduction_eps=1e-6)
  boxed = jax.eval_shape(model.init, jax.random.key(0), {'image': image})
  shapes = elastic.unbox(boxed['params'])
  params = core.read(hf_pvt_v2.TABLE, foreign, shapes)
  run = jax.jit(lambda model, params: model.apply(
      {'params': params}, {'image': image})['classes'], static_argnums=0)
  with jax.default_matmul_precision('highest'):
    got = np.asarray(run(model, params))
    other = np.asarray(run(model.clone(reduction_eps=1e-1), params))
  with torch.no_grad():
    want = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2))).logits.numpy()
  assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
  assert np.abs(other - want).max() > 1e-3 * np.abs(want).max()

  # Its own table writes what it read; the others go there and back.
  written = core.write(hf_pvt_v2.TABLE, params)
  assert written.keys() == foreign.keys()
  for key, value in foreign.items():
    np.testing.assert_array_equal(written[key], value, err_msg=key)
  for table in (pvt_v2, timm_pvt_v2):
    names = core.write(table.TABLE, params)
    back = elastic.flatten(core.read(table.TABLE, names, shapes))
    for path, value in elastic.flatten(params).items():
      np.testing.assert_array_equal(back[path], value, err_msg=path)
  files.save(tmp_path / 'model.safetensors', written)
  theirs.config.save_pretrained(tmp_path)
  _, report = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
  assert not report['unexpected_keys'] and not report['missing_keys']
