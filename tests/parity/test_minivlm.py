"""MiniVLM against BERT of the installed transformers; MiniLM's real weights.

  python tests/parity/fetch.py
  pytest -n 0 tests/parity/test_minivlm.py
"""
import sys
import warnings

from bst_jax import decoding, elastic
from bst_jax.data.word_pieces import WordPieces
from bst_jax.interop import bert, core, minivlm_bert
from bst_jax.interop import files as tensors
from bst_jax.models import minivlm
import fetch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

SIZES = dict(vocab_size=23, num_answers=5, width=24, heads=3, mlp=40,
             num_layers=2, max_positions=16, feature_size=6, tag_start=9)
SENTENCES = ('A man is playing a guitar.', 'Someone plays the guitar.',
             'The stock market fell sharply today.')


def close(got, want, tolerance=1e-5):
  got, want = np.asarray(got), want.detach().numpy()
  assert got.shape == want.shape
  return np.abs(got - want).max() <= tolerance * np.abs(want).max()


def theirs_of(layers=2, **sizes):
  """A tiny BERT whose norms and biases are not those of a new one."""
  torch.manual_seed(0)
  model = transformers.BertForPreTraining(transformers.BertConfig(
      **dict(vocab_size=23, hidden_size=24, num_hidden_layers=layers,
             num_attention_heads=3, intermediate_size=40,
             max_position_embeddings=16, attn_implementation='eager') | sizes)
  ).eval()
  with torch.no_grad():
    for p in model.parameters():
      p += 0.2 * torch.randn_like(p)
  return model


def read(model, batch, theirs, table=minivlm_bert):
  """Our parameters, BERT's where it has them."""
  foreign = {k: v.numpy() for k, v in theirs.state_dict().items()}
  params = elastic.unbox(jax.jit(model.init)(
      jax.random.key(1), batch)['params'])
  return core.read(table.TABLE, foreign, params, table.IGNORED, table.RENAMES,
                   partial=True)


def batch_of(seed=0):
  """Texts, tags and regions, of which some are padding."""
  rng = np.random.default_rng(seed)
  tokens, tags = rng.integers(1, 23, (3, 7)), rng.integers(1, 23, (3, 4))
  tokens[0, 4:] = tokens[2, 6:] = tags[1, 2:] = 0
  regions = rng.standard_normal((3, 5, 6)).astype(np.float32)
  regions[2, 3:] = 0
  return dict(tokens=tokens.astype(np.int32), tags=tags.astype(np.int32),
              regions=regions, boxes=rng.random((3, 5, 4), np.float32),
              places=np.array([[0, 3], [8, 2], [7, 5]]))


def outputs_of(model, params, batch, *names):
  with jax.default_matmul_precision('highest'):
    said, kept = jax.jit(lambda params: model.apply(
        {'params': params}, batch, mutable=['intermediates'],
        capture_intermediates=lambda m, _: m.name in names))(params)
  return said, {k: v['__call__'][0] for k, v in kept['intermediates'].items()}


@pytest.mark.parametrize('layers', [2, 12])
def test_a_text_and_tags_without_regions_are_bert(layers):
  theirs, batch = theirs_of(layers), batch_of()
  batch['regions'] = np.zeros_like(batch['regions'])
  model = minivlm.Model(**SIZES | dict(num_layers=layers, outputs=('words',)))
  params = read(model, batch, theirs)
  _, got = outputs_of(model, params, batch, 'encoder', 'pooler')
  ids = np.concatenate([batch['tokens'], batch['tags']], 1)
  places = np.concatenate([np.arange(7), 9 + np.arange(4)])
  kinds = np.repeat([0, 1], [7, 4])
  row = lambda x: torch.from_numpy(np.broadcast_to(x, ids.shape).copy())
  want = theirs.bert(torch.from_numpy(ids), attention_mask=torch.from_numpy(
      ids != 0), token_type_ids=row(kinds), position_ids=row(places))
  real = ids != 0
  assert close(np.asarray(got['encoder'])[:, :11][real],
               want.last_hidden_state[torch.from_numpy(real)])
  assert close(np.tanh(got['pooler']), want.pooler_output)


@pytest.mark.parametrize('mask', minivlm.MASKS)
def test_regions_and_masks_are_berts_encoder(mask):
  """The stream as it is embedded goes through their layers and their heads."""
  theirs, batch = theirs_of(), batch_of()
  model = minivlm.Model(**SIZES | dict(mask=mask, outputs=('words', 'match')))
  params = read(model, batch, theirs)
  params['match_head'] = {
      'kernel': theirs.cls.seq_relationship.weight.detach().numpy().T,
      'bias': theirs.cls.seq_relationship.bias.detach().numpy()}
  said, got = outputs_of(model, params, batch, 'text', 'feature_norm', 'encoder')
  x = torch.from_numpy(np.concatenate([got['text'], got['feature_norm']], 1))
  real = np.concatenate([batch['tokens'] != 0, batch['tags'] != 0,
                         (batch['regions'] != 0).any(-1)], 1)
  sees = np.broadcast_to(real[:, None], (3, 16, 16)).copy()
  if mask == 'caption':
    sees[:, :7, :7] &= np.tril(np.ones((7, 7), bool))
    sees[:, 7:, :7] = False
  # Floats are added to the scores; booleans would be too.
  added = torch.from_numpy(np.where(sees, 0.0, -1e9).astype(np.float32)[:, None])
  hidden = theirs.bert.encoder(x, attention_mask=added).last_hidden_state
  assert close(np.asarray(got['encoder'])[real], hidden[torch.from_numpy(real)])
  words, match = theirs.cls(hidden, theirs.bert.pooler(hidden))
  rows = np.arange(3)[:, None]
  assert close(said['words'], words[rows, batch['places']])
  assert close(said['match'], match[:, 1] - match[:, 0])


def test_the_embedding_of_regions_is_torch_s():
  batch = batch_of()
  model = minivlm.Model(**SIZES)
  params = elastic.unbox(jax.jit(model.init)(
      jax.random.key(1), batch)['params'])
  _, got = outputs_of(model, params, batch, 'feature_norm')
  linear, norm = torch.nn.Linear(12, 24), torch.nn.LayerNorm(24, eps=1e-5)
  boxes = batch['boxes']
  with torch.no_grad():
    linear.weight.copy_(torch.from_numpy(np.array(params['feature']['kernel'].T)))
    linear.bias.zero_()
  want = norm(linear(torch.from_numpy(np.concatenate([
      batch['regions'], boxes, boxes[..., 2:3] - boxes[..., :1],
      boxes[..., 3:] - boxes[..., 1:2]], -1))))
  assert close(got['feature_norm'], want)


def test_a_search_is_that_of_generate():
  """A causal model of theirs as a step: the same texts, and their scores."""
  torch.manual_seed(0)
  theirs = transformers.BertLMHeadModel(transformers.BertConfig(
      vocab_size=12, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
      intermediate_size=16, is_decoder=True, initializer_range=2.0)).eval()
  beams, length, starts = 3, 7, torch.arange(3, 9)[:, None]
  never = (0, 1, *range(3, 9))  # So that no first word comes again.
  said = theirs.generate(
      starts, num_beams=beams, num_return_sequences=beams, do_sample=False,
      max_new_tokens=length - 1, pad_token_id=0, eos_token_id=2,
      length_penalty=1.0, return_dict_in_generate=True, output_scores=True,
      early_stopping=False, no_repeat_ngram_size=2, suppress_tokens=[*never],
      attention_mask=torch.ones_like(starts))

  def logits_of(texts, place):
    with torch.inference_mode():
      out = theirs(torch.from_numpy(np.array(texts[:, :int(place)])))
    return out.logits[:, -1].numpy()

  def step(texts, last, place):
    # The first word is the picture's; `start` is one for all.
    texts = texts.at[:, place - 1].set(
        jnp.where(place == 1, texts[:, 0], last))
    shape = jax.ShapeDtypeStruct((len(texts), 12), jnp.float32)
    return jax.pure_callback(logits_of, shape, texts, place), texts

  kept = jnp.zeros((len(starts) * beams, length), jnp.int32).at[:, 0].set(
      np.repeat(starts.numpy()[:, 0], beams))
  rules = decoding.Rules(start=0, end=2, length=length, block=2, never=never)
  found = jax.jit(lambda kept: decoding.beam(
      step, kept, len(starts), rules, beams))(kept)
  ended = 0
  for got, want in zip(np.asarray(found.tokens).reshape(-1, length)[:, 1:],
                       said.sequences.numpy()[:, 1:]):
    count = int((want == 2).argmax()) + 1 if 2 in want else len(want)
    np.testing.assert_array_equal(got[:count], want[:count])
    assert not got[count:].any()
    ended += 2 in want
  np.testing.assert_allclose(found.score.reshape(-1), said.sequences_scores,
                             atol=1e-4)
  assert 0 < ended < len(starts) * beams


def test_minilm_reads_sentences_as_it_was_trained_to():
  missing = [name for name in ('minilm.safetensors', 'minilm_vocab.txt')
             if not fetch.is_there(name)]
  if missing:
    message = (f'NO REAL MINILM IS CONVERTED: {", ".join(missing)} not there; '
               'run python tests/parity/fetch.py')
    warnings.warn(message, stacklevel=1)
    print(message, file=sys.__stderr__)
    pytest.skip(message)
  words = WordPieces.read(fetch.place('minilm_vocab.txt'))
  ids = np.stack([words.encode(text, 16) for text in SENTENCES])
  foreign = tensors.load(fetch.place('minilm.safetensors'))
  batch = dict(tokens=ids, regions=np.zeros((3, 1, 1024), np.float32),
               boxes=np.zeros((3, 1, 4), np.float32))
  model = minivlm.Model(**minivlm.sizes('minilm_l12_h384') | dict(
      num_layers=6, num_answers=2))
  params = elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), batch)['params'])
  params = jax.tree.map(lambda s: np.zeros(s.shape, np.float32), params)
  params = core.read(bert.TABLE, foreign, params, bert.IGNORED, bert.RENAMES,
                     partial=True)
  _, got = outputs_of(model, params, batch, 'encoder')

  theirs = transformers.BertModel(transformers.BertConfig(
      hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
      intermediate_size=1536)).eval()
  wanted = theirs.state_dict().keys()
  theirs.load_state_dict({k: torch.from_numpy(np.array(v))
                          for k, v in foreign.items() if k in wanted})
  want = theirs(torch.from_numpy(ids), attention_mask=torch.from_numpy(
      ids != 0)).last_hidden_state
  real = ids != 0
  assert close(np.asarray(got['encoder'])[:, :16][real],
               want[torch.from_numpy(real)])
  # Sentences that say the same are near, another is far.
  means = np.stack([x[:16][mask].mean(0) for x, mask in zip(
      np.asarray(got['encoder']), real)])
  means /= np.linalg.norm(means, axis=1, keepdims=True)
  same, other = means[0] @ means[1], means[0] @ means[2]
  assert same > 0.7 and other < 0.3, (same, other)
