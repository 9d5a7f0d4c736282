"""Shapes and placements of what programs take, for compiling without data."""
from collections.abc import Mapping
from typing import Any

from bst_jax import elastic
from bst_jax.data import forms, kinds
from bst_jax.run import experiment
from bst_jax.run.experiment import Experiment
from bst_jax.run.program import Program
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import ml_collections

Batch = Mapping[str, jax.ShapeDtypeStruct]


def sizes(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Sizes of the data as training reads them, without the data if config knows.

  `config.data.sizes` are those that costs are told for; training may read
  longer questions or other regions, as `config.data` itself says.
  """
  found = experiment.sizes_of(config)
  for name in ('max_tokens', 'num_regions'):
    if name in found and config.data.get(name):
      found[name] = config.data[name]
  return found


def form(data: Mapping[str, Any],
         sizes: Mapping[str, Any]) -> tuple[forms.Form, Any]:
  """What a row of a `config.data` is, and its options, without the data."""
  name = forms.of_config(data, sizes)
  found = forms.create(name, ('video',) if 'clip_size' in sizes else ())
  return found, found.options.of(dict(data), found.what)


def batch(exp: Experiment, examples: int,
          training: bool = True) -> dict[str, jax.ShapeDtypeStruct]:
  """Shapes of a batch: inputs and labels.

  Args:
    exp: the experiment.
    examples: rows: questions, statements, or pictures that have classes.
    training: else as evaluation has it.
  """
  found, options = form(exp.config.data, exp.sizes)
  together = options.per_group[0 if training else 1]
  # Drawn pictures, or clips of a video, stand together.
  beside = options.shown if training else options.clips
  pictures = examples // together * found.pictures * beside
  rows = {'row': examples, 'picture': pictures}
  shape = lambda x, count: jax.ShapeDtypeStruct((count, *x.shape), x.dtype)
  inputs = {name: shape(kind.row(exp.sizes), rows[kind.of])
            for name, kind in kinds.KINDS.items() if kind.size in exp.sizes}
  labels = found.types(exp.sizes, options, training)
  return inputs | {name: shape(label, examples)
                   for name, label in labels.items()} | {
                       'mask': jax.ShapeDtypeStruct((examples,), jnp.bool_)}


def placed(tree: Any, where: Any) -> Any:
  """Shapes with their shardings."""
  return jax.tree.map(lambda s, w: jax.ShapeDtypeStruct(
      s.shape, s.dtype, sharding=w), tree, where)


def split(batch: Batch, mesh: Mesh) -> Batch:
  """A batch's shapes, placed as `sharding.place` does."""
  where = NamedSharding(mesh, PartitionSpec(tuple(mesh.axis_names)))
  return placed(batch, {name: where for name in batch})


def arguments(job: Program, batch: Batch, mesh: Mesh) -> tuple[Any, Any, Any]:
  """What `job.step` takes: the state without frozen, frozen, and the batches.
  """
  state = placed(elastic.unbox(job.abstract), job.where)
  batches = {stream: split(batch, mesh) for stream in job.method.streams}
  return state.replace(frozen=None), state.frozen, batches


def bytes_on_chip(tree: Any) -> int:
  """Bytes that a device holds of placed shapes."""
  total = 0
  for leaf in jax.tree.leaves(tree):
    part = jax.ShapeDtypeStruct(leaf.sharding.shard_shape(leaf.shape),
                                leaf.dtype)
    if jnp.issubdtype(part.dtype, jax.dtypes.prng_key):
      part = jax.eval_shape(jax.random.key_data, part)
    total += part.size * part.dtype.itemsize
  return total
