"""The text side against BERT of the installed transformers, random weights.

  pytest -n 0 tests/parity/test_transformers_bert.py
"""
from bst_jax import elastic
from bst_jax.interop import bert, core
from bst_jax.models import clip_vil, uniter
import jax
import numpy as np
import pytest
import torch
import transformers

SIZES = dict(vocab_size=23, num_answers=5, width=24, heads=3, mlp=40, fused=48,
             num_layers=2, max_positions=10)


@pytest.fixture(scope='module')
def theirs():
  """A tiny BERT whose norms and biases are not those of a new one."""
  torch.manual_seed(0)
  model = transformers.BertForPreTraining(transformers.BertConfig(
      vocab_size=23, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
      intermediate_size=40, max_position_embeddings=10)).eval()
  with torch.no_grad():
    for p in model.parameters():
      p += 0.2 * torch.randn_like(p)
  return model


@pytest.fixture(scope='module')
def tokens():
  tokens = np.random.default_rng(0).integers(1, 23, (3, 7)).astype(np.int32)
  tokens[0, 4:] = tokens[2, 6:] = 0
  return tokens


def close(got, want, tolerance=1e-5):
  want = want.detach().numpy()
  return np.abs(got - want).max() <= tolerance * np.abs(want).max()


def read(model, batch, theirs, prefixed):
  module = theirs if prefixed else theirs.bert
  foreign = {k: v.numpy() for k, v in module.state_dict().items()}
  params = elastic.unbox(model.init(jax.random.key(0), batch)['params'])
  return core.read(bert.TABLE, foreign, params, bert.IGNORED, bert.RENAMES,
                   partial=True)


@pytest.mark.parametrize('prefixed', [True, False])
def test_uniter_without_any_region_is_bert(theirs, tokens, prefixed):
  model = uniter.Model(**SIZES, feature_size=6)
  batch = {'tokens': tokens, 'regions': np.zeros((3, 2, 6), np.float32),
           'boxes': np.zeros((3, 2, 4), np.float32)}
  params = read(model, batch, theirs, prefixed)
  with jax.default_matmul_precision('highest'):
    _, kept = model.apply(
        {'params': params}, batch, mutable=['intermediates'],
        capture_intermediates=lambda m, _: m.name in ('encoder', 'pooler'))
  got = {k: np.asarray(v['__call__'][0])
         for k, v in kept['intermediates'].items()}

  want = theirs.bert(torch.from_numpy(tokens),
                     attention_mask=torch.from_numpy(tokens != 0))
  real = tokens != 0
  assert close(got['encoder'][:, :7][real],
               want.last_hidden_state[torch.from_numpy(real)])
  assert close(np.tanh(got['pooler']), want.pooler_output)


def test_clip_vil_takes_the_same_table(theirs, tokens):
  model = clip_vil.Model(**SIZES, visual_blocks=(1,), visual_width=2)
  batch = {'tokens': tokens,
           'image': np.zeros((3, 32, 32, 3), np.float32)}
  params = read(model, batch, theirs, prefixed=True)
  with jax.default_matmul_precision('highest'):
    _, kept = model.apply(
        {'params': params}, batch, mutable=['intermediates'],
        capture_intermediates=lambda m, _: m.name == 'text')
  want = theirs.bert.embeddings(torch.from_numpy(tokens))
  assert close(np.asarray(kept['intermediates']['text']['__call__'][0]), want)
