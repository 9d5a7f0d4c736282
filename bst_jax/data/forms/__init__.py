"""Forms: what a row of a data set is, one file each, found by name.

A record of a data set is a picture and everything that is known of it. A form
says which rows a model learns from: the questions of a picture, its class, the
statements that compare it with another one. Each file has a function
`form(features)` that returns its `Form`. A name with a dot in it, as
`my_package.my_form`, is a module of a user's own.
"""
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
import inspect
from typing import Any, NamedTuple, Protocol

from bst_jax.data.facts import Facts
from bst_jax.data.kinds import Kind
from bst_jax.data.options import Options
from bst_jax.data.vocabularies import Vocabularies
from bst_jax.elastic import by_name, own_names
import numpy as np

Arrays = dict[str, np.ndarray]


class Rows(Protocol):
  """Rows of a split, as they were read or as numbers.

  Rows stand in groups: those of a picture, or of two pictures a single row.

  Attributes:
    start: int64[G + 1]; group g has the rows start[g] to start[g + 1] - 1.
    pictures: int64[G, 2], the pictures of each group; None: group g is picture
      g.
  """

  start: np.ndarray
  pictures: np.ndarray | None


class Place(NamedTuple):
  """Which rows a batch has.

  Attributes:
    groups: int[P], negative for padding.
    rows: int[P, Q], rows of each group.
    mask: bool[P, Q], false for padding.
    training: whether the batch is one of training.
    draws: for each group a seed of what training draws; None where there is
      nothing to draw for, as in evaluation.
  """

  groups: np.ndarray
  rows: np.ndarray
  mask: np.ndarray
  training: bool = False
  draws: list[tuple[int, ...]] | None = None


class Context(NamedTuple):
  """What a form may ask of its data set.

  Attributes:
    options: of config.data.
    features: of the records, with their names of classes.
    facts: what the data set says of itself.
    rows: name of a split -> its rows as read.
    rule: how answers compare, a name in `answers.RULES`.
    texts: (name of a split, names of forms) -> the texts of their rows.
  """

  options: Any
  features: Mapping[str, Any] = {}
  facts: Facts = Facts()
  rows: Callable[[str], Any] | None = None
  rule: str = 'exact'
  texts: Callable[[str, Sequence[str]], list[str]] | None = None


class Form(NamedTuple):
  """What a row of a data set is.

  Attributes:
    what: rows in the plural, for errors.
    unit: what is counted, for tables.
    floor: what `prior` is, for tables.
    parts: features of the records that rows are read from, the main one first.
    options: class of its config.data.
    kinds: options and features -> the inputs that models read.
    names: fields of `Vocabularies` that it has.
    read: (records, lengths of the splits that they are joined of, context) ->
      rows.
    vocabularies: context -> names that numbers stand for.
    encode: (rows, vocabularies, context) -> rows as numbers.
    make: (rows as numbers, the batch's place, its pictures) -> a batch, without
      its mask if that is the place's.
    types: (sizes, options, training) -> {label of a batch: one of it}.
    lacks: rows -> what training on them lacks, '' if nothing.
    prior: (rows of training, of the split asked for, vocabularies, context) ->
      {name: what is reached without a look at the pictures}, main one first.
    pictures: of a row, 1 or 2.
    beside: records -> rows that also lie in a file beside them, or None.
    labels: context -> {key of a batch: what else lies in the picture}, which
      is brought into its frame, as boxes are.
    chosen: rows of a group that the order of training picks; the form draws
      the others of `Options.per_group`. None: it picks all.
    chunks: rows as numbers and Q -> what evaluation goes over, see
      `batches.chunks`, unless that is each group's own rows.
    ids: rows -> their ids for an evaluation server.
    written: context -> {answer: how a server writes it}.
    shown: (rows as numbers, the batch's place) -> int[n P], the pictures of a
      batch, where training draws some; None: those of the groups.
    ceiling: rows -> {name: the most that can be reached}.
    known_by: 'split' or 'picture': what tells that training shows something.
    sizes: vocabularies -> what models need to know beside how large they are.
  """

  what: str
  unit: str
  floor: str
  parts: tuple[str, ...]
  options: type[Options]
  kinds: Callable[[Any, Collection[str]], tuple[str, ...]]
  names: tuple[str, ...]
  read: Callable[[Iterable[Mapping[str, Any]], Sequence[int], Context], Any]
  vocabularies: Callable[[Context], Vocabularies]
  encode: Callable[[Any, Vocabularies, Context], Any]
  make: Callable[[Any, Place, Arrays], Arrays]
  types: Callable[[Mapping[str, Any], Any, bool], Arrays]
  lacks: Callable[[Any], str]
  prior: Callable[[Any, Any, Vocabularies, Context], dict[str, float]]
  pictures: int = 1
  beside: Callable[[Any], Any] | None = None
  labels: Callable[[Context], dict[str, Kind]] | None = None
  chosen: int | None = None
  chunks: Callable[[Any, int], tuple[np.ndarray, ...]] | None = None
  ids: Callable[[Any], Sequence[str]] | None = None
  written: Callable[[Context], dict[str, str]] | None = None
  shown: Callable[[Any, Place], np.ndarray] | None = None
  ceiling: Callable[[Any], dict[str, float]] | None = None
  known_by: str = 'split'
  sizes: Callable[[Vocabularies], dict[str, Any]] | None = None


def known(name: str = 'auto') -> list[str]:
  """Names of the forms that the package has, and `name`, if it is another.

  Raises:
    ValueError: `name` is neither 'auto' nor that of a form.
  """
  ours = own_names(__name__)
  if name == 'auto' or name in ours:
    return ours
  check(name)
  return [*ours, name]


def check(name: str) -> None:
  """Raises where `config.data.form` names no form."""
  if name != 'auto':
    by_name(name, __name__, 'form', 'form')


def arguments(name: str = 'auto') -> dict[str, inspect.Parameter]:
  """Options of a form, which `config.data` may give, by name.

  Args:
    name: of the form; 'auto': those of all forms that could be meant.
  """
  options = {}
  for form in known() if name == 'auto' else [name]:
    # Of videos there are more.
    options |= inspect.signature(create(form, ('video',)).options).parameters
  return options


def create(name: str, features: Collection[str] = ()) -> Form:
  """The form of that name, for records with the given features."""
  return by_name(name, __name__, 'form', 'form').form(features)


def pick(name: str, features: Collection[str], data: str) -> str:
  """The form that records are read in: the name, or what 'auto' stands for.

  Args:
    name: `config.data.form`.
    features: of the records.
    data: name of the data set.

  Raises:
    ValueError: the records lack what the form reads.
  """
  check(name)
  name = name if name != 'auto' else (
      'labels' if 'label' in features else 'questions')
  lacking = [part for part in create(name, features).parts
             if part not in features]
  if lacking:
    fit = [other for other in known()
           if set(create(other, features).parts) <= set(features)]
    raise ValueError(
        f'config.data.form {name!r} reads {lacking} of each record, but those '
        f'of {data} have {sorted(features)}. Forms that they have: '
        f'{", ".join(fit) or "none"}.')
  return name


def of_config(config: Mapping[str, Any], sizes: Mapping[str, Any]) -> str:
  """The form of a `config.data`, told without the data by their sizes."""
  name = config.get('form', 'auto')
  check(name)
  return name if name != 'auto' else (
      'questions' if 'max_tokens' in sizes else 'labels')
