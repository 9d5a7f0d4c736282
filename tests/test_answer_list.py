"""Answers by number, as published checkpoints come with them."""
import json
import logging
import re

from bst_jax import convert, elastic
from bst_jax.data import answer_list, vocabularies
from bst_jax.interop import core, files, vilt
from bst_jax.run import experiment, loaded
from configs import das_vilt_vqa
import jax
import models
import numpy as np
from PIL import Image
import pytest

HOLED = {'net': 0, 'pitcher': 1, 'orange': 2, 'yes': 4, 'white': 5}
LISTED = ('net', 'pitcher', 'orange', '#3', 'yes', 'white')


def written(folder, content):
  path = folder / 'answers.json'
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  return path


@pytest.mark.parametrize('found', [
    HOLED, dict(reversed(HOLED.items())),
    {str(i): answer for answer, i in HOLED.items()}])
def test_answers_stand_at_their_numbers(tmp_path, found, caplog):
  with caplog.at_level(logging.WARNING):
    assert answer_list.load(written(tmp_path, found)) == LISTED
  assert [record.getMessage() for record in caplog.records] == [
      f'{tmp_path / "answers.json"} gives no answer to 1 of the numbers up to '
      '5: 3. These outputs stand for no answer and print as their numbers.']


def test_a_whole_object_and_a_list_say_nothing(tmp_path, caplog):
  whole = {'b': 1, 'a': 0}
  assert answer_list.load(written(tmp_path, whole)) == ('a', 'b')
  assert answer_list.load(written(tmp_path, ['b', '7'])) == ('b', '7')
  # Answers that are numbers themselves.
  assert answer_list.load(written(tmp_path, {'1': 0, '0': 1})) == ('1', '0')
  assert not caplog.records


@pytest.mark.parametrize('found, said', [
    ({'a': 0, 'b': 1, 'c': 1}, "gives the number 1 to 'b' and to 'c'"),
    ('{"0": "a", "1": "b", "01": "c"}', "gives the number 1 to 'b' and to 'c'"),
    ({'a': -1}, "gives 'a' the number -1; outputs are numbered from 0"),
    ({'a': 10 ** 9}, 'the number 1,000,000,000; outputs are numbered'),
    ({'a': 0.5}, 'neither a list of answers nor an object'),
    ({'a': True}, 'neither a list of answers nor an object'),
    ({}, 'neither a list of answers nor an object'),
    ({'a': ['b']}, 'neither a list of answers nor an object'),
    ('{', 'it is not a JSON list of strings'),
    ('[1, 2]', 'it is not a JSON list of strings')])
def test_what_is_no_list_of_answers(tmp_path, found, said):
  with pytest.raises(ValueError, match=re.escape(said)):
    answer_list.load(written(tmp_path, found))


@pytest.fixture
def checkpoint(tmp_path):
  """A small ViLT of six answers as it is released, and its vocabulary."""
  config = das_vilt_vqa.get_config('pretrained')
  model, _, params, _ = models.build('vilt', num_answers=6)
  for key in config.model:
    if key not in ('name', 'outputs'):
      config.model[key] = getattr(model, key)
  config.model.update(
      vocab_size=11, patch=4, grid=(3, 3), width=16, heads=4, mlp=32,
      num_layers=4, fused=32, max_positions=8)
  config.data.update(image_size=(16,), inputs=('image',), image_fit='stretch',
                     image_shorter=0, max_tokens=8)
  config.data.sizes = dict(
      vocab_size=11, num_answers=6, max_tokens=8, image_size=16)
  foreign = core.write(vilt.TABLE, jax.tree.map(np.asarray, params))
  files.save(tmp_path / 'vilt.safetensors', foreign)
  vocab = tmp_path / 'vocab'
  vocab.mkdir()
  words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', *'abcdefg']
  (vocab / 'words.json').write_text(json.dumps(words))
  (vocab / 'types.json').write_text('[]')
  return config, tmp_path / 'vilt.safetensors', vocab


def test_a_checkpoint_with_a_hole_in_its_answers(checkpoint, tmp_path, caplog):
  config, path, vocab = checkpoint
  written(vocab, HOLED)
  convert.read(config, 'vilt', path, tmp_path / 'work', str(vocab))
  assert vocabularies.names(tmp_path / 'work' / experiment.VOCAB)[
      'answers'] == LISTED
  caplog.clear()
  picture = tmp_path / 'picture.png'
  Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(picture)
  net = loaded.load(tmp_path / 'work')
  assert not any('gives no answer' in record.getMessage()
                 for record in caplog.records)  # It was said once.
  batch = net.batch(str(picture), 'a b')
  said = dict(net.tell(batch, 6))
  logits = net.outputs(batch)['answers'][0]
  wanted = 1 / (1 + np.exp(-np.asarray(logits)))
  np.testing.assert_allclose(
      [said[answer] for answer in LISTED], wanted, rtol=1e-5)
  assert elastic.size(net.params)


@pytest.mark.parametrize('found, count', [
    (HOLED | {'more': 6}, 7), ({'net': 0, 'yes': 1}, 2)])
def test_answers_that_are_not_the_head_s(checkpoint, tmp_path, found, count):
  config, path, vocab = checkpoint
  written(vocab, found)
  with pytest.raises(ValueError, match=f'has {count} answers, but '
                     'config.data.sizes.num_answers is 6'):
    convert.read(config, 'vilt', path, tmp_path / 'work', str(vocab))
  assert not (tmp_path / 'work').exists()
