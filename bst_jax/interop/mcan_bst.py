"""MCAN-BST of the released code (VQA-v2 and GQA) <-> models/mcan.py."""
from bst_jax.interop.core import COPY, LINEAR, LINEAR_FROM_HEADS, VECTOR


def _linear(foreign, ours):
  return ((f'{foreign}.weight', f'{ours}/kernel', LINEAR),
          (f'{foreign}.bias', f'{ours}/bias', VECTOR))


def _norm(foreign, ours):
  return ((f'{foreign}.weight', f'{ours}/scale', COPY),
          (f'{foreign}.bias', f'{ours}/bias', COPY))


def _attention(foreign, ours):
  return (
      *_linear(f'{foreign}.linear_q', f'{ours}/query'),
      *_linear(f'{foreign}.linear_k', f'{ours}/key'),
      *_linear(f'{foreign}.linear_v', f'{ours}/value'),
      (f'{foreign}.linear_merge.weight', f'{ours}/out/kernel',
       LINEAR_FROM_HEADS),
      (f'{foreign}.linear_merge.bias', f'{ours}/out/bias', COPY),
  )


def _feed_forward(foreign, ours):
  return (*_linear(f'{foreign}.fc.linear', f'{ours}/fc1'),
          *_linear(f'{foreign}.linear', f'{ours}/fc2'))


_ENCODER, _DECODER = 'backbone.enc_list.{i}', 'backbone.dec_list.{i}'

TABLE = (
    ('embedding.weight', 'words/table', COPY),
    ('lstm.weight_ih_l0', 'lstm/kernel', LINEAR),
    ('lstm.weight_hh_l0', 'lstm/recurrent', LINEAR),
    ('lstm.bias_ih_l0', 'lstm/bias', COPY),
    ('lstm.bias_hh_l0', 'lstm/recurrent_bias', COPY),
    *_linear('lang_adapter.lang_linear', 'question_adapter'),
    *_norm('lang_adapter.lang_ln', 'question_norm'),
    *_linear('img_adapter.frcn_linear', 'image_adapter'),
    *_norm('img_adapter.frcn_ln', 'image_norm'),
    *_linear('img_adapter.bbox_linear', 'box_adapter'),
    *_attention(f'{_ENCODER}.mhatt', 'encoder/layer_{i}/attention'),
    *_feed_forward(f'{_ENCODER}.ffn.mlp', 'encoder/layer_{i}/ffn'),
    *_norm(f'{_ENCODER}.norm1', 'encoder/layer_{i}/norm1'),
    *_norm(f'{_ENCODER}.norm2', 'encoder/layer_{i}/norm2'),
    *_attention(f'{_DECODER}.mhatt1', 'decoder/layer_{i}/self_attention'),
    *_attention(f'{_DECODER}.mhatt2', 'decoder/layer_{i}/guided_attention'),
    *_feed_forward(f'{_DECODER}.ffn.mlp', 'decoder/layer_{i}/ffn'),
    *_norm(f'{_DECODER}.norm1', 'decoder/layer_{i}/norm1'),
    *_norm(f'{_DECODER}.norm2', 'decoder/layer_{i}/norm2'),
    *_norm(f'{_DECODER}.norm3', 'decoder/layer_{i}/norm3'),
    *_feed_forward('attflat_img', 'image_pool/scores'),
    *_linear('attflat_img.linear_merge', 'image_pool/merge'),
    *_feed_forward('attflat_lang', 'question_pool/scores'),
    *_linear('attflat_lang.linear_merge', 'question_pool/merge'),
    *_norm('proj_norm', 'norm'),
    *_linear('proj', 'classifier'),
)
IGNORED = ()
