"""TimeSformer against the installed transformers, random weights.

  pytest -n 0 tests/parity/test_transformers_timesformer.py
"""
from bst_jax import elastic
from bst_jax.interop import core, files, hf_timesformer, timesformer
from bst_jax.models.timesformer import Model
import jax
import numpy as np
import pytest
import torch
import transformers

SIZES = dict(width=24, heads=3, mlp=40, num_layers=2, clip_size=(3, 16, 16),
             patch=4, num_answers=5)


@pytest.fixture(scope='module')
def theirs():
  """Their model, whose norms, biases and times are not those of a new one."""
  torch.manual_seed(0)
  config = transformers.TimesformerConfig(
      hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
      intermediate_size=40, image_size=16, patch_size=4, num_frames=3,
      num_labels=5)
  assert config.layer_norm_eps == 1e-6 and config.hidden_act == 'gelu'
  model = transformers.TimesformerForVideoClassification(config).eval()
  with torch.no_grad():
    for p in model.parameters():
      p += 0.2 * torch.randn_like(p)
  return model


@pytest.fixture(scope='module')
def clip():
  return np.random.default_rng(0).standard_normal(
      (2, 3, 16, 16, 3)).astype(np.float32)


def read(table, foreign, clip):
  boxed = jax.eval_shape(Model(**SIZES).init, jax.random.key(0),
                         {'clip': clip})
  return core.read(table.TABLE, foreign, elastic.unbox(boxed['params']),
                   table.IGNORED, table.RENAMES)


# Whole, and sampled with room for all: sites stand in another order.
@pytest.mark.parametrize('ats', [None, dict(
    blocks=(0, 1), num_points=10 ** 6, capacity=16, anchor='keep_lowest')],
    ids=['plain', 'nothing dropped'])
def test_logits(theirs, clip, ats):
  foreign = {k: v.numpy() for k, v in theirs.state_dict().items()}
  params = read(hf_timesformer, foreign, clip)
  model = Model(**SIZES, ats=ats)
  with jax.default_matmul_precision('highest'):
    got, kept = model.apply({'params': params}, {'clip': clip},
                            mutable=['intermediates'])
    got = got['classes']
  with torch.no_grad():
    want = theirs(torch.from_numpy(
        clip.transpose(0, 1, 4, 2, 3))).logits.numpy()
  assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
  assert np.ptp(want, axis=0).min() > 1e-2
  if ats:
    for layer in kept['intermediates']['encoder'].values():
      np.testing.assert_array_equal(layer['count'][0], [16, 16])
      assert (np.diff(layer['token_ids'][0]) < 0).any()


def test_round_trips(theirs, clip, tmp_path):
  foreign = {k: v.numpy() for k, v in theirs.state_dict().items()}
  params = read(hf_timesformer, foreign, clip)
  written = core.write(hf_timesformer.TABLE, params)
  there = core.write(timesformer.TABLE, params)
  assert not there.keys() & written.keys()
  again = core.write(hf_timesformer.TABLE, read(timesformer, there, clip))
  theirs.save_pretrained(tmp_path)
  for same in (written, again, files.load(tmp_path / 'model.safetensors')):
    assert same.keys() == foreign.keys()
    for key, value in foreign.items():
      np.testing.assert_array_equal(same[key], value, err_msg=key)
