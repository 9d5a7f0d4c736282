"""Memory that is free goes back to the system after a program is compiled."""
import ctypes
import gc
import subprocess
import sys

from bst_jax.host import cli, heap
import jax
import pytest


def resident():
  with open('/proc/self/statm') as file:
    return int(file.read().split()[1]) * 4096


def test_freed_memory_goes_back():
  if not hasattr(ctypes.CDLL(None), 'malloc_trim'):
    assert not heap.give_back()
    pytest.skip('the C library is not glibc')
  libc = ctypes.CDLL(None)
  libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
  gc.collect()
  pieces = [libc.malloc(100_000) for _ in range(2000)]
  for piece in pieces:
    ctypes.memset(ctypes.c_void_p(piece), 1, 100_000)
  for piece in pieces[:-1]:  # The last one keeps the heap where it is.
    libc.free(piece)
  before = resident()
  assert heap.give_back()
  assert before - resident() > 100e6
  libc.free(pieces[-1])


def test_only_after_a_program_that_took_long(monkeypatch):
  calls = []
  monkeypatch.setattr(heap, 'give_back', lambda: calls.append(True))
  heap.give_back_after_compiling()
  heap.give_back_after_compiling()  # A second command in one process.
  monkeypatch.setattr(heap, '_LEAST', -1.0)
  jax.jit(lambda x: x * 3.21)(1.0)
  assert len(calls) == 1
  monkeypatch.setattr(heap, '_LEAST', 1e9)
  jax.jit(lambda x: x * 4.32)(1.0)
  assert len(calls) == 1


# Pages that are filled anew when a block is taken, written and freed again.
_PAGES = """
import ctypes, resource, sys
from bst_jax.host import cli, heap
if sys.argv[1] == 'kept' and not heap.keep_large_blocks():
  sys.exit(77)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
pages = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
  block = libc.malloc(80_000_000)
  ctypes.memset(ctypes.c_void_p(block), 1, 80_000_000)
  libc.free(block)
use()
before = pages()
for _ in range(5):
  use()
print(pages() - before)
"""


def test_large_blocks_stay_for_the_next_of_their_size():
  pages = {}
  for how in ('fresh', 'kept'):
    done = subprocess.run([sys.executable, '-c', _PAGES, how], check=False,
                          capture_output=True, text=True)
    if done.returncode == 77:
      pytest.skip('the C library is not glibc')
    assert not done.returncode, done.stderr
    pages[how] = int(done.stdout)
  # Some kernels give pages of 2 MiB.
  assert pages['fresh'] >= 5 * 80e6 // 2 ** 21 and pages['kept'] < 100


def test_commands_on_a_cpu_keep_them(monkeypatch):
  calls = []
  monkeypatch.setattr(heap, 'keep_large_blocks', lambda: calls.append('kept'))
  monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
  cli.start()
  assert not calls
  monkeypatch.setattr(jax, 'default_backend', lambda: 'cpu')
  cli.start()
  assert calls == ['kept']
