"""MCAN-BST of the released code (VQA-v2 and GQA) <-> models/mcan.py."""
from bst_jax.interop.core import (
  COPY,
  LINEAR,
  LINEAR_FROM_HEADS,
  linear_rows,
  norm_rows,
)


def _attention(foreign, ours):
  return (
      *linear_rows(f'{foreign}.linear_q', f'{ours}/query'),
      *linear_rows(f'{foreign}.linear_k', f'{ours}/key'),
      *linear_rows(f'{foreign}.linear_v', f'{ours}/value'),
      *linear_rows(f'{foreign}.linear_merge', f'{ours}/out',
                   LINEAR_FROM_HEADS),
  )


def _feed_forward(foreign, ours):
  return (*linear_rows(f'{foreign}.fc.linear', f'{ours}/fc1'),
          *linear_rows(f'{foreign}.linear', f'{ours}/fc2'))


_ENCODER, _DECODER = 'backbone.enc_list.{i}', 'backbone.dec_list.{i}'

TABLE = (
    ('embedding.weight', 'words/table', COPY),
    ('lstm.weight_ih_l0', 'lstm/kernel', LINEAR),
    ('lstm.weight_hh_l0', 'lstm/recurrent', LINEAR),
    ('lstm.bias_ih_l0', 'lstm/bias', COPY),
    ('lstm.bias_hh_l0', 'lstm/recurrent_bias', COPY),
    *linear_rows('lang_adapter.lang_linear', 'question_adapter'),
    *norm_rows('lang_adapter.lang_ln', 'question_norm'),
    *linear_rows('img_adapter.frcn_linear', 'image_adapter'),
    *norm_rows('img_adapter.frcn_ln', 'image_norm'),
    *linear_rows('img_adapter.bbox_linear', 'box_adapter'),
    *_attention(f'{_ENCODER}.mhatt', 'encoder/layer_{i}/attention'),
    *_feed_forward(f'{_ENCODER}.ffn.mlp', 'encoder/layer_{i}/ffn'),
    *norm_rows(f'{_ENCODER}.norm1', 'encoder/layer_{i}/norm1'),
    *norm_rows(f'{_ENCODER}.norm2', 'encoder/layer_{i}/norm2'),
    *_attention(f'{_DECODER}.mhatt1', 'decoder/layer_{i}/self_attention'),
    *_attention(f'{_DECODER}.mhatt2', 'decoder/layer_{i}/guided_attention'),
    *_feed_forward(f'{_DECODER}.ffn.mlp', 'decoder/layer_{i}/ffn'),
    *norm_rows(f'{_DECODER}.norm1', 'decoder/layer_{i}/norm1'),
    *norm_rows(f'{_DECODER}.norm2', 'decoder/layer_{i}/norm2'),
    *norm_rows(f'{_DECODER}.norm3', 'decoder/layer_{i}/norm3'),
    *_feed_forward('attflat_img', 'image_pool/scores'),
    *linear_rows('attflat_img.linear_merge', 'image_pool/merge'),
    *_feed_forward('attflat_lang', 'question_pool/scores'),
    *linear_rows('attflat_lang.linear_merge', 'question_pool/merge'),
    *norm_rows('proj_norm', 'norm'),
    *linear_rows('proj', 'classifier'),
)
IGNORED = RENAMES = ()
PARTIAL = False
