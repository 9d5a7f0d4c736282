"""Optimisers from configs: one for all parameters, or parts with their own."""
from collections.abc import Iterable, Mapping
import inspect
from typing import Any

from bst_jax import elastic
from bst_jax.learn import schedules, statistics
import jax
import optax

# Labels of what no part claims and of what stays; no parameter is called so.
REST, FROZEN = '(rest)', '(frozen)'


def create(config: Mapping[str, Any], schedule: Mapping[str, Any], shapes: Any,
           epoch: float, total: int,
           frozen: Iterable[str] = ()) -> optax.GradientTransformation:
  """An optax optimiser from `{'name': …, 'lr': …, 'clip': …, 'parts': …, …}`.

  It owns all parameters but batch statistics, see `statistics.without`, and is
  to be initialised and updated with these; `state.start` and `update` do so.
  Weight decay spares biases and gains.

  Args:
    config: `name` of an optimiser, `lr` = its base rate, `clip` = largest norm
      of the gradients of all that is trained (0 = none) and `parts`; the rest
      goes to the optimiser. `parts` is {prefix of parameter paths: options},
      as {'head': {'lr_scale': 10.0}}; of several prefixes the longest holds.
      `lr_scale` multiplies the rate; other options replace the config's, and
      with a `name` they are all that the part's optimiser gets; `lr` and
      `schedule` of its own make its rate; `frozen=True` leaves the part as it
      is, without decay and without memory for it.
    schedule: of the learning rate, see `schedules.create`.
    shapes: nested dict of the parameters or their shapes.
    epoch: steps in an epoch.
    total: steps of the whole training.
    frozen: more prefixes to freeze, whatever `parts` says.

  Raises:
    ValueError: an unknown optimiser or option, a prefix without parameters, or
      nothing left to train.
  """
  whole = dict(config)
  clip, parts = whole.pop('clip', 0), dict(whole.pop('parts', {}))
  shapes = statistics.without(shapes)
  paths, frozen = list(elastic.flatten(shapes)), tuple(frozen)
  for part in (*parts, *frozen):
    _check_part(part, paths, parts.get(part, {}))
  txs = {FROZEN: optax.set_to_zero()} | {
      part: _create(whole, dict(own), schedule, epoch, total)
      for part, own in ({REST: {}} | parts).items()}

  def label(path):
    inside = lambda part: f'{path}/'.startswith(f'{part}/')
    if any(map(inside, frozen)):
      return FROZEN
    part = max(filter(inside, parts), key=len, default=REST)
    return FROZEN if parts.get(part, {}).get('frozen') else part

  labels = jax.tree.unflatten(
      jax.tree.structure(shapes), [label(path) for path in paths])
  used = set(jax.tree.leaves(labels))
  if used == {FROZEN}:
    raise ValueError('config.optimizer.parts and the model freeze every '
                     'parameter; leave one of them to train.')
  # Without parts the state is that of the one optimiser alone.
  tx = txs[REST] if used == {REST} else optax.partition(
      {part: txs[part] for part in sorted(used)}, labels)
  if not clip:
    return tx
  clipping = optax.clip_by_global_norm(clip)
  if FROZEN in used:  # Their gradients are no part of the norm.
    clipping = optax.masked(
        clipping, jax.tree.map(lambda part: part != FROZEN, labels))
  return optax.chain(clipping, tx)


def sgd(learning_rate, *, momentum=0.0, nesterov=False, weight_decay=0.0,
        mask=None):
  """Stochastic gradient descent as torch has it: decay joins the gradient."""
  plain = optax.sgd(learning_rate, momentum or None, nesterov)
  if not weight_decay:
    return plain
  return optax.chain(optax.add_decayed_weights(weight_decay, mask), plain)


OPTIMIZERS = {'adam': optax.adam, 'adamw': optax.adamw, 'sgd': sgd}
_OWN = ('frozen', 'lr', 'lr_scale', 'name', 'schedule')


def _create(whole, own, schedule, epoch, total):
  """The optimiser of a part whose options are `own`."""
  options = own if 'name' in own else whole | own
  name = options['name']
  elastic.check_name(name, OPTIMIZERS, 'optimiser')
  takes = inspect.signature(OPTIMIZERS[name]).parameters.keys()
  known = takes - {'learning_rate', 'mask'}
  for option in options:
    elastic.check_name(
        option, known.union(_OWN if option in own else ('lr', 'name')),
        f'option of optimiser {name}')
  rate = schedules.create(
      own.get('schedule', schedule),
      own.get('lr', whole['lr']) * own.get('lr_scale', 1.0), epoch, total)
  given = {key: options[key] for key in known & options.keys()}
  if 'mask' in takes:
    # Always: an optimiser may decay by itself, as optax.adamw does.
    given['mask'] = _decays
  return OPTIMIZERS[name](rate, **given)


def _decays(params):
  """What weight decay moves: not vectors, nor the [heads, channels] of biases.
  """
  return jax.tree_util.tree_map_with_path(
      lambda path, p: p.ndim > 1 and not any(
          getattr(key, 'key', '') == 'bias' for key in path), params)


def _check_part(part, paths, own):
  """Raises a ValueError where a part is unknown, or its options are no dict."""
  known = {'/'.join(path.split('/')[:part.count('/') + 1]) for path in paths}
  parent = part.rpartition('/')[0]
  beside = {path for path in known if path.rpartition('/')[0] == parent}
  elastic.check_name(part, beside or known,
                     'path of parameters (config.optimizer.parts)')
  if not hasattr(own, 'keys'):  # A ConfigDict is no Mapping.
    raise ValueError(f'config.optimizer.parts[{part!r}] is {own!r}; wanted is '
                     "a dict of options, as {'lr_scale': 10.0}.")
