"""Devices of a slice that is not there, for the compiler alone."""
from collections.abc import Sequence
import importlib.util
import os

from bst_jax.ahead import chips, gpus

# Answers to what the compilers would ask the machine, so that they look no
# further. jax itself stays on the CPU and takes no accelerator that is here.
ENVIRONMENT = {
    'JAX_PLATFORMS': 'cpu',
    'TPU_SKIP_MDS_QUERY': '1',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
    'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
    'TPU_WORKER_HOSTNAMES': 'localhost',
    # The compiler for GPUs needs neither a driver nor cuDNN.
    'JAX_SKIP_CUDA_CONSTRAINTS_CHECK': '1',
}
# Both cores of a chip as one device, as jax runs it.
_OPTIONS = {'v4': {'chip_config_name': 'megacore'}}
# Packages of which one holds the compiler, and the extra that installs it.
_COMPILERS = {
    'tpu': (('libtpu',), 'tpu'),
    'cuda': (('jax_cuda13_plugin', 'jax_cuda12_plugin'), 'cuda'),
}


def prepare() -> None:
  """Sets what is unset of `ENVIRONMENT`; before jax is imported."""
  for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)


def check(text: str) -> chips.Slice:
  """The slice that a topology's name means, if it can be compiled for here.

  Raises:
    ValueError: there is no such topology, or no compiler for it.
  """
  part = chips.parse(text)
  packages, extra = _COMPILERS[part.chip.platform]
  if not any(importlib.util.find_spec(name) for name in packages):
    raise ValueError(
        f'topology {text!r} cannot be compiled for here: its compiler is in '
        f'the package {packages[0]}, which is not installed. The chips need '
        f"not be here: pip install 'bst_jax[{extra}]'.")
  return part


def devices(part: chips.Slice) -> Sequence:
  """The slice's devices, which a program can be compiled for and not run on.

  Raises:
    ValueError: the compiler that is installed cannot do without them.
  """
  import jax
  from jax.experimental import topologies

  platform = part.chip.platform
  options = (_OPTIONS.get(part.name, {}) if platform == 'tpu' else dict(
      # Slices, hosts, devices of a host.
      topology=f'1x1x{part.chips}', target_config=gpus.description(part.name)))
  try:
    return topologies.get_topology_desc(
        platform=platform, topology_name=str(part), **options).devices
  except (RuntimeError, NotImplementedError) as error:
    packages, extra = _COMPILERS[platform]
    raise ValueError(
        f'topology {part} exists, but the compiler in {packages[0]} does not '
        f'do without it ({str(error).splitlines()[0]}), with jax '
        f"{jax.__version__}. A newer one may: pip install -U 'bst_jax[{extra}]'."
        ) from error
