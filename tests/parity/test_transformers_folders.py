"""Folders as transformers saves them, converted without flags, pixels to logits.

  pytest -n 0 tests/parity/test_transformers_folders.py
"""
from bst_jax import convert
from bst_jax.layers.tokens import resize_positions
from bst_jax.run import experiment
from bst_jax.store import checkpoint
from configs import bst_uniter_vqa
import jax
import numpy as np
import pytest
import torch
import transformers

_SIZES = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
              image_size=16, patch_size=8, num_labels=5)
_FED = {'intermediate_size': 40}
_CVT = dict(
    embed_dim=[8, 16], num_heads=[2, 4], depth=[1, 2], mlp_ratio=[2.0, 3.0],
    patch_sizes=[7, 3], patch_stride=[4, 2], patch_padding=[2, 1],
    attention_drop_rate=[0.0] * 2, drop_rate=[0.0] * 2,
    drop_path_rate=[0.0] * 2, qkv_bias=[True] * 2, cls_token=[False, True],
    qkv_projection_method=['dw_bn'] * 2, kernel_qkv=[3] * 2, padding_kv=[1] * 2,
    stride_kv=[2] * 2, padding_q=[1] * 2, stride_q=[1] * 2, num_labels=5,
    layer_norm_eps=1e-2)
# Their class, settings, and the side of pictures.
CASES = {
    'relu': ('ViTForImageClassification', _SIZES | _FED | dict(
        hidden_act='relu', layer_norm_eps=1e-2), 16),
    'gelu_new, no biases': ('ViTForImageClassification', _SIZES | _FED | dict(
        hidden_act='gelu_new', qkv_bias=False), 16),
    'quick_gelu, larger pictures': ('ViTForImageClassification', _SIZES | _FED |
        dict(hidden_act='quick_gelu', num_attention_heads=2), 24),
    'DeiT, two heads': ('DeiTForImageClassificationWithTeacher', _SIZES | _FED |
        dict(hidden_act='gelu_pytorch_tanh', layer_norm_eps=1e-3), 16),
    'DeiT, one head': ('DeiTForImageClassification', _SIZES | _FED | dict(
        qkv_bias=False, hidden_act='silu'), 16),
    'DINOv2': ('Dinov2ForImageClassification', _SIZES | dict(
        mlp_ratio=3, layer_norm_eps=1e-3), 32),
    'DINOv2 with registers': ('Dinov2WithRegistersForImageClassification',
        _SIZES | dict(num_register_tokens=3, hidden_act='relu'), 24),
    'CvT of two stages': ('CvtForImageClassification', _CVT, 32),
    'TimeSformer': ('TimesformerForVideoClassification', _SIZES | _FED | dict(
        num_frames=3, hidden_act='gelu_new', qkv_bias=False,
        layer_norm_eps=1e-3), 16),
}


def made(name):
  """Their model, whose norms, biases and statistics are not a new one's."""
  kind, settings, _ = CASES[name]
  torch.manual_seed(0)
  name = kind.partition('For')[0]
  config = getattr(transformers, f'{name}Config')(**settings)
  config.id2label = {i: f'thing {i}' for i in range(5)}
  model = getattr(transformers, kind)(config).eval()
  with torch.no_grad():
    for p in model.parameters():
      p += 0.2 * torch.randn_like(p)
    for label, buffer in model.named_buffers():
      if label.endswith('running_mean'):
        buffer.normal_()
      elif label.endswith('running_var'):
        buffer.uniform_(0.2, 2.0)
  return model


@pytest.mark.parametrize('name', CASES)
def test_logits_from_pixels(name, tmp_path):
  theirs, side = made(name), CASES[name][2]
  ready = transformers.ViTImageProcessorPil(
      image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4],
      size={'height': side, 'width': side})
  theirs.save_pretrained(tmp_path)
  ready.save_pretrained(tmp_path)
  convert.read(None, None, tmp_path, tmp_path / 'work')
  exp = experiment.load(tmp_path / 'work')
  params = checkpoint.load_params(tmp_path / 'work', exp.shapes)
  video = 'clip_size' in exp.sizes
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (2, *(3,) * video, side, side, 3), np.uint8)
  with jax.default_matmul_precision('highest'):
    got = np.asarray(exp.model.apply(
        {'params': params}, {'clip' if video else 'image': pixels})['classes'])

  frames = pixels.reshape(-1, side, side, 3)
  seen = ready(list(frames), return_tensors='pt')['pixel_values']
  seen = seen.reshape(2, *(3,) * video, 3, side, side)
  options = {'interpolate_pos_encoding': True} if 'larger' in name else {}
  with torch.no_grad():
    want = theirs(seen, **options).logits.numpy()
  assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
  assert np.ptp(want, axis=0).min() > 1e-2


@pytest.mark.parametrize('antialias', [False, True])
@pytest.mark.parametrize('old, new', [((4, 4), (6, 6)), ((7, 7), (3, 3)),
                                      ((3, 5), (6, 2))])
def test_places_resize_as_in_torch(old, new, antialias):
  table = np.random.default_rng(0).standard_normal(
      (1 + old[0] * old[1], 8)).astype(np.float32)
  got = resize_positions(table, 1, old, new,
                         'bicubic_antialias' if antialias else 'bicubic')
  grid = torch.from_numpy(table[1:]).reshape(1, *old, 8).permute(0, 3, 1, 2)
  want = torch.nn.functional.interpolate(
      grid, new, mode='bicubic', align_corners=False, antialias=antialias)
  want = want[0].permute(1, 2, 0).reshape(-1, 8).numpy()
  np.testing.assert_array_equal(got[0], table[0])
  np.testing.assert_allclose(got[1:], want, atol=2e-6)


def test_bert_is_compared_with_a_model_and_its_config(tmp_path):
  settings = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
                  intermediate_size=40, vocab_size=50,
                  max_position_embeddings=9)
  transformers.BertModel(transformers.BertConfig(**settings)).save_pretrained(
      tmp_path)
  config = bst_uniter_vqa.get_config('tiny')
  config.data.sizes = dict(vocab_size=50, num_answers=7, max_tokens=9,
                           num_regions=4, feature_size=6)
  config.unlock()
  config.model.update(width=24, heads=3, mlp=40, num_layers=2, max_positions=9)
  config.space.depths = config.space.widths = ('1',)
  convert.read(config, None, tmp_path, tmp_path / 'work')
  assert (tmp_path / 'work' / 'part.json').exists()
  config.model.heads = 4
  with pytest.raises(ValueError, match='heads is 4, but .* says 3'):
    convert.read(config, None, tmp_path, tmp_path / 'other')
  with pytest.raises(ValueError, match='is of BERT, .*bst_uniter_vqa'):
    convert.read(None, None, tmp_path, tmp_path / 'other')
