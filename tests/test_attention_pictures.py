"""Where a network looked, drawn."""
import pathlib

import bst_jax
from bst_jax.report import attention
from bst_jax.run import experiment
from bst_jax.store import checkpoint
from configs import bst_mcan_pictures, quickstart
import models
import numpy as np
from PIL import Image
import pytest

SCENE = pathlib.Path(__file__).parents[1] / 'docs' / 'scene.png'


@pytest.mark.parametrize('config', [quickstart, bst_mcan_pictures])
def test_what_was_looked_at_is_red(tmp_path, config):
  config = config.get_config('tiny')
  data = experiment.load_data(config, tmp_path)
  exp = experiment.build(config, data.sizes)
  data.save_vocab(tmp_path / experiment.VOCAB)
  experiment.save(tmp_path, config, data.sizes)
  checkpoint.save_params(tmp_path, models.random_params(exp.shapes))
  net = bst_jax.load(tmp_path)
  shares = attention.draw(net, SCENE, 'How many squares are there?',
                          tmp_path / 'a.png')
  assert shares.sum() == pytest.approx(1, abs=1e-4)
  drawn = np.asarray(Image.open(tmp_path / 'a.png').convert('RGB'), int)
  left, right = np.array_split(drawn[80:], 2, axis=1)
  redder = lambda half: (half[..., 0] - half[..., 2]).mean()
  assert redder(right) > redder(left) + 5


@pytest.mark.parametrize('count, size, grid', [
    (12, (90, 120), (3, 4)), (49, (224, 224), (7, 7)), (7, (10, 70), (1, 7)),
    (240, (384, 640), (12, 20))])
def test_cells_have_the_proportions_of_the_picture(count, size, grid):
  assert attention.grid_of(count, *size) == grid
