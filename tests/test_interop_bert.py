"""Checkpoint families of UNITER and CLIP-ViL, and what starts their training.

Names are those of the golden files, which the released classes wrote.
"""
import functools
import re

from bst_jax import convert, elastic
from bst_jax.interop import (
  bert,
  clip_vil,
  clip_vil_encoder,
  clip_visual,
  core,
  files,
  openvqa_mcan,
  uniter,
  uniter_pretrained,
)
from bst_jax.models import clip_vil as clip_vil_model
from bst_jax.models import uniter as uniter_model
from bst_jax.store import checkpoint
from configs import bst_clip_vil_vqa
import golden_bert
import golden_mcan
import jax
import numpy as np
import pytest

TABLES = {'uniter_vqa': uniter, 'clip_vil': clip_vil}
ENCODER = 'lxrt_encoder.model.'
TRUNK = f'{ENCODER}bert.encoder.visual_model.'


@functools.cache
def model_of(name):
  """The model of a golden file."""
  arrays, meta = golden_bert.read(name)
  sizes = golden_bert.sizes(meta)
  if name == 'uniter_vqa':
    return uniter_model.Model(**sizes, feature_size=meta['region_dim'])
  return clip_vil_model.Model(
      **sizes, grid_positions=meta['grid_positions'],
      visual_blocks=tuple(meta['cnn_layers']), visual_width=meta['cnn_width'])


def foreign_of(name):
  """Shapes of our parameters, and the published tensors of a golden file."""
  arrays, _ = golden_bert.read(name)
  batch = {'tokens': arrays['in/input_ids']}
  if name == 'uniter_vqa':
    batch |= {'regions': arrays['in/img_feat'],
              'boxes': arrays['in/img_pos_feat'][..., :4]}
  else:
    batch['image'] = arrays['in/image'].transpose(0, 2, 3, 1)
  boxed = jax.eval_shape(model_of(name).init, jax.random.key(0), batch)
  return elastic.unbox(boxed['params']), golden_bert.foreign_of(arrays)


def read(table, foreign, target):
  return core.read(table.TABLE, foreign, target, table.IGNORED, table.RENAMES,
                   table.PARTIAL)


def start_of(target):
  """Parameters of the given shapes that are all the same number."""
  return jax.tree.map(lambda s: np.full(s.shape, 7.0, np.float32), target)


def same(got, want):
  assert got.keys() == want.keys()
  for name, x in want.items():
    np.testing.assert_array_equal(got[name], x, err_msg=name)


def with_prefix(foreign, prefix):
  """The tensors under a prefix, without it."""
  return {k.removeprefix(prefix): v for k, v in foreign.items()
          if k.startswith(prefix)}


@pytest.mark.parametrize('name, left', [
    ('uniter_vqa', 1),  # The mask embedding.
    ('clip_vil', 4 + 25)])  # The branch for boxes; counters.
def test_reading_then_writing_is_the_same_bit_for_bit(name, left):
  target, foreign = foreign_of(name)
  table = TABLES[name]
  params = read(table, foreign, target)
  assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, target)
  ignored = [k for k in foreign
             if any(re.fullmatch(p, k) for p in table.IGNORED)]
  assert len(ignored) == left
  same(core.write(table.TABLE, params),
       {k: v for k, v in foreign.items() if k not in ignored})


@pytest.mark.parametrize('name', TABLES)
def test_old_spellings_and_prefixes(name):
  target, foreign = foreign_of(name)
  want = read(TABLES[name], foreign, target)
  old = lambda k: 'module.' + re.sub(
      r'LayerNorm\.(weight|bias)$', lambda m: 'LayerNorm.' + dict(
          weight='gamma', bias='beta')[m[1]], k)
  turned = {old(k): v for k, v in foreign.items()}
  assert 'gamma' in ' '.join(turned)
  same(elastic.flatten(read(TABLES[name], turned, target)),
       elastic.flatten(want))


@pytest.mark.parametrize('prefix, instead', [('', 'bert.'), ('uniter.', 'bert.')
                                             ])
def test_uniter_under_the_name_of_bert(prefix, instead):
  target, foreign = foreign_of('uniter_vqa')
  turned = {instead + k.removeprefix(prefix) if k.startswith(prefix) else k: v
            for k, v in foreign.items()}
  assert turned.keys() != foreign.keys()
  same(elastic.flatten(read(uniter, turned, target)),
       elastic.flatten(read(uniter, foreign, target)))


def test_two_spellings_of_one_tensor():
  target, foreign = foreign_of('uniter_vqa')
  name = 'uniter.embeddings.LayerNorm'
  foreign[f'{name}.gamma'] = foreign[f'{name}.weight']
  with pytest.raises(ValueError, match=(
      f'holds both {name}.weight and {name}.gamma, two spellings of')):
    read(uniter, foreign, target)


def check_partial(table, foreign, name, kept):
  """Reads a partial table; the parts in `kept`, and no others, are as before.

  Returns:
    Our parameters, flat.
  """
  target, whole = foreign_of(name)
  start = start_of(target)
  got = elastic.flatten(read(table, foreign, start))
  rest = core.unsourced(table.TABLE, target)
  assert {path.split('/')[0] for path in rest} == set(kept)
  want = elastic.flatten(read(TABLES[name], whole, target))
  for path, value in got.items():
    np.testing.assert_array_equal(
        value, 7 if path in rest else want[path], err_msg=path)
  # Still strict about what it has rows for, and about what is left over.
  short = dict(foreign)
  gone = next(iter(core.rename(short, table.RENAMES)))
  del short[next(iter(short))]
  with pytest.raises(ValueError, match=rf'1 missing \({re.escape(gone)}\)'):
    read(table, short, start)
  with pytest.raises(ValueError, match=r'1 unexpected \(surplus\)'):
    read(table, foreign | {'surplus': np.ones(2)}, start)


def test_uniter_before_fine_tuning():
  _, foreign = foreign_of('uniter_vqa')
  body = {k: v for k, v in foreign.items() if k.startswith('uniter.')}
  heads = {f'{head}.weight': np.ones((2, 2)) for head in (
      'cls.predictions.decoder', 'feat_regress.net.0', 'region_classifier.net.0',
      'itm_output')}
  check_partial(uniter_pretrained, body | heads, 'uniter_vqa', ['head'])


def test_clip_vil_without_its_head():
  _, foreign = foreign_of('clip_vil')
  body = with_prefix(foreign, ENCODER)
  heads = {'cls.predictions.bias': np.ones(3),
           'answer_head.logit_fc.0.weight': np.ones((2, 2))}
  check_partial(clip_vil_encoder, body | heads, 'clip_vil', ['head'])


@pytest.mark.parametrize('bare', [True, False])
@pytest.mark.parametrize('name, prefix, kept', [
    ('uniter_vqa', 'uniter.', ['feature', 'feature_norm', 'box', 'box_norm',
                               'image_norm', 'head']),
    ('clip_vil', f'{ENCODER}bert.', ['feature', 'image_norm', 'rows', 'columns',
                                     'visual', 'head'])])
def test_bert_is_the_text_side_of_both(name, prefix, kept, bare):
  _, foreign = foreign_of(name)
  text = ('embeddings.', 'encoder.layer.', 'pooler.')
  body = {k: v for k, v in with_prefix(foreign, prefix).items()
          if k.startswith(text)}
  if bare:
    body |= {'embeddings.position_ids': np.arange(3)[None]}
  else:
    body = {f'bert.{k}': v for k, v in body.items()} | {
        'cls.predictions.bias': np.ones(3)}
  check_partial(bert, body, name, kept)


def test_clip_is_the_trunk():
  _, foreign = foreign_of('clip_vil')
  body = with_prefix(foreign, TRUNK)
  others = ['positional_embedding', 'text_projection', 'logit_scale',
            'input_resolution', 'context_length', 'vocab_size',
            'token_embedding.weight', 'ln_final.weight',
            'transformer.resblocks.0.attn.in_proj_weight',
            'visual.attnpool.positional_embedding',
            'visual.attnpool.q_proj.weight']
  check_partial(
      clip_visual, body | dict.fromkeys(others, np.ones(2)), 'clip_vil',
      ['text', 'types', 'feature', 'image_norm', 'rows', 'columns', 'encoder',
       'pooler', 'head'])


def test_full_size_files_are_covered():
  """CLIP's RN50x4, and RN50 by the same rows."""
  names = [name for name, _, _ in clip_visual.TABLE]
  assert len(names) == len(set(names)) == 5 * (3 + 4 * 4)
  for stages, tensors in (((4, 6, 10, 6), 3 + 3 * 26 + 4),
                          ((3, 4, 6, 3), 3 + 3 * 16 + 4)):
    trunk = clip_vil_model.clip_resnet.ClipResNet(stages, 8)
    shapes = elastic.unbox(jax.eval_shape(
        trunk.init, jax.random.key(0), np.ones((1, 32, 32, 3))))['params']
    rows = core.rows_for(clip_visual.TABLE, [
        f'visual/{path}' for path in elastic.flatten(shapes)])
    assert len(rows) == 5 * tensors == len(elastic.flatten(shapes))


@pytest.mark.parametrize('style', ['openvqa', 'mcan-vqa'])
def test_plain_mcan_starts_mcan_with_bst(style):
  _, params, _, _, arrays = golden_mcan.load('vqa')
  foreign = golden_bert.foreign_of(arrays)
  plain = {}
  for name, value in foreign.items():
    if name.startswith(('lang_adapter.', 'img_adapter.frcn_ln.')):
      continue
    if re.search(r'norm\d?\.(weight|bias)$', name):
      name = name.replace('weight', 'a_2').replace('bias', 'b_2')
    name = re.sub(r'^(attflat_(?:img|lang))\.(?!linear_merge)', r'\1.mlp.',
                  name)
    image = {'openvqa': 'adapter.frcn_linear', 'mcan-vqa': 'img_feat_linear'}
    plain[name.replace('img_adapter.frcn_linear', image[style])] = value
  if style == 'openvqa':
    plain['adapter.grid_linear.weight'] = np.ones((2, 2))

  got = elastic.flatten(read(openvqa_mcan, plain, start_of(params)))
  rest = core.unsourced(openvqa_mcan.TABLE, params)
  assert rest == [
      'image_norm/bias', 'image_norm/scale', 'question_adapter/bias',
      'question_adapter/kernel', 'question_norm/bias', 'question_norm/scale']
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(
        got[path], 7 if path in rest else value, err_msg=path)


def test_one_part_after_the_other_through_workdirs(tmp_path):
  """BERT first, then CLIP on top of it; what is new is random."""
  target, foreign = foreign_of('clip_vil')
  model = model_of('clip_vil')
  config = bst_clip_vil_vqa.get_config()
  for key in config.model:
    if key != 'name':
      config.model[key] = getattr(model, key)
  config.model.update(max_positions=model.max_positions,
                      grid_positions=model.grid_positions)
  config.data.sizes.update(
      vocab_size=model.vocab_size, num_answers=model.num_answers, max_tokens=9,
      image_size=(64, 96))
  text = ('embeddings.', 'encoder.layer.', 'pooler.')
  files.save(tmp_path / 'bert.safetensors', {
      k: v for k, v in with_prefix(foreign, f'{ENCODER}bert.').items()
      if k.startswith(text)})
  files.save(tmp_path / 'clip.safetensors', with_prefix(foreign, TRUNK))

  convert.read(config, 'bert', tmp_path / 'bert.safetensors', tmp_path / 'one')
  config.init_from = str(tmp_path / 'one')
  convert.read(config, 'clip_visual', tmp_path / 'clip.safetensors',
               tmp_path / 'two')

  got = elastic.flatten(checkpoint.load_params(tmp_path / 'two', target))
  want = elastic.flatten(read(clip_vil, foreign, target))
  for path, value in got.items():
    new = path.split('/')[0] in (
        'feature', 'image_norm', 'rows', 'columns', 'head')
    assert np.array_equal(value, want[path]) != new, path
