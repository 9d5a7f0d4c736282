"""Memory that is free goes back to the system after a program is compiled."""
import ctypes
import gc

from bst_jax.host import heap
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
