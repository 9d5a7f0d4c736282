"""What this machine's processor can do, and that programs use all of it.

Commands do what `tune` does by themselves; a script of your own that runs models on
a CPU calls it first:

  from bst_jax.host import processor
  processor.tune()
"""
import functools
from importlib import metadata
import os
import pathlib
import re

from absl import logging
from bst_jax.host import heap

_ABOUT = pathlib.Path('/proc/cpuinfo')
# Compilers that are known to have the option; they end the process at one that
# they do not know.
_FIRST, _BEHIND = (0, 10), (0, 13)
_WIDE = '--xla_cpu_prefer_vector_width=512'


@functools.cache
def about() -> dict[str, str]:
  """What Linux says of the first processor, by its keys; {} on other systems."""
  try:
    text = _ABOUT.read_text(encoding='utf-8').partition('\n\n')[0]
  except OSError:
    return {}
  lines = (line.partition(':') for line in text.splitlines())
  return {key.strip(): value.strip() for key, _, value in lines}


def instructions() -> frozenset[str]:
  """Names of instructions, as Linux has them; none where it is not known."""
  known = about()
  return frozenset(known.get('flags', known.get('Features', '')).split())


def tune() -> None:
  """Wide vectors where they help, and memory that stays between steps.

  To be called before jax has devices.
  """
  use_wide_vectors()
  heap.keep_large_blocks()


def use_wide_vectors() -> bool:
  """Lets XLA use vectors of 512 bits where that was measured to help.

  XLA takes 256 by default, for processors that run slower with more. AMD's do
  not, see docs/results.md. To be called before jax has devices. XLA_FLAGS that
  are set stay as they are.

  Returns:
    Whether it does from now on.
  """
  version = tuple(map(int, re.findall(r'\d+', metadata.version('jaxlib'))[:2]))
  wide = ('XLA_FLAGS' not in os.environ and 'avx512f' in instructions()
          and about().get('vendor_id') == 'AuthenticAMD'
          and _FIRST <= version < _BEHIND)
  if wide:
    os.environ['XLA_FLAGS'] = _WIDE
    logging.debug('XLA_FLAGS=%s', _WIDE)
  return wide
