"""The program of a process that makes shards; `workers` starts it."""
import os
import pickle
import queue
import signal
import sys
import threading

from bst_jax.data.making import shards


def main():
  """Makes the shards that come in, until the process that asks is gone."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of them.
  jobs, results = queue.SimpleQueue(), os.fdopen(os.dup(1), 'wb')
  os.dup2(2, 1)  # What a builder prints is no result.

  def say(*event):
    pickle.dump(event, results, pickle.HIGHEST_PROTOCOL)
    results.flush()

  def listen():
    while True:
      try:
        jobs.put(pickle.load(sys.stdin.buffer))
      except EOFError:
        os._exit(1)  # Also amid a shard.
      except Exception as error:  # A module of the user's is not found.
        jobs.put(error)

  threading.Thread(target=listen, daemon=True).start()
  while True:
    job = jobs.get()
    try:
      if isinstance(job, Exception):
        raise job
      say('whole', shards.make(job, lambda *done: say('told', *done)))
    except Exception as error:
      say('raised', _sendable(error))


def _sendable(error):
  """The error, or one with its words where it cannot be sent."""
  try:
    pickle.loads(pickle.dumps(error))
    return error
  except Exception:
    return RuntimeError(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
  main()
