"""Optimisers from configs: one for all parameters, or parts with their own."""
from collections.abc import Collection, Iterable, Mapping
import functools
import inspect
from typing import Any, NamedTuple

from bst_jax import elastic
from bst_jax.learn import paths as paths_lib
from bst_jax.learn import schedules, statistics
import jax
import optax

# Label of what no part claims; no parameter is called so.
REST = '(rest)'
_WHAT = 'path of parameters (config.optimizer.parts)'


class Optimizer(NamedTuple):
  """An optax transformation that knows which parameters are not trained.

  Both functions take the whole tree, or one that lacks what is not trained, and
  pass over that: updates and memory are of what is trained alone.

  Attributes:
    init: params -> optimiser state.
    update: (grads, optimiser state, params) -> (updates, optimiser state).
    frozen: paths of the parameters that stay as they are. No gradient is
      taken of them (`state.trained`).
    ema: decay of the running mean of what is trained; 0: none is kept.
  """

  init: optax.TransformInitFn
  update: optax.TransformUpdateFn
  frozen: Collection[str] = frozenset()
  ema: float = 0.0


def create(config: Mapping[str, Any], schedule: Mapping[str, Any], shapes: Any,
           epoch: float, total: int, frozen: Iterable[str] = (),
           ema: float | None = None) -> Optimizer:
  """The optimiser of `{'name': …, 'lr': …, 'clip': …, 'parts': …, …}`.

  It owns all parameters but batch statistics, see `state.trained`. Weight decay
  spares biases and gains.

  Args:
    config: `name` of an optimiser, `lr` = its base rate, `clip` = largest norm
      of the gradients of all that is trained (0 = none) and `parts`; the rest
      goes to the optimiser. `parts` is {glob over parameter paths: options},
      see `paths`, as {'head': {'lr_scale': 10.0}, '**/ffn': {'frozen': True}};
      of several the one with most characters that are no wildcard holds.
      `lr_scale` multiplies the rate; other options, as `weight_decay`, replace
      the config's, and with a `name` they are all that the part's optimiser
      gets; `lr` and `schedule` of its own make its rate; `decay_gains=True`
      decays vectors that are no biases, too; `frozen=True` leaves the part as
      it is: without decay, memory or gradients.
    schedule: of the learning rate, see `schedules.create`.
    shapes: nested dict of the parameters or their shapes.
    epoch: steps in an epoch.
    total: steps of the whole training.
    frozen: more globs to freeze, whatever `parts` says.
    ema: decay of a running mean of the parameters, below 1; None or 0: none.

  Raises:
    ValueError: an unknown optimiser or option, a glob without parameters, or
      nothing left to train.
  """
  whole = dict(config)
  clip, parts = whole.pop('clip', 0), dict(whole.pop('parts', {}))
  paths, frozen = list(elastic.flatten(shapes)), tuple(frozen)
  check(config, schedule, epoch, total)
  if not 0 <= (ema or 0) < 1:
    raise ValueError(f'config.ema is {ema}, the share of the running mean that '
                     'a step keeps; give less than 1, as 0.999, or 0 for none.')
  paths_lib.check((*parts, *frozen), paths, _WHAT)
  label_of = {path: _label(path, parts) for path in paths}
  still = paths_lib.named_by(frozen, paths) | {
      path for path, label in label_of.items()
      if parts.get(label, {}).get('frozen')}
  apart = still | statistics.paths_of(shapes)
  used = {label_of[path] for path in paths if path not in apart}
  if not used:
    raise ValueError('config.optimizer.parts and the model freeze every '
                     'parameter; leave one of them to train.')

  txs = {label: _create(whole, dict(parts.get(label, {})), schedule, epoch,
                        total) for label in sorted(used)}
  labels = jax.tree.unflatten(jax.tree.structure(shapes),
                              list(label_of.values()))
  # Without parts the state is that of the one optimiser alone.
  tx = txs[REST] if used == {REST} else optax.partition(
      txs, paths_lib.split(labels, apart)[0])
  if clip:
    tx = optax.chain(optax.clip_by_global_norm(clip), tx)
  return _of_trained(tx, frozenset(still), apart, ema or 0.0)


def check(config: Mapping[str, Any], schedule: Mapping[str, Any],
          epoch: float = 1.0, total: int = 1) -> None:
  """Raises a ValueError for all that is wrong whatever the parameters are."""
  whole = dict(config)
  parts = dict(whole.pop('parts', {}))
  whole.pop('clip', None)
  _create(whole, {}, schedule, epoch, total)
  for part, own in parts.items():
    if not hasattr(own, 'keys'):  # A ConfigDict is no Mapping.
      raise ValueError(f'config.optimizer.parts[{part!r}] is {own!r}; wanted '
                       "is a dict of options, as {'lr_scale': 10.0}.")
    _create(whole, dict(own), schedule, epoch, total)


def _of_trained(tx, frozen, apart, ema):
  """The transformation of trees that may still hold what is not trained."""
  if not apart:
    return Optimizer(tx.init, tx.update, ema=ema)
  trained = lambda tree: None if tree is None else (
      paths_lib.split(tree, apart)[0])
  return Optimizer(
      lambda params: tx.init(trained(params)),
      lambda grads, opt_state, params=None: tx.update(
          trained(grads), opt_state, trained(params)), frozen, ema)


def _label(path, parts):
  """The glob of the part that a parameter belongs to."""
  return paths_lib.closest(parts, path, 'config.optimizer.parts') or REST


def sgd(learning_rate, *, momentum=0.0, nesterov=False, weight_decay=0.0,
        mask=None):
  """Stochastic gradient descent as torch has it: decay joins the gradient."""
  plain = optax.sgd(learning_rate, momentum or None, nesterov)
  if not weight_decay:
    return plain
  return optax.chain(optax.add_decayed_weights(weight_decay, mask), plain)


OPTIMIZERS = {'adam': optax.adam, 'adamw': optax.adamw, 'sgd': sgd}
_OWN = ('decay_gains', 'frozen', 'lr', 'lr_scale', 'name', 'schedule')


def arguments(name: str) -> dict[str, inspect.Parameter]:
  """Options of an optimiser itself, its rate apart, by name."""
  elastic.check_name(name, OPTIMIZERS, 'optimiser')
  takes = inspect.signature(OPTIMIZERS[name]).parameters
  return {key: one for key, one in takes.items()
          if key not in ('learning_rate', 'mask')}


def _create(whole, own, schedule, epoch, total):
  """The optimiser of a part whose options are `own`."""
  options = own if 'name' in own else whole | own
  name = options['name']
  known = arguments(name).keys()
  for option in options:
    elastic.check_name(
        option, known | set(_OWN if option in own else ('lr', 'name')),
        f'option of optimiser {name}')
  rate = schedules.create(
      own.get('schedule', schedule),
      own.get('lr', whole['lr']) * own.get('lr_scale', 1.0), epoch, total)
  given = {key: options[key] for key in known & options.keys()}
  if 'mask' in inspect.signature(OPTIMIZERS[name]).parameters:
    # Always: an optimiser may decay by itself, as optax.adamw does.
    given['mask'] = functools.partial(
        _decays, gains=bool(own.get('decay_gains')))
  return OPTIMIZERS[name](rate, **given)


def _decays(params, gains=False):
  """What weight decay moves: not vectors, nor the [heads, channels] of biases.

  With `gains`, vectors that are no biases too, as released codes that name what
  is spared move those that they forgot.
  """
  return jax.tree_util.tree_map_with_path(
      lambda path, p: (gains or p.ndim > 1) and not any(
          getattr(key, 'key', '') == 'bias' for key in path), params)
