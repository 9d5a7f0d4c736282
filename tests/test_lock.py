"""One run at a time in a workdir: refused, waited for, taken over."""
import dataclasses
import json
import os
import subprocess
import sys
import threading
import time

from bst_jax.host import lock
import pytest


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  """Seconds of waiting, shortened."""
  for name, seconds in (('_BEAT', 0.2), ('_SILENT', 3.0), ('_CONFIRM', 1.0),
                        ('_GRACE', 0.2), ('_LOOK', 0.05)):
    monkeypatch.setattr(lock, name, seconds)


def write(folder, age=0.0, **changes):
  """The file of a holder on another host, last renewed so long ago."""
  mine = lock.Lock(folder)._me
  other = dataclasses.replace(mine, **dict(
      token='other', host='elsewhere', machine='another') | changes)
  path = folder / lock.FILE
  path.write_text(lock._text(other))
  os.utime(path, (time.time() - age,) * 2)
  return path


def ended_process():
  """Number and beginning of a process that is gone."""
  process = subprocess.Popen([sys.executable, '-c', 'input()'],
                             stdin=subprocess.PIPE)
  started = lock._started(process.pid)
  process.communicate(b'\n')
  return process.pid, started


def holder(folder):
  return json.loads((folder / lock.FILE).read_text())


def test_a_second_run_is_refused_and_told_by_whom(tmp_path):
  with lock.held(tmp_path):
    began = time.monotonic()
    with pytest.raises(ValueError) as error:
      with lock.held(tmp_path):
        pass
    assert time.monotonic() - began < 2
    for part in ('in use', str(os.getpid()), holder(tmp_path)['host'],
                 holder(tmp_path)['since'], '--wait_for_workdir', '--workdir'):
      assert part in str(error.value)
  assert list(tmp_path.iterdir()) == []
  with lock.held(tmp_path):  # The file of the one that was refused is not left.
    assert [path.name for path in tmp_path.iterdir()] == [lock.FILE]


def test_a_dead_process_of_this_host_holds_nothing(tmp_path):
  pid, started = ended_process()
  write(tmp_path, machine=lock._machine(), pid=pid, started=started)
  began = time.monotonic()
  with lock.held(tmp_path):
    assert holder(tmp_path)['pid'] == os.getpid()
  assert time.monotonic() - began < 1


def test_another_process_of_the_same_number_is_not_the_holder(tmp_path):
  write(tmp_path, machine=lock._machine(), pid=os.getpid(), started='12')
  with lock.held(tmp_path):
    assert holder(tmp_path)['token'] != 'other'


def test_a_child_that_nobody_waited_for_is_dead():
  process = subprocess.Popen([sys.executable, '-c', 'pass'],
                             stdout=subprocess.PIPE)
  process.stdout.read()  # Ended, but its parent has not asked how.
  limit = time.monotonic() + 10
  while lock._started(process.pid) and time.monotonic() < limit:
    time.sleep(0.01)
  assert lock._started(process.pid) == ''
  process.wait()


@pytest.mark.parametrize('age, least, most', [
    (1000.0, 0.9, 2.5), (0.0, 2.9, 6.0), (-1000.0, 2.9, 6.0)])
def test_a_silent_holder_elsewhere_is_watched_then_replaced(
    tmp_path, age, least, most):
  """Whatever the clocks say, it has its time to give a sign of life."""
  write(tmp_path, age)
  began = time.monotonic()
  with lock.held(tmp_path):
    assert holder(tmp_path)['token'] != 'other'
  assert least < time.monotonic() - began < most


@pytest.mark.parametrize('age', [0.0, 1000.0])
def test_a_holder_elsewhere_that_lives_is_never_replaced(tmp_path, age):
  path, ended = write(tmp_path, age), threading.Event()

  def live():
    beat = time.time() - age
    while not ended.wait(0.1):
      beat += 0.1
      os.utime(path, (beat, beat))

  thread = threading.Thread(target=live)
  thread.start()
  try:
    with pytest.raises(ValueError, match='elsewhere'):
      with lock.held(tmp_path):
        pass
    assert holder(tmp_path)['token'] == 'other'
  finally:
    ended.set()
    thread.join()


def test_one_that_stops_is_waited_for(tmp_path):
  stops, inside, ended = threading.Event(), threading.Event(), []

  def first():
    with lock.held(tmp_path, stopping=stops.is_set):
      inside.set()
      limit = time.monotonic() + 10
      while not holder(tmp_path)['stopping'] and time.monotonic() < limit:
        time.sleep(0.05)
      time.sleep(1.0)  # Saving.
      ended.append(time.monotonic())

  thread = threading.Thread(target=first)
  thread.start()
  inside.wait()
  stops.set()
  with lock.held(tmp_path, wait=30):
    assert ended and time.monotonic() >= ended[0]
  thread.join()


def test_who_was_replaced_while_suspended_is_told_before_it_saves(tmp_path):
  with lock.held(tmp_path):
    lock.check(tmp_path)
    write(tmp_path)
    with pytest.raises(lock.LostError, match='elsewhere'):
      lock.check(tmp_path)
  assert holder(tmp_path)['token'] == 'other'  # Not its own to remove.
  lock.check(tmp_path)  # Holds nothing: nothing to lose.


def test_a_disk_without_links_or_locks_does(tmp_path, monkeypatch):
  import fcntl

  def refuse(*unused):
    raise OSError(95, 'Operation not supported')

  monkeypatch.setattr(os, 'link', refuse)
  monkeypatch.setattr(fcntl, 'flock', refuse)
  with lock.held(tmp_path):
    assert holder(tmp_path)['pid'] == os.getpid()
    with pytest.raises(ValueError, match='in use'):
      with lock.held(tmp_path):
        pass
  assert list(tmp_path.iterdir()) == []


def test_of_many_that_replace_a_dead_one_together_one_works_at_a_time(tmp_path):
  pid, started = ended_process()
  write(tmp_path, machine=lock._machine(), pid=pid, started=started)
  code = f'''
import sys, time
from bst_jax.host import lock
lock._GRACE = 0.0
sys.stdin.readline()
try:
  with lock.held({str(tmp_path)!r}):
    began = time.monotonic()
    time.sleep(0.5)
    print(began, time.monotonic())
except ValueError:
  print('refused')
'''
  runs = [subprocess.Popen([sys.executable, '-c', code], text=True,
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
          for _ in range(4)]
  for run in runs:
    run.stdin.write('\n')
    run.stdin.flush()
  said = [run.communicate(timeout=120)[0].strip() for run in runs]
  spans = sorted(tuple(map(float, line.split()))
                 for line in said if line != 'refused')
  assert spans
  for (_, end), (begin, _) in zip(spans, spans[1:]):
    assert end <= begin
