"""Pictures of what token sampling does: which patches live, and how many."""
from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from bst_jax.host import files
from bst_jax.scores import tokens as token_counts
import jax
import jax.numpy as jnp
import numpy as np

# A patch that is gone: what is left of it, and the colour in front of it, which
# neither dark nor bright pictures have.
_FADED, _VEIL = 0.2, (96, 140, 230)


def surviving(model: Any, params: Any, batch: Mapping[str, jax.Array],
              ) -> dict[int, np.ndarray]:
  """{sampling layer: bool[B, slots], the patches that live behind it}.

  Where frames are sampled apart they are bool[B, T, slots].
  """
  _, found = model.apply({'params': params}, batch, mutable=['intermediates'])
  sites = jnp.arange(model.slots)[:, None]
  return {layer: np.asarray((ids[..., None, :] == sites).any(-1))
          for layer, ids in token_counts.sown(found, 'token_ids').items()}


def sheet(pixels: np.ndarray, alive: Mapping[int, np.ndarray],
          grid: tuple[int, int], captions: Sequence[str],
          path: pathlib.Path) -> None:
  """Draws images beside themselves with the patches that live in each stage.

  Args:
    pixels: uint8[n, H, W, 3].
    alive: {layer: bool[n, slots]}, slots row by row of the grid.
    grid: rows and columns of patches.
    captions: of each image.
    path: PNG file to write.
  """
  from matplotlib.figure import Figure  # Slow, and only pictures need it.

  count, columns = len(pixels), 1 + len(alive)
  figure = Figure(figsize=(max(1.15 * columns, 3.6), 1.25 * count + 0.6),
                  layout='constrained')
  axes = figure.subplots(count, columns, squeeze=False)
  height, width = pixels.shape[1:3]
  for i, row in enumerate(axes):
    row[0].imshow(pixels[i])
    row[0].set_ylabel(captions[i], fontsize=7)
    for place, (layer, lives) in enumerate(alive.items(), 1):
      mask = np.kron(lives[i].reshape(grid),
                     np.ones((height // grid[0], width // grid[1])))[..., None]
      faded = _FADED * pixels[i] + (1 - _FADED) * np.float32(_VEIL)
      row[place].imshow(np.where(mask, pixels[i], faded).astype(np.uint8))
      row[place].set_xlabel(f'{lives[i].sum()}', fontsize=6, labelpad=1)
      if i == 0:
        row[place].set_title(f'layer {layer}', fontsize=7)
    for one in row:
      one.set(xticks=[], yticks=[])
  axes[0][0].set_title('image', fontsize=7)
  figure.suptitle('tokens that live, and how many', fontsize=9)
  figure.legend(handles=_legend(), loc='outside lower center', ncols=2,
                fontsize=7, frameon=False, handlelength=1, handleheight=1)
  with files.beside(path) as place:
    figure.savefig(place, dpi=150)


def _legend():
  """A square of each kind of patch, with what it means."""
  from matplotlib.patches import Patch

  gone = [(_FADED * 0.6 + (1 - _FADED) * part / 255) for part in _VEIL]
  return [Patch(facecolor='white', edgecolor='grey', linewidth=0.5,
                label='as in the image: the token lives'),
          Patch(facecolor=gone, label='blue: the token is gone')]


def histograms(layers: Sequence[Mapping[str, Any]], title: str,
               path: pathlib.Path) -> None:
  """Draws how many images have how many tokens behind each layer.

  Args:
    layers: what `token_counts.Tally.report` says of them.
    title: of the picture.
    path: PNG file to write.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(7, 1.0 + 0.75 * len(layers)), layout='constrained')
  axes = figure.subplots(len(layers), 1, sharex=True, squeeze=False)[:, 0]
  most = max(len(layer['histogram']) for layer in layers)
  for one, layer in zip(axes, layers):
    heights = layer['histogram']
    one.bar(range(len(heights)), heights, 1.0, color='C0')
    one.axvline(layer['mean'], color='C1', lw=1)
    one.axvline(layer['width'], color='grey', lw=1, ls='--')
    one.set_ylabel(f'layer {layer["layer"]}\n{layer["mean"]:.0f} ± '
                   f'{layer["std"]:.0f}', fontsize=7, rotation=0, ha='right',
                   va='center')
    one.set(yticks=[], xlim=(0, max(most, layers[0]['width']) + 1))
  axes[-1].set_xlabel('tokens (orange: mean; dashed: slots)', fontsize=8)
  figure.suptitle(title, fontsize=9)
  with files.beside(path) as place:
    figure.savefig(place, dpi=150)
