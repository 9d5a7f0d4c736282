"""ViLT and the parts of METER against the installed transformers, random weights.

  pytest -n 0 tests/parity/test_transformers_das.py
"""
from bst_jax import elastic
from bst_jax.interop import core, hf_clip_vision, hf_roberta, hf_vilt, meter
from bst_jax.layers import bert, co_attention, towers
from bst_jax.layers.activations import gelu
from bst_jax.models import meter as our_meter
from bst_jax.models import vilt as our_vilt
import jax
import numpy as np
import pytest
import torch
import transformers

VILT = dict(hidden_size=24, num_hidden_layers=3, num_attention_heads=4,
            intermediate_size=40, image_size=64, patch_size=16, vocab_size=30,
            max_position_embeddings=9, num_labels=7, layer_norm_eps=1e-6)
OURS = dict(vocab_size=30, num_answers=7, width=24, heads=4, mlp=40,
            num_layers=3, fused=48, max_positions=9, patch=16, grid=(4, 4))
METER = dict(vocab_size=20, num_answers=3, image_size=32, patch=8, width=16,
             heads=4, mlp=24, num_layers=2, fused=32, image_width=24,
             image_heads=3, image_mlp=40, image_layers=2, text_width=20,
             text_heads=2, text_mlp=28, text_layers=2, max_positions=12)


def stirred(model):
  """A model whose norms and biases are not those of a new one."""
  model = model.eval()
  with torch.no_grad():
    for p in model.parameters():
      p += 0.2 * torch.randn_like(p)
  return model


def tensors(module):
  return {k: v.numpy() for k, v in module.state_dict().items()}


def close(got, want, tolerance=1e-5):
  want = want.detach().numpy()
  got = np.asarray(got)
  assert got.shape == want.shape
  return np.abs(got - want).max() <= tolerance * np.abs(want).max()


def shapes_of(model, *args):
  return elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), *args)['params'])


@pytest.fixture(scope='module')
def inputs():
  """Pictures of two shapes on one canvas, and their texts."""
  rng = np.random.default_rng(0)
  extent = np.array([[48, 80], [64, 32]], np.int32)
  image = rng.standard_normal((2, 64, 80, 3)).astype(np.float32)
  inside = np.zeros((2, 64, 80), bool)
  for one, (height, width) in zip(inside, extent):
    one[:height, :width] = True
  tokens = rng.integers(1, 30, (2, 7)).astype(np.int32)
  tokens[0, 5:] = 0
  return tokens, image * inside[..., None], extent, inside


def theirs_of(kind, **changes):
  torch.manual_seed(0)
  return stirred(kind(transformers.ViltConfig(**VILT | changes)))


def asked(inputs, rows=slice(None)):
  """What transformers takes of them."""
  tokens, image, _, inside = (x[rows] for x in inputs)
  return dict(
      input_ids=torch.from_numpy(tokens),
      attention_mask=torch.from_numpy((tokens != 0).astype(np.int64)),
      pixel_values=torch.from_numpy(image.transpose(0, 3, 1, 2).copy()),
      pixel_mask=torch.from_numpy(inside.astype(np.int64)))


def run_ours(model, theirs, batch):
  foreign = tensors(theirs)
  shapes = shapes_of(model, batch)
  table = hf_vilt.TABLE(set(elastic.flatten(shapes)))
  params = core.read(table, hf_vilt.ADAPT(foreign, shapes), shapes,
                     hf_vilt.IGNORED, hf_vilt.RENAMES)
  for name, value in core.write(table, params).items():
    np.testing.assert_array_equal(value, foreign[name], err_msg=name)
  with jax.default_matmul_precision('highest'):
    return jax.jit(lambda params: model.apply({'params': params}, batch))(params)


def test_vilt_answers(inputs):
  theirs = theirs_of(transformers.ViltForQuestionAnswering)
  model = our_vilt.Model(**OURS, image_size=(64, 80))
  tokens, image, extent, _ = inputs
  got = run_ours(model, theirs, dict(tokens=tokens, image=image, extent=extent))
  assert close(got['answers'], theirs(**asked(inputs)).logits)


def test_vilt_scores_texts(inputs):
  theirs = theirs_of(transformers.ViltForImageAndTextRetrieval)
  model = our_vilt.Model(**OURS, image_size=(64, 80), outputs=('match',))
  tokens, image, extent, _ = inputs
  got = run_ours(model, theirs, dict(tokens=tokens, image=image, extent=extent))
  assert close(got['match'], theirs(**asked(inputs)).logits[:, 0])


def test_vilt_judges_a_statement_about_two_pictures(inputs):
  theirs = theirs_of(transformers.ViltForImagesAndTextClassification,
                     num_images=2, modality_type_vocab_size=3, num_labels=2)
  model = our_vilt.Model(**OURS, image_size=(64, 80), outputs=('pair',))
  tokens, image, extent, _ = inputs
  got = run_ours(model, theirs, dict(tokens=tokens[:1], image=image,
                                     extent=extent))
  given = asked(inputs)
  want = theirs(
      input_ids=given['input_ids'][:1],
      attention_mask=given['attention_mask'][:1],
      pixel_values=given['pixel_values'][None],
      pixel_mask=given['pixel_mask'][None]).logits
  assert close(got['pair'], want)


def test_vilt_of_pre_training_fills_all_but_the_head(inputs):
  theirs = theirs_of(transformers.ViltForMaskedLM)
  model = our_vilt.Model(**OURS, image_size=(64, 80))
  tokens, image, extent, _ = inputs
  batch = dict(tokens=tokens, image=image, extent=extent)
  shapes = shapes_of(model, batch)
  encoder = {path for path in elastic.flatten(shapes)
             if not path.startswith('head/')}
  params = core.read(
      hf_vilt.TABLE(encoder), tensors(theirs),
      jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes),
      hf_vilt.IGNORED, hf_vilt.RENAMES, partial=True)
  with jax.default_matmul_precision('highest'):
    _, kept = model.apply({'params': params}, batch, mutable=['intermediates'],
                          capture_intermediates=lambda m, _: m.name == 'pooler')
  got = np.tanh(kept['intermediates']['pooler']['__call__'][0])
  assert close(got, theirs.vilt(**asked(inputs)).pooler_output)


def metered(table, foreign):
  """METER with a part of it from a foreign checkpoint."""
  model = our_meter.Model(**METER)
  batch = dict(tokens=np.ones((2, 7), np.int32),
               image=np.zeros((2, 32, 32, 3), np.float32))
  shapes = shapes_of(model, batch)
  adapt = getattr(table, 'ADAPT', lambda foreign, target: foreign)
  return model, core.read(
      table.TABLE, adapt(core.rename(foreign, table.RENAMES), shapes),
      jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes), table.IGNORED,
      table.RENAMES, partial=True)


@pytest.mark.parametrize('whole', [True, False])
def test_roberta(whole):
  torch.manual_seed(0)
  config = transformers.RobertaConfig(
      vocab_size=20, hidden_size=20, num_hidden_layers=2, num_attention_heads=2,
      intermediate_size=28, max_position_embeddings=12, type_vocab_size=1,
      layer_norm_eps=1e-5)
  theirs = stirred(transformers.RobertaForMaskedLM(config))
  module = theirs if whole else theirs.roberta
  foreign = {k: v for k, v in tensors(module).items()
             if not k.startswith('lm_head.decoder')}
  model, params = metered(hf_roberta, foreign)
  tokens = np.random.default_rng(0).integers(2, 20, (2, 7)).astype(np.int32)
  tokens[:, 0], tokens[0, 5:] = 0, 1
  with jax.default_matmul_precision('highest'):
    got = model.apply({'params': params}, dict(
        tokens=tokens, image=np.zeros((2, 32, 32, 3), np.float32)),
                      method='shared')['encoded_text']
  want = theirs.roberta(torch.from_numpy(tokens), attention_mask=(
      torch.from_numpy((tokens != 1).astype(np.int64)))).last_hidden_state
  assert close(got, want)


@pytest.mark.parametrize('side', [32, 16])
def test_clips_pictures_without_the_last_layer(side):
  torch.manual_seed(0)
  theirs = stirred(transformers.CLIPVisionModel(transformers.CLIPVisionConfig(
      hidden_size=24, intermediate_size=40, num_hidden_layers=3,
      num_attention_heads=3, image_size=side, patch_size=8)))
  model, params = metered(hf_clip_vision, tensors(theirs))
  image = np.random.default_rng(0).standard_normal(
      (2, 32, 32, 3)).astype(np.float32)
  with jax.default_matmul_precision('highest'):
    got = model.apply({'params': params}, dict(
        tokens=np.ones((2, 7), np.int32), image=image),
                      method='shared')['encoded_image']
  pixels = torch.from_numpy(image.transpose(0, 3, 1, 2).copy())
  inner = getattr(theirs, 'vision_model', theirs)
  if side != 32:  # Places by torch's cubic convolution, not by transformers'.
    table = inner.embeddings.position_embedding.weight.detach()
    grid = table[1:].reshape(1, 2, 2, 24).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(
        grid, (4, 4), mode='bicubic', align_corners=False)
    new = torch.cat([table[:1], grid.permute(0, 2, 3, 1).reshape(16, 24)])
    inner.embeddings.position_embedding = torch.nn.Embedding.from_pretrained(new)
    inner.embeddings.position_ids = torch.arange(17)[None]
    inner.embeddings.image_size = 32
  seen = theirs(pixel_values=pixels, output_hidden_states=True)
  assert close(got, inner.post_layernorm(seen.hidden_states[2]))


def test_clips_texts_see_what_stands_before():
  torch.manual_seed(0)
  theirs = stirred(transformers.CLIPTextModel(transformers.CLIPTextConfig(
      vocab_size=25, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
      num_attention_heads=3, max_position_embeddings=9, eos_token_id=24,
      bos_token_id=23)))
  model = towers.ClipText(25, 9, 24, 3, 40, 2)
  tokens = np.random.default_rng(0).integers(0, 23, (2, 8)).astype(np.int32)
  shapes = shapes_of(model, tokens)
  layer, ours = 'encoder.layers.{i}', 'encoder/layer_{i}'
  table = (
      ('embeddings.token_embedding.weight', 'words/table', core.COPY),
      ('embeddings.position_embedding.weight', 'positions/table', core.COPY),
      *core.norm_rows('final_layer_norm', 'norm'),
      *[(foreign, path.removeprefix(f'{meter.IMAGE}/'), op)
        for foreign, path, op in hf_clip_vision.TABLE if layer in foreign])
  assert any(ours in row[1] for row in table)
  params = core.read(table, tensors(theirs), shapes, (
      r'embeddings\.position_ids',), ((r'^text_model\.', ''),))
  with jax.default_matmul_precision('highest'):
    got = model.apply({'params': params}, tokens)
  assert close(got, theirs(torch.from_numpy(tokens)).last_hidden_state)


def test_the_layer_of_a_stream_is_bridgetowers():
  from transformers.models.bridgetower.modeling_bridgetower import (
    BridgeTowerBertCrossLayer,
  )

  torch.manual_seed(0)
  config = transformers.BridgeTowerTextConfig(
      hidden_size=16, num_attention_heads=4, intermediate_size=24,
      layer_norm_eps=1e-12, hidden_act='gelu')
  config.is_decoder = config.add_cross_attention = False
  config._attn_implementation = 'eager'
  theirs = stirred(BridgeTowerBertCrossLayer(config))
  foreign = {f'cross_modal_text_layers.0.{k}': v
             for k, v in tensors(theirs).items()}
  model = our_meter.Model(**METER | dict(num_layers=1))
  batch = dict(tokens=np.ones((2, 7), np.int32),
               image=np.zeros((2, 32, 32, 3), np.float32))
  shapes = shapes_of(model, batch)
  table = [row for row in meter.FUSION if row[0].startswith(
      'cross_modal_text_layers') and 'adapter' not in row[0]]
  params = core.read(table, foreign, jax.tree.map(
      lambda s: np.zeros(s.shape, s.dtype), shapes), partial=True)
  rng = np.random.default_rng(0)
  x, y = (rng.standard_normal((2, n, 16)).astype(np.float32) for n in (7, 5))
  mask = np.array([[True] * 7, [True] * 4 + [False] * 3])
  other = np.array([[True] * 3 + [False] * 2, [True] * 5])
  layer = co_attention.CrossLayer(
      elastic.Axis('embed', 16), elastic.Axis('heads', 4),
      elastic.Axis('mlp', 24), bert.Norm, gelu)
  with jax.default_matmul_precision('highest'):
    got = layer.apply({'params': params['text_fusion']['layer_0']}, x, y, mask,
                      other)
  add = lambda m: torch.from_numpy(
      np.where(m, 0, -1e9).astype(np.float32))[:, None, None]
  want = theirs(torch.from_numpy(x), torch.from_numpy(y),
                attention_mask=add(mask), encoder_attention_mask=add(other))
  assert close(got, want[0] if isinstance(want, tuple) else want)


def test_vilt_tells_masked_words(inputs):
  theirs = theirs_of(transformers.ViltForMaskedLM)
  model = our_vilt.Model(**OURS, image_size=(64, 80), outputs=('words',))
  tokens, image, extent, _ = inputs
  places = np.array([[1, 3, 0], [6, 2, 4]], np.int32)
  got = run_ours(model, theirs, dict(
      tokens=tokens, image=image, extent=extent, places=places))
  want = theirs(**asked(inputs)).logits
  assert close(got['words'], torch.stack([
      row[which] for row, which in zip(want, torch.from_numpy(places))]))
