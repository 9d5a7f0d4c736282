"""Whether devices gain by products of bfloat16; told where they do not."""
from collections.abc import Iterable, Mapping
from typing import Any

from absl import logging
from bst_jax.host import processor
import jax

# Instructions for them, as Linux names those of x86 and of Arm processors.
_INSTRUCTIONS = {'amx_bf16', 'avx512_bf16', 'bf16'}
# The oldest NVIDIA GPUs with them, Ampere.
_CAPABILITY = 8.0


def tell(compute: Mapping[str, Any] | None,
         devices: Iterable[jax.Device]) -> None:
  """Warns where `config.compute.products` asks for what a device has not."""
  if (compute or {}).get('products', 'float32') == 'float32':
    return
  without = sorted({device.device_kind for device in devices
                    if not has_products(device)})
  if without:
    logging.warning(
        'config.compute.products=bfloat16: %s has no products of bfloat16; '
        'they are done by way of float32, which takes longer. Leave it '
        'float32 there.', ', '.join(without))


def has_products(device: jax.Device) -> bool:
  """Whether a device multiplies bfloat16 by itself; true where not known."""
  if device.platform == 'cpu':
    known = processor.instructions()
    return not known or not known.isdisjoint(_INSTRUCTIONS)
  capability = getattr(device, 'compute_capability', None)
  try:
    return capability is None or float(capability) >= _CAPABILITY
  except ValueError:  # Not NVIDIA's, as gfx90a.
    return True
