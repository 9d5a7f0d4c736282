"""Where a network looked, drawn."""
import pathlib

import bst_jax
from bst_jax.report import attention
from configs import bst_mcan_pictures, quickstart
import numpy as np
from PIL import Image
import pytest
import random_workdir

SCENE = pathlib.Path(__file__).parents[1] / 'docs' / 'scene.png'


@pytest.mark.parametrize('config', [quickstart, bst_mcan_pictures])
def test_what_was_looked_at_is_red(tmp_path, config):
  net = bst_jax.load(random_workdir.make(tmp_path, config.get_config('tiny')))
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
