"""Whether a model fits into the memory that there is, before it is made."""
import math
from typing import Any

from bst_jax import elastic
from bst_jax.host import memory
from bst_jax.run.program import Program
import jax

_REMEDY = ('Choose a smaller model, as by config.model.width, or more devices '
           "that split it (config.mesh.fsdp with config.rules='fsdp').")


def check(made: Program) -> None:
  """Raises where the state of a training cannot fit into this host's devices.

  The least that it takes: what is trained, what the optimiser and the method
  keep of it, and what is frozen.

  Raises:
    ValueError: it cannot.
  """
  leaves = zip(jax.tree.leaves(elastic.unbox(made.abstract)),
               jax.tree.leaves(made.where), strict=True)
  share = sum(math.prod(where.shard_shape(leaf.shape)) * leaf.dtype.itemsize
              for leaf, where in leaves)
  local = jax.local_devices()
  if local[0].platform == 'cpu':  # They have the memory of one machine.
    needed, there = share * len(local), memory.of_machine()
  else:
    about = local[0].memory_stats() or {}
    needed, there = share, about.get('bytes_limit')
  memory.check(needed, there, 'The parameters of this model, with what the '
               'optimiser keeps of each,', _REMEDY)


def check_params(exp: Any) -> None:
  """Raises where the parameters of an experiment cannot fit into the memory."""
  memory.check(4 * elastic.size(exp.shapes), memory.of_machine(),
               'The parameters of this model', 'Choose a smaller model.')
