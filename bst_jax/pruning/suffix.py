"""Runs a model from where a channel begins to count, with what came before.

A channel of a layer changes nothing in front of that layer. So what enters it
is computed once for all of its channels, and the compiler drops what made it.
The model itself is run: only calls of its modules are watched, and some are
handed other numbers, so that any backbone will do.
"""
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base
from bst_jax.pruning import gates as gates_lib
from bst_jax.pruning import watched
from bst_jax.pruning.watched import Handler, Path
from bst_jax.run.experiment import Experiment
from flax import linen as nn
import jax
import jax.numpy as jnp


def first_reached(exp: Experiment, name: str, calls: Iterable[Path]
                  ) -> Path | None:
  """The first module, in order of the calls, with a parameter of an index set.

  It is one that the model calls, or a layer of a stack.

  Args:
    exp: whose model it is.
    name: full axis name.
    calls: paths of its modules, as they are called.

  Returns:
    Its path, or None where a parameter of the model itself has the channels.
  """
  members = [tuple(path.split('/'))
             for path, _ in elastic.groups(exp.axes)[name]]
  stacks = set(exp.model.stacks)
  part = lambda member: member[:1 + (member[0] in stacks)]
  if any(part(member) == member for member in members):
    return None
  whose = set(map(part, members))
  return next((path for path in calls if path in whose), None)


class Suffix:
  """The rest of a model behind what enters the first module of an index set.

  Attributes:
    start: path of that module; None runs the model whole.
    summed: path of the linear layer that alone reads the channels, where they
      are hidden units: one less is then a sum without one term. Else None.
  """

  def __init__(self, exp: Experiment, name: str,
               modules: Mapping[Path, type] | None = None):
    """Of the index set with this full axis name.

    Args:
      exp: whose model it is.
      name: of the set.
      modules: of `watched.modules`, where they are known already.
    """
    calls = list(modules or watched.modules(exp))
    self.start = first_reached(exp, name, calls)
    self.summed, self._before = None, ()
    if self.start is None or base(name) != 'mlp':
      return
    readers = gates_lib.paths_of(exp.axes, name)
    owner = tuple(name.partition('@')[2].split('/'))
    if len(readers) == 1 and owner[:-1] == self.start:
      self.summed = tuple(readers[0].split('/')[:-1])
      # What the layer calls itself before that part.
      self._before = tuple(
          path for path in calls[:calls.index(owner)]
          if path[:-1] == self.start)

  def kept(self, run: Callable[[], Any]) -> dict[str, Any]:
    """What a run of the whole model leaves for those of the rest."""
    found: dict[str, Any] = {}

    def enters(run, args, options):
      found['input'] = args[0]
      return run(*args, **options)

    def leaves(key):
      def handler(run, args, options):
        found[key] = run(*args, **options)
        return found[key]
      return handler

    def summed(run, args, options):
      found['hidden'] = args[0]
      found['sum'] = run(*args, **options)
      return found['sum']

    handlers = {path: leaves('/'.join(path)) for path in self._before}
    if self.start is not None:
      handlers[self.start] = enters
    if self.summed is not None:
      handlers[self.summed] = summed
    with watched.handed(handlers):
      run()
    return found

  def rest(self, run: Callable[[], Any], kept: Mapping[str, Any],
           kernel: jax.Array | None = None, j: jax.Array | None = None,
           more: Mapping[Path, Handler] | None = None) -> Any:
    """What `run` returns, with what was kept in place of what made it.

    Args:
      run: of the whole model, by its parameters without a channel.
      kept: of `kept`.
      kernel: float[n, d], the weights of the layer `summed`.
      j: int32[], the hidden unit that is removed there.
      more: other calls that are handed over.
    """
    handlers = dict(more or {})
    if 'input' in kept:
      handlers[self.start] = lambda run, args, options: run(
          kept['input'], *args[1:], **options)
    for path in self._before:
      handlers[path] = lambda run, args, options, path=path: kept[
          '/'.join(path)]
    if self.summed is not None and j is not None:
      unit = jnp.take(kept['hidden'], j, -1)[..., None]
      handlers[self.summed] = lambda run, args, options: kept['sum'] - (
          unit * jnp.take(kernel, j, 0)).astype(kept['sum'].dtype)
    with watched.handed(handlers):
      return run()


def answers_alone(model: nn.Module) -> dict[Path, Handler]:
  """The last layer for the tokens that the answer reads, and zeros elsewhere.

  Empty for models that read all of them.

  Args:
    model: a backbone; those whose answers read some tokens in front alone tell
      how many by `answer_tokens`.
  """
  count = getattr(model, 'answer_tokens', 0)
  if not count:
    return {}
  (name, order), = model.stacks.items()
  layer = name, f'layer_{order.num_layers - 1}'

  def padded(rows, total):
    return jnp.pad(rows, ((0, 0), (0, total - rows.shape[1]), (0, 0)))

  def attention(run, args, options):
    x, = args
    return padded(run(x[:, :count], x, **options), x.shape[1])

  def ffn(run, args, options):
    x, = args
    return padded(run(x[:, :count], **options), x.shape[1])

  return {(*layer, 'attention'): attention, (*layer, 'ffn'): ffn}
