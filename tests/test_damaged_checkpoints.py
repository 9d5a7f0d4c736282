"""Damage of a checkpoint is told in one sentence, and nothing else of it."""
import gc
import logging
import os
import sys
import types

from bst_jax.store import checkpoint, steps
import numpy as np
import pytest


@pytest.mark.parametrize('part, change', [
    ('params/**/d/*', lambda data: b''),
    ('params/**/d/*', lambda data: bytes(len(data))),
    ('params/**/d/*', lambda data: data[:len(data) // 2]),
    ('params/manifest.ocdbt', lambda data: data[::-1]),
    ('params/_METADATA', lambda data: b'[1]'),
    ('_CHECKPOINT_METADATA', lambda data: data[:9])])
def test_damage_is_told_once(tmp_path, caplog, monkeypatch, part, change):
  rng, told = np.random.default_rng(0), []
  checkpoint.save_params(tmp_path, {
      f'layer_{i}': rng.random((300, 200), np.float32) for i in range(8)})
  monkeypatch.setattr(sys, 'unraisablehook', told.append)
  tasks = logging.getLogger('asyncio')
  # As in a process in which no damage was met before.
  monkeypatch.setattr(tasks, 'filters', [
      kept for kept in tasks.filters if kept is not steps._is_news])
  for path in (tmp_path / 'checkpoints' / '0').glob(part):
    if path.is_file():
      path.write_bytes(change(path.read_bytes()))
  caplog.clear()
  with pytest.raises(ValueError, match='looked for in .*damaged'):
    checkpoint.load_params(tmp_path)
  gc.collect()  # Tasks that nobody waited for tell so when they go.
  assert not told and not caplog.records

  raised = types.SimpleNamespace(
      object=None, exc_value=RuntimeError('Event loop is closed'))
  sys.unraisablehook(raised)  # As a thread of TensorStore may still do.
  assert not told
  for other in (dict(object=print), dict(exc_value=RuntimeError('Disk lost'))):
    one = types.SimpleNamespace(**vars(raised) | other)
    sys.unraisablehook(one)
    assert told.pop() is one


def test_what_is_told_of_a_good_checkpoint_is_passed_on(caplog):
  hook, record = sys.unraisablehook, logging.makeLogRecord(dict(
      name='absl', levelno=logging.WARNING, msg='an old form',
      pathname=f'{os.sep}orbax{os.sep}x.py'))
  with steps.reading():
    logging.getLogger('absl').handle(record)
    assert not caplog.records
  assert [r.getMessage() for r in caplog.records] == ['an old form']
  assert sys.unraisablehook is hook
