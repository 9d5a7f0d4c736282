"""Submodels run over the batches of a split, all of them on each batch."""
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bst_jax.elastic import Submodel
from bst_jax.learn import sharding
from bst_jax.run import compiling
from bst_jax.run.experiment import Experiment
from bst_jax.scores import tokens as token_counts
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
import numpy as np

Batch = Mapping[str, np.ndarray]
Runner = Callable[[Any, Sequence[Submodel], Iterable[Batch]], Iterator[list]]


def make_runner(exp: Experiment, mesh: Any, read: Callable) -> Runner:
  """A function (params, subs, batches) that runs submodels side by side.

  For each batch it yields a list of what `read` makes of the submodels, in
  their order, on the host. A batch is read and placed once, and what the
  model's `shared` gives (a visual trunk) is computed once for it. Every
  submodel is cut out and run as the ordinary smaller model that it is; programs
  are compiled once and kept, whatever the parameters.

  Args:
    exp: the experiment.
    mesh: splits the batches.
    read: (outputs, batch, tokens) -> arrays, compiled once for all; tokens as
      of `token_counts.read`.
  """
  programs = _Programs(exp)
  # What is read of outputs is one program of all submodels, not a part of each.
  # Whole on every host: it can read no other's part.
  told = jax.jit(read, out_shardings=NamedSharding(mesh, PartitionSpec()))
  share = make_share(exp)

  def run(params, subs, batches):
    # Once, not with every program: loaded parameters may be the host's.
    params = jax.tree.map(jnp.asarray, params)
    for batch in batches:
      batch = sharding.place(batch, mesh)
      batch |= share(params, batch)
      # On the CPU a queue of hundreds of programs costs memory, no time.
      yield [jax.device_get(told(outputs, batch, tokens))
             for outputs, tokens in programs.run(params, subs, batch)]

  return run


class _Programs:
  """The compiled programs of submodels; several are compiled at a time.

  While threads compile, submodels whose programs are there run already.
  """

  def __init__(self, exp):
    self._exp, self._compiled = exp, {}

  def run(self, params, subs, batch):
    """Yields outputs and tokens of every submodel, in their order."""
    key = tuple((name, x.shape, x.dtype) for name, x in sorted(batch.items()))
    missing = [sub for sub in dict.fromkeys(subs)
               if (sub, key) not in self._compiled]
    with compiling.threads(len(missing)) as submit:
      # Traced here: what is set for this thread holds for no other.
      coming = {sub: submit(make_program(self._exp, sub).lower(
          params, batch).compile) for sub in missing}
      for sub in subs:
        if sub in coming:
          self._compiled[sub, key] = coming.pop(sub).result()
        yield self._compiled[sub, key](params, batch)


def make_program(exp: Experiment, sub: Submodel) -> Callable:
  """The jitted (params, batch with what is shared) -> (outputs, tokens).

  Tokens are as of `token_counts.read`.
  """
  small = exp.model.at(sub)

  def call(params, batch):
    # Cut within the program: copies of many submodels never lie side by side.
    params = exp.extract(params, sub)
    outputs, sown = small.apply({'params': params}, batch,
                                mutable=['intermediates'])
    if exp.task.decode is not None:
      outputs |= exp.task.decode(small, params, batch, exp.sizes)
    return outputs, token_counts.read(sown)

  return jax.jit(call)


def make_share(exp: Experiment) -> Callable:
  """The jitted (params, batch) -> what all submodels read alike."""
  if not hasattr(exp.model, 'shared'):
    return lambda params, batch: {}
  return jax.jit(lambda params, batch: exp.model.apply(
      {'params': params}, batch, method='shared'))
