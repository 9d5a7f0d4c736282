"""Random integers that are the same on every platform and numpy version."""
import numpy as np


class Draws:
  """Integers from the raw bits of PCG64, seeded by a tuple of integers.

  numpy promises the raw stream of a bit generator for ever, but not what
  `Generator` makes of it, so the bits are cut to integers here.
  """

  def __init__(self, *key: int):
    self._bits = np.random.PCG64(np.random.SeedSequence(key))
    self._pool = []

  def below(self, n: int) -> int:
    """An integer from 0 to n - 1."""
    if not self._pool:
      self._pool = self._bits.random_raw(64).tolist()
    return (self._pool.pop() >> 32) * n >> 32

  def between(self, low: int, high: int) -> int:
    """An integer from low to high, both included."""
    return low + self.below(high - low + 1)

  def pick(self, items):
    """One of the items."""
    return items[self.below(len(items))]

  def shuffled(self, items) -> list:
    """The items in a random order."""
    items = list(items)
    for i in range(len(items) - 1, 0, -1):
      j = self.below(i + 1)
      items[i], items[j] = items[j], items[i]
    return items

  def bytes(self, *shape: int) -> np.ndarray:
    """uint8 array of the given shape."""
    size = int(np.prod(shape))
    raw = self._bits.random_raw(-(-size // 8)).astype('<u8')
    return raw.view(np.uint8)[:size].reshape(shape)
