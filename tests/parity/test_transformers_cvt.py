"""CvT against the installed transformers, random weights.

  pytest -n 0 tests/parity/test_transformers_cvt.py
"""
from bst_jax import elastic
from bst_jax.interop import core, cvt, files, hf_cvt
from bst_jax.models.cvt import Model
import jax
import numpy as np
import torch
import transformers

# Theirs fails where the stage of number i has fewer than i layers.
SIZES = dict(width=(8, 16, 24), heads=(1, 2, 3), mlp=(16, 32, 48),
             num_layers=(1, 2, 3), image_size=(48, 72), num_answers=5)


def made():
  """Their model, whose norms, biases and statistics are not those of a new one.
  """
  torch.manual_seed(0)
  model = transformers.CvtForImageClassification(transformers.CvtConfig(
      embed_dim=SIZES['width'], num_heads=SIZES['heads'], mlp_ratio=(2.0, 2.0, 2.0),
      depth=SIZES['num_layers'], num_labels=5)).eval()
  with torch.no_grad():
    for p in model.parameters():
      p += 0.2 * torch.randn_like(p)
    for name, buffer in model.named_buffers():
      if name.endswith('running_mean'):
        buffer.normal_()
      elif name.endswith('running_var'):
        buffer.uniform_(0.2, 2.0)
  return model


def same(got, want):
  assert got.keys() == want.keys()
  for key, value in want.items():
    np.testing.assert_array_equal(got[key], value, err_msg=key)


def test_logits_and_round_trips(tmp_path):
  theirs = made()
  foreign = {k: v.numpy() for k, v in theirs.state_dict().items()}
  image = np.random.default_rng(0).standard_normal(
      (3, 48, 72, 3)).astype(np.float32)
  model = Model(**SIZES, activation='gelu')
  # Odd sides too, of which the strided keys take the larger half.
  assert model.grids == ((12, 18), (6, 9), (3, 5))
  boxed = jax.eval_shape(model.init, jax.random.key(0), {'image': image})
  shapes = elastic.unbox(boxed['params'])
  params = core.read(hf_cvt.TABLE, foreign, shapes, hf_cvt.IGNORED)
  with jax.default_matmul_precision('highest'):
    run = jax.jit(model.apply)
    got = np.asarray(run({'params': params}, {'image': image})['classes'])
    other = Model(**SIZES).apply(
        {'params': params}, {'image': image})['classes']
  with torch.no_grad():
    want = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2))).logits.numpy()
  assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
  assert np.ptp(want, axis=0).min() > 1e-2
  assert np.abs(other - want).max() > 1e-4 * np.abs(want).max()  # QuickGELU.

  # Its own table writes what it read; the official names go through ours.
  written = core.write(hf_cvt.TABLE, params)
  same(written, {k: v for k, v in foreign.items()
                 if not k.endswith('num_batches_tracked')})
  back = core.read(cvt.TABLE, core.write(cvt.TABLE, params), shapes)
  same(elastic.flatten(back), elastic.flatten(params))

  # Files are in the same names, and it reads those that we write.
  theirs.save_pretrained(tmp_path)
  path = tmp_path / 'model.safetensors'
  same({k: v for k, v in files.load(path).items()
        if not k.endswith('num_batches_tracked')}, written)
  files.save(path, written)
  loaded, report = type(theirs).from_pretrained(
      tmp_path, output_loading_info=True)
  assert not report['unexpected_keys']
  assert all(key.endswith('num_batches_tracked')
             for key in report['missing_keys'])
  same({k: v.numpy() for k, v in loaded.state_dict().items()
        if not k.endswith('num_batches_tracked')}, written)
