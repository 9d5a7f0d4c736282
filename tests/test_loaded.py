"""`bst_jax.load`: a trained network as an object."""
import pathlib

import bst_jax
from bst_jax import predict
from configs import quickstart
import numpy as np
from PIL import Image
import pytest
import random_workdir
import test_interop_folders

SCENE = pathlib.Path(__file__).parents[1] / 'docs' / 'scene.png'
ASKED = 'How many squares are there?'


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A workdir with random parameters, as training would leave it."""
  return random_workdir.make(tmp_path_factory.mktemp('loaded'),
                             quickstart.get_config('tiny'))


def test_a_network_answers_as_the_command_does(workdir):
  net = bst_jax.load(workdir)
  for sub in ('1x1', '1/2x1/2'):
    part = net if sub == '1x1' else net.at(sub)
    want, _ = predict.predict(workdir, SCENE, ASKED, sub, top=3)
    found = part.predict(SCENE, ASKED, top=3)
    assert [answer for answer, _ in found] == [answer for answer, _ in want]
    np.testing.assert_allclose([p for _, p in found], [p for _, p in want],
                               rtol=1e-5)


def test_logits_of_a_submodel_are_those_of_an_ordinary_model(workdir):
  net = bst_jax.load(workdir)
  small = bst_jax.load(workdir, '1/2x1/2')
  batch = small.batch(SCENE, ASKED)
  logits = small.logits(batch)
  assert logits.shape == (1, len(small.answers)) and set(batch) == {
      'regions', 'boxes', 'tokens'}
  alone = small.model.apply({'params': small.params}, batch)
  np.testing.assert_allclose(logits, alone['answers'], rtol=1e-5)
  sliced = net.model.apply({'params': net.params}, batch,
                           sub=bst_jax.Submodel('1/2', '1/2'))
  np.testing.assert_allclose(logits, sliced['answers'], atol=1e-5)
  # Two questions at once.
  both = {key: np.concatenate([value, value]) for key, value in batch.items()}
  np.testing.assert_allclose(small.logits(both)[1], logits[0], atol=1e-5)


def test_what_cannot_be_loaded_or_asked(workdir, tmp_path):
  net = bst_jax.load(workdir)
  with pytest.raises(ValueError, match='Ratios that fit'):
    net.at('1/3x1')
  with pytest.raises(ValueError, match='one submodel'):
    net.at('all')
  with pytest.raises(ValueError, match='a submodel has no submodels'):
    net.at('1/2x1').at('1/2x1')
  with pytest.raises(ValueError, match='give one'):
    net.predict(SCENE)
  with pytest.raises(ValueError, match='config.json'):
    bst_jax.load(tmp_path)
  (tmp_path / 'config.json').write_text('{"model_type": "swin"}')
  for foreign in (tmp_path, 'hf:not a name'):
    with pytest.raises(ValueError, match=r'folder has config.json|no name of a'):
      bst_jax.load(foreign)


def test_a_folder_of_transformers_is_loaded_as_it_is(tmp_path, caplog):
  """And nothing is written beside it."""
  params = test_interop_folders.vit(tmp_path)
  before = sorted(tmp_path.iterdir())
  with caplog.at_level('INFO', 'absl'):
    net = bst_jax.load(str(tmp_path))
  assert f'convert --checkpoint {tmp_path} --workdir' in caplog.text
  assert sorted(tmp_path.iterdir()) == before
  test_interop_folders.same(net.params, params)
  picture = tmp_path / 'cat.png'
  Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)).save(
      picture)
  (first, share), *_ = net.predict(picture)
  assert first.startswith('animal ') and 0 < share <= 1
  logits = net.logits(net.batch(picture))
  assert net.answers[int(logits.argmax())] == first
  assert net.at('1/2x1').model.width == 8


def test_the_models_are_listed():
  assert {'mcan', 'uniter', 'vit'} <= set(bst_jax.list_models())
