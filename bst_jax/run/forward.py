"""Submodels run over the batches of a split, all of them on each batch."""
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import functools
from typing import Any

from bst_jax.elastic import Submodel
from bst_jax.learn import sharding
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
    read: (outputs, batch, tokens) -> arrays, compiled with the model; tokens as of `token_counts.read`.
  """
  program = functools.cache(lambda sub: make_program(exp, sub, mesh, read))
  share = make_share(exp)

  def run(params, subs, batches):
    programs = [program(sub) for sub in subs]
    # Once, not with every program: loaded parameters may be the host's.
    params = jax.tree.map(jnp.asarray, params)
    for batch in batches:
      batch = sharding.place(batch, mesh)
      batch |= share(params, batch)
      # On the CPU a queue of hundreds of programs costs memory, no time.
      yield [jax.device_get(call(params, batch)) for call in programs]

  return run


def make_program(exp: Experiment, sub: Submodel, mesh: Any,
                 read: Callable) -> Callable:
  """The jitted (params, batch with what is shared) -> what `read` makes of it.
  """
  small = exp.model.at(sub)

  def call(params, batch):
    # Cut within the program: copies of many submodels never lie side by side.
    params = exp.extract(params, sub)
    outputs, sown = small.apply({'params': params}, batch,
                                mutable=['intermediates'])
    return read(outputs, batch, token_counts.read(sown))

  # Whole on every host: it can read no other's part.
  return jax.jit(call, out_shardings=NamedSharding(mesh, PartitionSpec()))


def make_share(exp: Experiment) -> Callable:
  """The jitted (params, batch) -> what all submodels read alike."""
  if not hasattr(exp.model, 'shared'):
    return lambda params, batch: {}
  return jax.jit(lambda params, batch: exp.model.apply(
      {'params': params}, batch, method='shared'))
