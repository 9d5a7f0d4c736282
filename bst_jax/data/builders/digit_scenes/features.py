"""Region features of plates, by a small frozen convolutional network."""
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

WINDOW = 32  # pixels of the square that is read around a plate's centre
SIZE = 128
_CONVS = ('conv1', 'conv2', 'conv3')
_BLOCK = 256  # plates read at once: one compiled shape


def forward(params: dict, windows: jax.Array) -> jax.Array:
  """Features of plates.

  Args:
    params: {'conv1', 'conv2', 'conv3', 'dense'} -> (kernel, bias).
    windows: uint8[n, 32, 32, 3] pictures of plates with what is around them.

  Returns:
    float32[n, 128], not negative.
  """
  x = (windows.astype(jnp.float32) - 128) / 64
  for name in _CONVS:
    kernel, bias = params[name]
    x = jax.lax.conv_general_dilated(
        x, kernel, (2, 2), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
    x = jax.nn.relu(x + bias)  # [n, 16, 16, 32], [n, 8, 8, 64], [n, 4, 4, 64]
  kernel, bias = params['dense']
  return jax.nn.relu(x.reshape(x.shape[0], -1) @ kernel + bias)


def crop(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
  """Cuts a window of fixed size around the centre of each box.

  The window has one size so that a plate's own size can be seen in it.

  Args:
    image: uint8[H, W, 3].
    boxes: float[n, 4], x1 y1 x2 y2 as shares of the picture.

  Returns:
    uint8[n, 32, 32, 3]; beyond the picture its edge is repeated.
  """
  height, width = image.shape[:2]
  half = WINDOW // 2
  padded = np.pad(image, ((half, half), (half, half), (0, 0)), mode='edge')
  boxes = np.asarray(boxes, np.float64)
  x = np.rint((boxes[:, 0] + boxes[:, 2]) * width).astype(int) // 2
  y = np.rint((boxes[:, 1] + boxes[:, 3]) * height).astype(int) // 2
  windows = [padded[j:j + WINDOW, i:i + WINDOW] for i, j in zip(x, y)]
  return np.stack(windows) if windows else np.zeros(
      (0, WINDOW, WINDOW, 3), np.uint8)


def encode(windows: np.ndarray) -> np.ndarray:
  """float32[n, 128] features of uint8[n, 32, 32, 3] windows."""
  blocks = []
  for start in range(0, len(windows), _BLOCK):
    block = windows[start:start + _BLOCK]
    full = np.zeros((_BLOCK, WINDOW, WINDOW, 3), np.uint8)
    full[:len(block)] = block
    blocks.append(np.asarray(_forward(weights(), full))[:len(block)])
  return np.concatenate(blocks) if blocks else np.zeros((0, SIZE), np.float32)


_forward = jax.jit(forward)


@functools.lru_cache(maxsize=1)
def weights() -> dict:
  """The network's weights, float32, as `forward` takes them."""
  path = pathlib.Path(__file__).with_name('features.npz')
  with np.load(path) as file:
    return {name: (file[f'{name}/kernel'].astype(np.float32),
                   file[f'{name}/bias'].astype(np.float32))
            for name in (*_CONVS, 'dense')}
