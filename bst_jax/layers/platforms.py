"""What kind of device a program is traced for, which need not be here."""
from collections.abc import Iterator
import contextlib
import contextvars

import jax

_ANY = contextvars.ContextVar('any', default=False)


def traced_for() -> str:
  """`cpu`, `gpu` or `tpu`; `any` within `portable`.

  The devices of the mesh that is set, else this machine's.
  """
  if _ANY.get():
    return 'any'
  device = jax.sharding.get_abstract_mesh().abstract_device
  return device.platform if device else jax.default_backend()


@contextlib.contextmanager
def portable() -> Iterator[None]:
  """Traces programs for every kind of device: nothing is written as one likes.

  So a convolution stays a convolution for who reads the program, too: a
  converter, or the one who counts its products.
  """
  token = _ANY.set(True)
  try:
    yield
  finally:
    _ANY.reset(token)
