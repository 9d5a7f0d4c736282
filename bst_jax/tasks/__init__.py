"""Tasks: what a model's outputs mean, one file each, found by name.

A model returns a dict of named outputs, and only its task looks inside: how
labels and teachers become a loss, what is measured, what people are told. A name
with a dot in it, as `my_package.my_task`, is a module of a user's own.
"""
from collections.abc import Callable, Mapping, Sequence
import inspect
from types import MappingProxyType
from typing import Any, NamedTuple

from bst_jax import scores
from bst_jax.elastic import by_name, check_name
from bst_jax.scores import Measure
from bst_jax.tasks import losses
import jax
import jax.numpy as jnp
import numpy as np

Arrays = Mapping[str, jax.Array]
# What a batch's key begins with that has shares of a term's divisor.
_SHARE = 'share of '


class Rows(NamedTuple):
  """One term of a loss before it is one number.

  Attributes:
    loss: float[n], of each row.
    weight: float[n], 0 where a row is padding.
    classes: summed in each row, by which some reductions divide.
    right: float[n], what the target of each row sums to, by which one reduction
      divides; None where targets are no scores.
  """

  loss: jax.Array
  weight: jax.Array
  classes: int = 1
  right: jax.Array | None = None


class Program(NamedTuple):
  """A part of a model that is a file of its own where the model is exported.

  Attributes:
    run: {name: array} -> an array, or {name: array}.
    inputs: what it reads of one row: {name: array}. First axes count rows; what
      has no axis is the same for all of them.
    times: that it runs for a row at most.
  """

  run: Callable[[Arrays], Any]
  inputs: Mapping[str, Any]
  times: int = 1


class Files(NamedTuple):
  """What a model is where it is exported: programs, and how they are used.

  `calls` are the programs as they run from files: {name: {name: array} ->
  arrays}.

  Attributes:
    programs: {name: `Program`}; the first reads what a batch of data has.
    outputs: (calls, batch) -> outputs by name, for the measure.
    wanted: batch -> what the model itself gives, for `compare`.
    compare: (calls, batch, wanted) -> {name: number}, none of which may be far
      from 0; `difference`, a share of the greatest logit, first.
    of: 'row' or 'picture': what a batch of the programs has one of.
    beside: {name: text} of files that people run the programs with.
    note: what people should know of them, for the card.
  """

  programs: Mapping[str, Program]
  outputs: Callable[[Mapping[str, Callable], Arrays], Arrays]
  wanted: Callable[[Arrays], Any]
  compare: Callable[[Mapping[str, Callable], Arrays, Any], dict[str, float]]
  of: str = 'row'
  beside: Mapping[str, str] = MappingProxyType({})
  note: str = ''


class Task(NamedTuple):
  """What a model's outputs mean.

  Attributes:
    form: name of the form of data that has its labels, see `data.forms`.
    outputs: names of the outputs that it reads, the main one first.
    loss: (outputs, batch, key) -> {term: `Rows`}, from the batch's labels.
    terms: {term: (scale, name in `losses.REDUCTIONS`)}.
    soften: outputs -> what a teacher hands on to its students.
    student: (outputs, soft, batch) -> {term: `Rows`}; None where a task has
      nothing that a teacher could hand on.
    measure: what evaluation tells, see `scores`.
    tell: (outputs, answers) -> for each row [(text, probability), …], the most
      probable first.
    card: what the main output is, for people who run an exported file.
    row: what a row of a batch is called there, and `told` what is told of it.
    pictures: of a row of a batch.
    decode: (model, params, batch, sizes of the data) -> more outputs, which a
      model gives word by word: texts. Evaluation makes them beside the others;
      None where there are none.
    decoded: name of the one that measures read in place of the main output.
    exclusive: one answer alone is right, so that probabilities are a softmax of
      the main output; else each may be, and they are sigmoids.
    exported: outputs that exported files give by their names; () for the main
      one alone, as `logits`.
    files: (experiment, model, params, vocabulary of texts or None) -> `Files`
      that a model is exported as; None for one that gives `exported`.
    rivals: whether a loss compares texts of one picture with one another.
    weights: batch -> {term: [n]}, what each row of a term adds to what its mean
      divides by, from labels alone; None where labels alone do not tell, so
      that each part of a batch divides by its own.
  """

  form: str
  outputs: tuple[str, ...]
  loss: Callable[[Arrays, Arrays, jax.Array | None], dict[str, Rows]]
  terms: Mapping[str, tuple[float, str]]
  soften: Callable[[Arrays], Any]
  student: Callable[[Arrays, Any, Arrays], dict[str, Rows]] | None
  measure: Measure
  tell: Callable[[Arrays, Any], list[list[tuple[str, float]]]]
  card: str
  row: str = 'question'
  told: str = 'answers'
  pictures: int = 1
  exclusive: bool = True
  exported: tuple[str, ...] = ()
  decode: Callable[[Any, Any, Arrays, Mapping[str, Any]], Arrays] | None = None
  decoded: str = ''
  files: Callable[[Any, Any, Any, Any], Files] | None = None
  rivals: bool = False
  weights: Callable[[Arrays], dict[str, jax.Array]] | None = None

  @property
  def mean(self) -> bool:
    """Whether losses are means over rows, and so are averaged over parts."""
    return any(how != 'sum' for _, how in self.terms.values())


# Short names of tasks with the settings that a benchmark is known by.
NAMED = {
    'vqa': dict(name='answers', loss='yes_or_no'),
    'gqa': dict(name='answers', loss='one_of_many'),
    'classify': dict(name='classes'),
}


def create(config: Mapping[str, Any]) -> Task:
  """The task of `{'name': …, …}`; further keys are options of its module.

  `measure`, an option of all, names another measure than the task's own, see
  `scores.create`.

  Raises:
    ValueError: no such task, option, reduction or measure.
  """
  if not hasattr(config, 'items') or not isinstance(config.get('name'), str):
    raise ValueError(f'config.task is {config!r}; it must be a dict with the '
                     "name of a task, as dict(name='vqa').")
  options = dict(config)
  asked, measure = options.pop('name'), options.pop('measure', None)
  options = NAMED.get(asked, {'name': asked}) | options
  make = by_name(options.pop('name'), __name__, 'task', 'make',
                 leave=('losses',), also=NAMED).make
  known = inspect.signature(make).parameters
  for option in options:
    check_name(option, known, f'option of task {asked}')
  if 'reduction' in options:
    check_name(options['reduction'], losses.REDUCTIONS, 'reduction')
  task = make(**options)
  return task if measure is None else task._replace(
      measure=scores.create(measure, task.decoded or task.outputs[0]))


def arguments(name: str) -> dict[str, inspect.Parameter]:
  """Options of a task, which `config.task` may give, by name."""
  make = by_name(NAMED.get(name, {'name': name})['name'], __name__, 'task',
                 'make', leave=('losses',), also=NAMED).make
  return dict(inspect.signature(make).parameters) | {
      'measure': inspect.Parameter('measure', inspect.Parameter.KEYWORD_ONLY)}


def hard(task: Task, outputs: Arrays, batch: Arrays,
         key: jax.Array | None = None) -> jax.Array:
  """float[], the loss of outputs from the labels of a batch.

  Args:
    task: says how.
    outputs: of the model.
    batch: labels, and `mask` bool[B], false for padding.
    key: of what a loss draws, if it draws.
  """
  return _total(task, task.loss(outputs, batch, key), batch)


def taught(task: Task, outputs: Arrays, soft: Any, batch: Arrays) -> jax.Array:
  """float[], the loss of a student's outputs from what `soften` gave."""
  # What a teacher's answers sum to, only a part that has them can tell.
  return _total(task, task.student(outputs, soft, batch), batch,
                but=(losses.BY_TARGETS,))


def mixed(task: Task, outputs: Arrays, soft: Any, batch: Arrays,
          key: jax.Array | None = None, hard_weight: float = 0.0,
          soft_weight: float = 1.0) -> jax.Array:
  """float[], the loss from a teacher, from labels, or from both.

  Args:
    task: says how.
    outputs: of the model that learns.
    soft: what a teacher handed on; None: the labels count, and they alone.
    batch, key: as of `hard`.
    hard_weight, soft_weight: of the labels and of the teacher.
  """
  if soft is None:
    return hard(task, outputs, batch, key)
  loss = taught(task, outputs, soft, batch)
  loss = loss if soft_weight == 1.0 else soft_weight * loss
  return loss + hard_weight * hard(task, outputs, batch, key) if (
      hard_weight) else loss


def shared_out(task: Task, batch: Arrays) -> Arrays:
  """A batch with what means divide by, of which each picture has an equal share.

  However many words, texts or questions count in a part of it, on a device or
  one after the other, the mean of the parts' losses then is the loss of the
  whole.

  Args:
    task: says what counts.
    batch: labels, and `mask`; the whole of it.
  """
  if task.weights is None:
    return batch
  weights = task.weights(batch)
  pictures = min(x.shape[0] for x in batch.values())
  share = lambda weight: jnp.full(pictures, jnp.maximum(
      weight.astype(jnp.float32).sum(), 1) / pictures)
  return batch | {_SHARE + term: share(weights[term]) for term in task.terms}


def _total(task, terms, batch, but=()):
  total = 0.0
  for name, rows in terms.items():
    scale, how = task.terms[name]
    share = None if how in but else batch.get(_SHARE + name)
    total += scale * losses.reduce(
        rows.loss, rows.weight, rows.classes, how, rows.right,
        None if share is None else share.sum())
  return total


def summed(task: Task, outputs: Arrays, batch: Arrays,
           ) -> tuple[jax.Array, jax.Array]:
  """float[] sums of losses and of weights, which evaluation divides."""
  terms = task.loss(outputs, batch, None)
  scaled = [(task.terms[name][0] * rows.loss * rows.weight).sum()
            for name, rows in terms.items()]
  return sum(scaled), next(iter(terms.values())).weight.sum()


def ranked(probabilities: Any, names: Sequence[str],
           ) -> list[list[tuple[str, float]]]:
  """(name, probability) of each row of float[B, A], the most probable first."""
  return [[(names[i], float(row[i])) for i in row.argsort()[::-1]]
          for row in np.asarray(probabilities)]
