"""From a config, or a workdir, to its parts: model, task, space, axis names."""
from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import json
import pathlib
from typing import Any

from bst_jax import elastic, models, tasks
from bst_jax.data import kinds
from bst_jax.elastic import Choice, Space, Submodel
from bst_jax.host import alive
from bst_jax.run import settings
from bst_jax.store import workdir as workdirs
from flax import linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

VOCAB, SIZES = 'vocab', 'sizes.json'
# In workdirs whose parameters are random but for a converted part.
PART = 'part.json'


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Attributes:
    config: all of it.
    sizes: what the data decide: vocab_size, num_answers, max_tokens, ….
    model: the full model.
    task: loss and scores.
    space: the submodels.
    boxed: shapes of the parameters with their axis names.
  """

  config: ml_collections.ConfigDict
  sizes: Mapping[str, int]
  model: nn.Module
  task: tasks.Task
  space: Space
  boxed: Any

  @property
  def axes(self) -> Any:
    """Axis names of every parameter."""
    return elastic.names(self.boxed)

  @property
  def shapes(self) -> Any:
    """Shapes of the full model's parameters."""
    return elastic.unbox(self.boxed)

  @property
  def frozen_parts(self) -> tuple[str, ...]:
    """Globs of the parameters that the model keeps as they are."""
    return getattr(self.model, 'frozen_parts', ())

  @property
  def slices(self) -> elastic.Slices:
    """Where every submodel's parameters lie in those of the full model."""
    return elastic.Slices(self.axes, self.model.stacks)

  def example(self, rows: int = 1) -> dict[str, jax.Array]:
    """A batch of zeros and ones, of so many rows with pictures of their own."""
    return example(self.sizes, rows, rows * self.task.pictures)

  def extract(self, params: Any, sub: Submodel) -> Any:
    """Parameters of the ordinary smaller model that `sub` is."""
    return self.slices.cut(params, sub)

  def cut(self, params: Any, choice: Choice) -> Any:
    """Parameters of the ordinary smaller model that a choice is."""
    return elastic.cut(params, self.axes, choice, self.model.stacks)

  def shapes_at(self, sub: Submodel) -> Any:
    """Shapes of the parameters of the model that `sub` is."""
    return jax.eval_shape(lambda p: self.extract(p, sub), self.shapes)

  def parse(self, text: str) -> tuple[Submodel, ...]:
    """Submodels of `all` or of a comma-separated list, checked to be possible.

    Returns:
      The submodels; any pair may be asked for, trained or not.
    """
    if text == 'all':
      return self.space.submodels
    subs = tuple(Submodel.parse(part.strip()) for part in text.split(','))
    for sub in subs:
      self.model.at(sub)
    return subs

  def parse_one(self, text: str, what: str) -> Submodel:
    """The submodel of a text; several are an error that says `what` one does.
    """
    subs = self.parse(text)
    if len(subs) != 1:
      raise ValueError(f'one submodel {what}, not {text!r}; there are: '
                       f'{", ".join(map(str, self.space))}.')
    return subs[0]


def build(config: ml_collections.ConfigDict,
          sizes: Mapping[str, int]) -> Experiment:
  """The parts of an experiment on data of the given sizes."""
  kinds.check_sizes(sizes)
  settings.check_parts(config)
  space = space_of(config)
  task = tasks.create(config.task)
  with settings.told(config):
    model = models.create(
        config.model, config.get('compute'), strategy=space.strategy,
        strategy_seed=space.seed, outputs=task.outputs, **sizes)
    for sub in space:  # An impossible ratio fails here.
      model.at(sub)
  wanted = getattr(model, 'feature_size', None)
  if 'num_regions' in sizes and sizes.get('feature_size', wanted) != wanted:
    raise ValueError(
        f'config.model.feature_size is {wanted}, but regions of these data '
        f'have {sizes["feature_size"]} features; leave it out, or use features '
        'of that size. A model makes the 6 numbers of a position of each box '
        'itself; where rows have some behind their features, '
        'config.data.position says which.')
  sizes = dict(sizes) | {
      key: getattr(model, key) for key in ('feature_size',)
      if hasattr(model, key)}
  batch = example(sizes, pictures=task.pictures)
  with settings.told(config, batch), alive.told('building the model', False):
    outputs, variables = jax.eval_shape(
        model.init_with_output, jax.random.key(0), batch)
  settings.check_outputs(config, task, outputs)
  exp = Experiment(config, sizes, model, task, space, variables['params'])
  choice = choice_of(config)
  return exp if choice is None else chosen(exp, choice)


def chosen(given: Experiment | ml_collections.ConfigDict,
           choice: Choice | None = None
           ) -> Experiment | ml_collections.ConfigDict:
  """What a choice leaves of an experiment, or of the config of one.

  An experiment becomes that of the ordinary smaller model. Of a config the
  choice is the file that `config.choice` names, if it is set. It is one of the
  model that training starts from, whose parameters it cuts; without a start it
  may be one of tokens, which cut nothing.

  Raises:
    ValueError: no such file, a choice of another model, or one that the model
      does not have.
  """
  if isinstance(given, Experiment):
    return _smaller(given, choice or Choice())
  choice = choice or choice_of(given)
  if choice is None:
    return given
  config = given.copy_and_resolve_references()
  config.unlock()
  config.choice = None
  start = _start_of(config)
  small = start and _smaller(load(start), choice)
  if not choice.cuts:
    ats = dict(config.model.get('ats') or {})
    config.model.ats = ats | dict(choice.tokens)
  elif small:
    before = workdirs.read_config(start).model
    _put(config.model, {key: value for key, value in small.config.model.items()
                        if value != before.get(key)})
    if choice.submodel != elastic.FULL:
      config.space = _one_model(small.space)
  else:
    raise ValueError(
        f'config.choice {given.choice} leaves out parts of a model, and '
        'training starts from none; set config.start to the workdir that the '
        'choice was made for.')
  return config


def choice_of(config: Mapping[str, Any]) -> Choice | None:
  """The choice in the file that `config.choice` names; None for no such."""
  path = config.get('choice')
  return read_choice(path) if path else None


def read_choice(path: str | pathlib.Path) -> Choice:
  """The choice that a file holds.

  Raises:
    ValueError: there is no such file, or it holds something else.
  """
  path = pathlib.Path(path)
  return Choice.from_json(json.dumps(
      workdirs.read_json(path.parent, path.name)))


def _start_of(config):
  """The workdir that training starts from, None for none."""
  start = config.get('start') or config.get('init_from')
  return start.get('workdir') if hasattr(start, 'get') else start


def _smaller(exp, choice):
  """The experiment of what a choice leaves of a model."""
  elastic.check_model(choice, exp.shapes)
  elastic.check(choice, exp.shapes, exp.axes, exp.model.stacks)
  if choice == Choice(choice.submodel, model=choice.model):
    small = exp.model.at(choice.submodel)  # All that any model can.
  else:
    small = exp.model.chosen(choice)
  config = exp.config.copy_and_resolve_references()
  config.unlock()
  config.choice = None
  if choice.submodel != elastic.FULL:
    config.space = _one_model(exp.space)
  _write_model(config, small, exp.model)
  found = build(config, exp.sizes)
  if found.model != small:
    # What follows from another size, where nothing else is said, stays as it was.
    _write_model(config, small, found.model)
    found = build(config, exp.sizes)
  if hasattr(found.model, 'usual'):
    _write_model(config, found.model.usual(found.shapes, found.axes),
                 found.model)
    found = build(config, exp.sizes)
  return found


def _write_model(config, model, before):
  """Writes into a config what differs between two models."""
  def plain(value):
    if isinstance(value, tuple):
      return tuple(map(plain, value))
    if isinstance(value, elastic.Sizes):
      return value.to_dict()
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value

  _put(config.model, {
      field.name: plain(getattr(model, field.name))
      for field in dataclasses.fields(model)
      if field.name not in ('parent', 'name')
      and getattr(model, field.name) != getattr(before, field.name)})


def _put(config, values):
  """Sets keys, where update would join dicts with those that are there."""
  with config.ignore_type():  # A number may become one with exceptions.
    for key, value in values.items():
      config[key] = value


def whole(exp: Experiment) -> Experiment:
  """An experiment with one model and no smaller ones, that nobody teaches."""
  config = exp.config.copy_and_resolve_references()
  config.unlock()
  config.space = _one_model(exp.space)
  config.method = dict(name='plain')
  for key in ('init_from', 'start', 'teacher', 'teacher_from', 'search'):
    if key in config:
      config[key] = None
  return dataclasses.replace(exp, config=config, space=space_of(config))


def _one_model(space):
  """`config.space` of the full model alone, with the same order of layers."""
  return dict(widths=('1',), depths=('1',), filter=space.filter,
              strategy=space.strategy, seed=space.seed)


def space_of(config: Mapping[str, Any]) -> Space:
  """The space that `config.space` describes."""
  settings.check_parts(config, ('space',))
  options = dict(config['space'])
  known = [f.name for f in dataclasses.fields(Space)]
  for option in options:
    elastic.check_name(option, known, 'option of config.space')
  for key in ('widths', 'depths'):
    if not isinstance(options.get(key, ()), (tuple, list)):
      raise ValueError(f'config.space.{key} is {options[key]!r}; it must be a '
                       "list of ratios, as ('1/2', '1').")
  return Space(**{k: tuple(v) if k in ('widths', 'depths') else v
                  for k, v in options.items()})


def example(sizes: Mapping[str, int], questions: int = 1,
            pictures: int = 1) -> dict[str, jax.Array]:
  """A batch of zeros and ones with the shapes that the sizes decide."""
  rows = {'row': questions, 'picture': pictures}
  return {name: jnp.asarray(np.stack([kind.row(sizes)] * rows[kind.of]))
          for name, kind in kinds.KINDS.items() if kind.size in sizes}


def save(workdir: str | pathlib.Path, config: ml_collections.ConfigDict,
         sizes: Mapping[str, int]) -> None:
  """Writes what `load` needs besides parameters and vocabularies."""
  workdirs.write_config(workdir, config)
  workdirs.write_json(pathlib.Path(workdir) / VOCAB, SIZES, dict(sizes))


def load_data(config: ml_collections.ConfigDict,
              workdir: str | pathlib.Path) -> Any:
  """The data of a config, with the workdir's vocabularies if it has any."""
  from bst_jax.data import source  # Not everything that has a model has data.

  with alive.told(f'opening {config.data.get("name")}', False):
    return source.load(
        config.data, vocab_dir=pathlib.Path(workdir) / VOCAB,
        shard_index=jax.process_index(), shard_count=jax.process_count())


def read_part(workdir: str | pathlib.Path) -> dict[str, Any]:
  """Of a workdir that was converted in part: its table, and what is random."""
  part = workdirs.read_json(workdir, PART, {'table': str, 'missing': list})
  if not all(isinstance(name, str) for name in part['missing']):
    raise ValueError(f'{pathlib.Path(workdir) / PART} names parts of a model '
                     f'that are no text, {part["missing"]}; convert again.')
  return part


def sizes_of(config: ml_collections.ConfigDict) -> dict[str, int]:
  """Sizes of the data: those in `config.data.sizes`, else of the data itself."""
  if config.data.get('sizes'):
    return dict(config.data.sizes)
  from bst_jax.data import source
  return source.load(config.data).sizes


def total_steps(config: ml_collections.ConfigDict, data: Any) -> int:
  """Steps of the whole training, from `config.steps` or `config.epochs`.

  Without data (None), an epoch counts as one step: the settings are checked.
  """
  steps, epochs = config.get('steps'), config.get('epochs')
  if bool(steps) == bool(epochs):
    raise ValueError(f'config.steps is {steps} and config.epochs is {epochs}; '
                     'give exactly one of them, and 0 for the other.')
  return steps or epochs * (data.steps_per_epoch if data else 1)


def load(workdir: str | pathlib.Path) -> Experiment:
  """The experiment of a trained, extracted or converted workdir."""
  config = workdirs.read_config(workdir)
  sizes = workdirs.read_json(pathlib.Path(workdir) / VOCAB, SIZES)
  return build(config, sizes)
