"""Shapes and placements of what programs take, for compiling without data."""
from collections.abc import Mapping
from typing import Any

from bst_jax import elastic
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


def batch(exp: Experiment, examples: int, questions: int = 1,
          training: bool = True) -> dict[str, jax.ShapeDtypeStruct]:
  """Shapes of a batch: inputs and labels.

  Args:
    exp: the experiment.
    examples: questions, or pictures or videos that have classes.
    questions: of each picture.
    training: else as evaluation has it.
  """
  data = exp.config.data
  asked = 'max_tokens' in exp.sizes
  shape = lambda x, rows: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype)
  pictures = examples // questions
  if not training:  # All clips of a video stand together.
    pictures *= data.get('views', 1) * data.get('crops', 1)
  rows = {'tokens': examples}
  found = {name: shape(x, rows.get(name, pictures))
           for name, x in experiment.example(exp.sizes).items()}
  label = lambda *axes, dtype=jnp.int32: jax.ShapeDtypeStruct(
      (examples, *axes), dtype)
  answers = exp.sizes['num_answers']
  if asked:
    scores = label(answers, dtype=jnp.float32)
    found |= {'target': scores, 'score': scores, 'type': label()}
  elif training and _shares(data):
    found['label'] = label(answers, dtype=jnp.float32)
  else:
    found['label'] = label()
  return found | {'mask': label(dtype=jnp.bool_)}


def _shares(data):
  """Whether training's labels are shares of the classes."""
  recipe = data.get('augment') or {}
  return any(recipe.get(name) for name in ('mixup', 'cutmix', 'smoothing'))


def placed(tree: Any, where: Any) -> Any:
  """Shapes with their shardings."""
  return jax.tree.map(lambda s, w: jax.ShapeDtypeStruct(
      s.shape, s.dtype, sharding=w), tree, where)


def split(batch: Batch, mesh: Mesh) -> Batch:
  """A batch's shapes, placed as `sharding.place` does."""
  where = NamedSharding(mesh, PartitionSpec(tuple(mesh.axis_names)))
  return placed(batch, {name: where for name in batch})


def arguments(job: Program, batch: Batch, mesh: Mesh) -> tuple[Any, Any, Any]:
  """What `job.step` takes: the state without frozen, frozen, and the batch."""
  now = placed(elastic.unbox(job.abstract), job.where)
  return now.replace(frozen=None), now.frozen, split(batch, mesh)


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
