"""Globs over parameters, and trees taken apart by them."""
from bst_jax.learn import paths
import pytest

TREE = {'fusion': {f'layer_{i}': {'ffn': {'kernel': i}, 'skip_text': i}
                   for i in range(2)}, 'head': 5}
PATHS = ['fusion/layer_0/ffn/kernel', 'fusion/layer_0/skip_text',
         'fusion/layer_1/ffn/kernel', 'fusion/layer_1/skip_text', 'head']


@pytest.mark.parametrize('glob, named', [
    ('head', [4]), ('fusion', [0, 1, 2, 3]), ('fusion/layer_1', [2, 3]),
    ('fusion/*/skip_*', [1, 3]), ('**/ffn', [0, 2]), ('**/head', [4]),
    ('fusion/**/kernel', [0, 2]), ('fusion/layer_?', [0, 1, 2, 3]),
    ('hea', []), ('*', [0, 1, 2, 3, 4]), ('fusion/kernel', [])])
def test_a_glob_names_what_lies_at_its_end_and_inside(glob, named):
  assert paths.named_by([glob], PATHS) == {PATHS[i] for i in named}


def test_the_glob_that_says_most_of_a_path_holds():
  globs = ['fusion', '**/ffn', 'fusion/layer_*', 'fusion/layer_1/ffn']
  holds = [paths.closest(globs, path, 'part') for path in PATHS]
  assert holds == ['fusion/layer_*'] * 2 + ['fusion/layer_1/ffn',
                                            'fusion/layer_*', None]
  with pytest.raises(ValueError, match='both name head, and neither'):
    paths.closest(['hea?', 'h?ad'], 'head', 'parts')


@pytest.mark.parametrize('glob, other, path, found', [
    ('encoder', 'trunk', 'encoder/3/bias', 'trunk/3/bias'),
    ('encoder/*', 'trunk/block_*', 'encoder/3/bias', 'trunk/block_3/bias'),
    ('**/ffn', 'all/**/mlp', 'a/b/ffn/kernel', 'all/a/b/mlp/kernel')])
def test_a_path_is_translated_with_what_the_wildcards_stand_for(
    glob, other, path, found):
  assert paths.translate(glob, other, path) == found


def test_what_was_split_is_joined_again():
  kept, apart = paths.split(TREE, paths.named_by(['**/ffn', 'head'], PATHS))
  assert apart == {'fusion': {f'layer_{i}': {'ffn': {'kernel': i}}
                              for i in range(2)}, 'head': 5}
  assert kept == {'fusion': {f'layer_{i}': {'skip_text': i}
                             for i in range(2)}}
  assert paths.join(kept, apart) == TREE
  assert paths.split(TREE, ()) == (TREE, {})
  assert paths.join(TREE, {'head': 6}) == TREE | {'head': 6}


def test_a_glob_that_names_nothing_lists_what_is_there():
  paths.check(['**/ffn', 'head'], PATHS, 'part')
  with pytest.raises(ValueError, match="no part 'fusion/layer_3/ffn'. Did you "
                     "mean .* There are: fusion"):
    paths.check(['head', 'fusion/layer_3/ffn'], PATHS, 'part')
