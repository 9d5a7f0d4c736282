"""Exported files against the JAX model, by the runtimes that will run them."""
import json
import pathlib

from bst_jax import elastic, export, profile
from bst_jax.models import vit
from bst_jax.report import cards, latency, portable
from bst_jax.run import experiment
from configs import bst_mcan_gqa, bst_mcan_vqa
import jax
import models
import numpy as np
import pytest
import test_chosen

pytest.importorskip('jax2onnx', reason='pip install bst_jax[export]')


@pytest.fixture(scope='module', params=[bst_mcan_vqa, bst_mcan_gqa])
def exp(request):
  """MCAN in both forms, small, with odd numbers of everything."""
  config = request.param.get_config('tiny')
  sizes = dict(vocab_size=23, num_answers=7, max_tokens=5, num_regions=6,
               feature_size=12)
  return experiment.build(config, sizes)


def test_files_are_checked_and_described(exp, tmp_path, capsys):
  params = exp.model.init(jax.random.key(0), experiment.example(exp.sizes))
  params = elastic.unbox(params['params'])
  out = tmp_path / 'out'
  card = export.export(exp, params, '1/2x1/2', ['onnx', 'int8'], out)
  cards.write(card, out, trained=False)
  assert set(card['files']) == {'model.onnx', 'model.int8.onnx'}
  assert card['files']['model.onnx']['difference'] < 1e-5
  assert 1e-5 < card['files']['model.int8.onnx']['difference'] < 0.1
  assert card == json.loads((out / 'card.json').read_text())
  assert 'RANDOM' in (out / 'card.md').read_text()
  # Only the GQA form reads boxes.
  assert ('boxes' in card['inputs']) == bool(exp.model.box_size)

  # Any batch, and padding.
  session = portable.Session(out / 'model.onnx')
  small = exp.model.at(elastic.Submodel('1/2', '1/2'))
  weights = exp.extract(params, elastic.Submodel('1/2', '1/2'))
  rng = np.random.default_rng(0)
  for count in (1, 5):
    batch = {'tokens': rng.integers(0, 23, (count, 5), np.int32),
             'regions': rng.standard_normal((count, 6, 12), np.float32),
             'boxes': rng.random((count, 6, 4), np.float32)}
    batch['tokens'][:, 3:] = 0
    batch['regions'][:, 4:] = 0
    want = small.apply({'params': weights}, batch)['answers']
    got = session(batch)
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max()
  assert 'model.int8.onnx' in profile.exported(pathlib.Path(out), 2, 2)


def test_a_difference_stops_the_export(exp, tmp_path, monkeypatch):
  real = portable.Session.__call__
  monkeypatch.setattr(portable.Session, '__call__',
                      lambda self, batch: real(self, batch) + 1)
  with pytest.raises(ArithmeticError, match='nothing was written'):
    export.export(exp, latency.random_params(exp), '1x1',
                  ['stablehlo', 'onnx'], tmp_path)
  assert not list(tmp_path.iterdir())


def test_sampled_tokens_are_exported():
  """Sorting, cumulating and picking of tokens, in ONNX Runtime."""
  model = vit.Model(7, image_size=24, patch=4, width=16, heads=4, mlp=32,
                    num_layers=3, ats=dict(blocks=(0, 2), capacity=(25, 14)))
  images = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), np.uint8)
  params = elastic.unbox(jax.jit(model.init)(
      jax.random.key(0), {'image': images[:1]})['params'])
  params = jax.tree.map(lambda p: 3 * p, params)  # Attention that differs.
  run = lambda batch: model.apply({'params': params}, batch)['classes']
  session = portable.Session(portable.onnx(run, {'image': images[:1]}))
  for count in (1, 5):
    want = np.asarray(run({'image': images[:count]}))
    got = session({'image': images[:count]})
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max()


def test_what_a_choice_leaves_runs_in_onnx_runtime(tmp_path):
  """Heads, hidden units, adapters and layers that differ, and tokens."""
  parent = experiment.build(test_chosen.config_of(), test_chosen.SIZES)
  choice = test_chosen.choice_of(parent)
  params = parent.cut(models.random_params(parent.shapes), choice)
  card = export.export(experiment.chosen(parent, choice), params, '1x1',
                       ['onnx'], tmp_path / 'out')
  assert card['files']['model.onnx']['difference'] < 1e-5
