"""Published names of MiniVLM's fusion, both ways."""
import functools

from bst_jax import elastic
from bst_jax import models as backbones
from bst_jax.interop import core, minivlm, minivlm_bert, minivlm_pretrained
from bst_jax.interop.folders import families
import jax
import models
import numpy as np
import pytest

SIZES = models.TINY['minivlm'][0] | dict(num_layers=2)
D, F, V = 16, 32, 11


_WORDS, _MATCH = 'cls.predictions', 'cls.seq_relationship'
HEADS = {
    'words': {f'{_WORDS}.transform.dense.weight': (D, D),
              f'{_WORDS}.transform.dense.bias': (D,),
              f'{_WORDS}.transform.LayerNorm.weight': (D,),
              f'{_WORDS}.transform.LayerNorm.bias': (D,),
              f'{_WORDS}.bias': (V,), f'{_WORDS}.decoder.weight': (V, D)},
    'match': {f'{_MATCH}.weight': (2, D), f'{_MATCH}.bias': (2,)},
    'answers': {'classifier.weight': (7, D), 'classifier.bias': (7,)},
    'pair': {'classifier.0.weight': (32, 2 * D), 'classifier.0.bias': (32,),
             'classifier.2.weight': (32,), 'classifier.2.bias': (32,),
             'classifier.3.weight': (2, 32), 'classifier.3.bias': (2,)},
    'plain_pair': {
        'classifier.0.weight': (32, 2 * D), 'classifier.0.bias': (32,),
        'classifier.2.weight': (2, 32), 'classifier.2.bias': (2,)}}


def foreign_of(*heads):
  """Tensors as OSCAR's classes name them: torch's (out, in) matrices."""
  shapes = {'bert.embeddings.word_embeddings.weight': (V, D),
            'bert.embeddings.position_embeddings.weight': (12, D),
            'bert.embeddings.token_type_embeddings.weight': (2, D),
            'bert.img_embedding.weight': (D, 14), 'bert.img_embedding.bias': (D,),
            'bert.pooler.dense.weight': (D, D), 'bert.pooler.dense.bias': (D,)}
  norms = ['bert.embeddings.LayerNorm', 'bert.LayerNorm']
  for layer in ('bert.encoder.layer.0', 'bert.encoder.layer.1'):
    for name, out, inp in (
        ('attention.self.query', D, D), ('attention.self.key', D, D),
        ('attention.self.value', D, D), ('attention.output.dense', D, D),
        ('intermediate.dense', F, D), ('output.dense', D, F)):
      shapes |= {f'{layer}.{name}.weight': (out, inp),
                 f'{layer}.{name}.bias': (out,)}
    norms += [f'{layer}.attention.output.LayerNorm', f'{layer}.output.LayerNorm']
  shapes |= {f'{norm}.{leaf}': (D,) for norm in norms
             for leaf in ('weight', 'bias')}
  for head in heads:
    shapes |= HEADS[head]
  rng = np.random.default_rng(0)
  return {name: rng.standard_normal(shape).astype(np.float32)
          for name, shape in shapes.items()}


@functools.cache
def shapes_of(**changes):
  model = backbones.create(SIZES | changes)
  batch = models.batch_of('tokens', 'regions', 'boxes', pictures=4) | {
      'places': np.zeros((4, 1), np.int32)}
  if 'pair' in model.outputs:
    batch['tokens'] = batch['tokens'][:2]
  boxed = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  return elastic.unbox(boxed)


def read(table, foreign, target):
  return core.read(table.TABLE, table.ADAPT(foreign, target), target,
                   table.IGNORED, table.RENAMES, table.PARTIAL)


def same(got, want):
  assert got.keys() == want.keys()
  for name, x in want.items():
    np.testing.assert_array_equal(got[name], x, err_msg=name)


def test_pre_trained_tensors_stand_where_they_belong():
  foreign = foreign_of('words', 'match')
  tied = foreign | {'cls.predictions.decoder.weight': foreign[
      'bert.embeddings.word_embeddings.weight']}
  target = shapes_of(outputs=('words', 'match'))
  params = read(minivlm, tied, target)
  np.testing.assert_array_equal(
      params['feature']['kernel'], foreign['bert.img_embedding.weight'].T)
  np.testing.assert_array_equal(
      params['feature_norm']['scale'], foreign['bert.LayerNorm.weight'])
  np.testing.assert_array_equal(
      params['match_head']['kernel'][:, 1],
      foreign['cls.seq_relationship.weight'][1])
  np.testing.assert_array_equal(
      params['words_head']['bias'], foreign['cls.predictions.bias'])
  attention = 'bert.encoder.layer.1.attention'
  np.testing.assert_array_equal(
      params['encoder']['layer_1']['attention']['query']['kernel'][:, 2, 1],
      foreign[f'{attention}.self.query.weight'][9])
  written = core.write(minivlm.TABLE, params)
  same(written, {k: v for k, v in foreign.items()
                 if k != 'cls.predictions.decoder.weight'})
  # Old spellings, and no prefix.
  old = {k.replace('LayerNorm.weight', 'LayerNorm.gamma').removeprefix('bert.'): v
         for k, v in tied.items()}
  same(elastic.flatten(read(minivlm, old, target)), elastic.flatten(params))


def test_a_matrix_of_words_of_its_own():
  foreign = foreign_of('words', 'match')
  with pytest.raises(ValueError, match='another matrix than .* set tied=False'):
    read(minivlm, foreign, shapes_of(outputs=('words', 'match')))
  target = shapes_of(outputs=('words', 'match'), tied=False)
  params = read(minivlm, foreign, target)
  np.testing.assert_array_equal(
      params['words_head']['decoder']['kernel'],
      foreign['cls.predictions.decoder.weight'].T)
  same(core.write(minivlm.TABLE, params), foreign)


@pytest.mark.parametrize('head, changes', [
    ('answers', {}), ('pair', dict(outputs=('pair',))),
    ('plain_pair', dict(outputs=('pair',), image_norm=False))])
def test_fine_tuned_heads(head, changes):
  foreign = foreign_of(head)
  if head == 'plain_pair':
    del foreign['bert.LayerNorm.weight'], foreign['bert.LayerNorm.bias']
  params = read(minivlm, foreign, shapes_of(**changes))
  same(core.write(minivlm.TABLE, params), foreign)
  if head != 'answers':
    np.testing.assert_array_equal(
        params['pair_head']['fc1']['kernel'][1, 3],
        foreign['classifier.0.weight'][:, D + 3])


def test_what_retrieval_was_fine_tuned_for_is_a_match():
  foreign = foreign_of('answers')
  foreign['classifier.weight'] = foreign['classifier.weight'][:2]
  foreign['classifier.bias'] = foreign['classifier.bias'][:2]
  params = read(minivlm, foreign, shapes_of(outputs=('match',)))
  np.testing.assert_array_equal(params['match_head']['kernel'],
                                foreign['classifier.weight'].T)


def test_pre_trained_weights_start_a_model_that_answers():
  foreign = foreign_of('words', 'match')
  target = jax.tree.map(lambda s: np.full(s.shape, 7.0, np.float32), shapes_of())
  params = read(minivlm_pretrained, foreign, target)
  assert (params['head']['kernel'] == 7).all()
  assert core.unsourced(minivlm_pretrained.TABLE, target) == [
      'head/bias', 'head/kernel']
  with pytest.raises(core.Misfit, match='missing .*classifier'):
    read(minivlm, foreign, target)


def test_bert_starts_the_text_and_the_words():
  foreign = foreign_of('words', 'match')
  foreign['cls.predictions.decoder.weight'] = foreign[
      'bert.embeddings.word_embeddings.weight']
  of_bert = {k: v for k, v in foreign.items()
             if not k.startswith(('bert.img', 'bert.LayerNorm'))}
  target = jax.tree.map(lambda s: np.full(s.shape, 7.0, np.float32), shapes_of(
      outputs=('words', 'match')))
  params = read(minivlm_bert, of_bert, target)
  assert (params['feature']['kernel'] == 7).all()
  assert (params['match_head']['kernel'] == 7).all()
  np.testing.assert_array_equal(
      params['words_head']['transform']['kernel'],
      foreign['cls.predictions.transform.dense.weight'].T)


@pytest.mark.parametrize('heads, tables', [
    (('words', 'match'), {'minivlm', 'minivlm_pretrained'}),
    (('answers',), {'minivlm'}), (('pair',), {'minivlm'})])
def test_names_tell_their_table(heads, tables):
  names = [*foreign_of(*heads)]
  assert families.fitting(names)[0] in tables
  assert not families.fitting([*names, 'surplus.weight'])
  # Without regions they are others', as before.
  of_bert = [name for name in names if not name.startswith(
      ('bert.img', 'bert.LayerNorm', 'classifier'))]
  assert not families.fitting(of_bert)[0].startswith('minivlm')
