"""Learning rates by step, from configs."""
from collections.abc import Mapping
import inspect
from typing import Any

from bst_jax import elastic
import jax.numpy as jnp
import optax


def create(config: Mapping[str, Any], lr: float, epoch: float,
           total: int) -> optax.Schedule:
  """Learning rate by step, counted from 0.

  Args:
    config: `name` (a key of `SCHEDULES`) and its options.
    lr: the base rate.
    epoch: steps in an epoch; a fraction for `quarters`, as published.
    total: steps of the whole training.
  """
  options = dict(config)
  name = options.pop('name')
  elastic.check_name(name, SCHEDULES, 'schedule')
  try:
    return SCHEDULES[name](lr, epoch, total, **options)
  except TypeError as error:
    raise ValueError(f'config.schedule: {error}.') from None


def arguments(name: str) -> dict[str, inspect.Parameter]:
  """Options of a schedule, which `config.schedule` may give, by name."""
  elastic.check_name(name, SCHEDULES, 'schedule')
  takes = inspect.signature(SCHEDULES[name]).parameters
  return {key: one for key, one in takes.items()
          if key not in ('lr', 'epoch', 'total')}


def quarters(lr, epoch, total, *, warmup_epochs, decay_epochs=(), decay=0.2):
  """Warm-up in three stairs and decay by epochs.

  The stairs stand at the quarters of (warmup_epochs + 1) epochs whatever
  warmup_epochs is, as in the released code; its comment says otherwise. The
  rate is multiplied by `decay` at the start of each of `decay_epochs`, counted
  from 1.

  Reference: BST, released code (OpenVQA's optimiser).
  """
  del total
  if warmup_epochs < 2:
    raise ValueError(
        f'schedule quarters with warmup_epochs={warmup_epochs} would climb to '
        f'3/{warmup_epochs + 1} of the base rate and fall back; give 2 or '
        'more, or use schedule multistep, which has no warm-up.')
  span = epoch * (warmup_epochs + 1)
  edges = jnp.asarray([int(span / 4), int(span / 2), int(3 * span / 4)])
  factors = jnp.asarray(
      [1 / (warmup_epochs + 1), 2 / (warmup_epochs + 1),
       3 / (warmup_epochs + 1), 1.0], jnp.float32)
  decayed = multistep(lr, epoch, None, decay_epochs=decay_epochs, decay=decay)
  return lambda step: factors[(step + 1 > edges).sum()] * decayed(step)


def multistep(lr, epoch, total, *, decay_epochs=(), decay=0.1,
              warmup_steps=0):
  """The base rate, times `decay` from the start of each of `decay_epochs` on.

  Epochs are counted from 1: decay_epochs=(3,) keeps the rate for two of them.
  The first `warmup_steps` rise to it, by equal parts.
  """
  del total
  # An epoch of the loader is whole batches, though the stairs of `quarters` use
  # a fraction.
  length = max(1, int(epoch))
  drops = jnp.asarray([(e - 1) * length for e in decay_epochs], jnp.int32)
  falling = lambda step: lr * decay ** (step >= drops).sum()
  if not warmup_steps:
    return falling
  return lambda step: falling(step) * jnp.minimum(1, (step + 1) / warmup_steps)


def cosine(lr, epoch, total, *, warmup=0.1, end=0.0):
  """Linear warm-up over a share of the steps, then half a cosine."""
  del epoch
  return optax.warmup_cosine_decay_schedule(
      0.0, lr, _rise(warmup, total), total, end * lr)


def linear(lr, epoch, total, *, warmup=0.1, warmup_steps=0):
  """Linear warm-up over a share of the steps, then linearly down to zero.

  `warmup_steps`, if given, counts instead of the share. Without either there is
  no warm-up: the first step has the whole rate.
  """
  del epoch
  if not warmup and not warmup_steps:
    return optax.linear_schedule(lr, 0.0, total)
  rise = min(warmup_steps, total - 1) or _rise(warmup, total)
  return optax.join_schedules(
      [optax.linear_schedule(0.0, lr, rise),
       optax.linear_schedule(lr, 0.0, total - rise)], [rise])


def _rise(warmup, total):
  """Steps of a warm-up: one at least, and a step at least is left behind it."""
  return min(max(1, int(warmup * total)), total - 1)


def constant(lr, epoch, total):
  """The base rate at every step."""
  del epoch, total
  return optax.constant_schedule(lr)


SCHEDULES = {'quarters': quarters, 'multistep': multistep, 'cosine': cosine,
             'linear': linear, 'constant': constant}
