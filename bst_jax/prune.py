"""Removes the channels that a trained model needs least: a smaller workdir."""
import dataclasses
import pathlib
from typing import Any

from absl import flags
from bst_jax import elastic, extract
from bst_jax.elastic import Choice, FULL
from bst_jax.host import alive, cli, files, processes
from bst_jax.learn import sharding
from bst_jax.pruning import (
  depth,
  one_by_one,
  order,
  picture,
  ranking,
  select,
  targets,
)
from bst_jax.pruning import scores as scores_lib
from bst_jax.pruning import scoring as channels
from bst_jax.pruning.scores import KINDS, Scores
from bst_jax.report import latency, scoring
from bst_jax.run import experiment, other_data
from bst_jax.store import best, checkpoint
import jax

_WORKDIR = cli.define_workdir()
_TARGET = flags.DEFINE_string(
    'target', None, f'What is left: {", ".join(targets.KNOWN)}, or a budget, as '
    "'macs<=1.3G', 'params<=5M' or 'latency_ms<=8'.", allow_override=True)
_OUTPUT = flags.DEFINE_string('output', None, 'New workdir.',
                              allow_override=True)
_KIND = flags.DEFINE_enum('kind', 'hybrid', list(KINDS), 'Scores: ' + '; '.join(
    f'{name}, {text}' for name, text in KINDS.items()) + '.',
                          allow_override=True)
_SCORES = flags.DEFINE_string(
    'scores', None, 'A scores.json of an earlier run of the same workdir, so '
    'that nothing is scored again.', allow_override=True)
_PICTURES = flags.DEFINE_integer(
    'pictures', 256, 'Training pictures that scores are of, at equal distances.',
    lower_bound=1, allow_override=True)
_REFINE = flags.DEFINE_float(
    'refine', 0.05, 'Share of a set of channels, on each side of the cut, that '
    'kind hybrid ranks by exact scores; 0 for none.', lower_bound=0.0,
    upper_bound=1.0, allow_override=True)
_PER_CLASS = flags.DEFINE_integer(
    'pictures_per_class', 0, 'Instead of --pictures: so many of each class, by '
    '--seed. The paper takes 2 or 5.', lower_bound=0, allow_override=True)
_RULE = flags.DEFINE_enum(
    'attn_rule', None, list(select.RULES), 'What becomes of heads: ' + '; '.join(
        f'{name}, {text}' for name, text in select.RULES.items())
    + '. Of a known target as published; of a budget per_head.',
    allow_override=True)
_MODE = flags.DEFINE_enum(
    'mode', 'uniform', list(ranking.MODES), 'Sizes of a budget: ' + '; '.join(
        f'{name}, {text}' for name, text in ranking.MODES.items()) + '.',
    allow_override=True)
_SORT = flags.DEFINE_enum(
    'sort_for', None, list(order.METHODS), 'Instead of --target: removes '
    'nothing, and puts the most needed channels first, so that a sandwich '
    'starts from the best of every width.', allow_override=True)
_LAYERS = flags.DEFINE_string(
    'layers', None, 'Layers that are left, one number for every stack, as 6 or '
    '2,2,2,2; they go before channels do. Those of a known target, else all.',
    allow_override=True)
_DEPTH = flags.DEFINE_enum(
    'depth', 'progressive', list(depth.WAYS), 'How layers go: ' + '; '.join(
        f'{name}, {text}' for name, text in depth.WAYS.items()) + '.',
    allow_override=True)
_MULTIPLE = flags.DEFINE_integer(
    'multiple', 1, 'Sizes are rounded up to it: 8, or 128 for the lanes of a '
    'chip.', lower_bound=1, allow_override=True)
_SEED = flags.DEFINE_integer(
    'seed', 0, 'Of random scores, and of pictures of each class.',
    allow_override=True)
_STEP = flags.DEFINE_string('step', None, best.STEP_HELP, allow_override=True)
_DATA = other_data.define()

FIRST = ('workdir', 'target', 'output', 'kind')
DESCRIPTION = """Scores every channel of a trained classifier by what its answers
lose without it, and cuts out those that are worth least.

The new workdir holds an ordinary smaller model, choice.json, and scores.json, from
which another target needs no second pass. Train on from it, taught by the model
that it was cut from: train --from OUTPUT --config.teacher_from=WORKDIR.

With --sort_for bst nothing is cut, and channels are put in order, the most needed
first: the submodels of a sandwich are prefixes."""
EXAMPLES = """python -m bst_jax.prune --workdir runs/deit_b --target deit_tiny --output runs/up_deit_t
python -m bst_jax.prune --workdir runs/vit --target 'macs<=1.3G' --kind fisher --output runs/pruned
python -m bst_jax.prune --workdir runs/vit --target 'params<=5M' --scores runs/pruned/scores.json --output runs/smaller
python -m bst_jax.prune --workdir runs/quickstart/teacher --sort_for bst --kind fisher --output runs/sorted
python -m bst_jax.train --from runs/up_deit_t --workdir runs/tuned --config.teacher_from=runs/deit_b --config.method.name=plain --config.method.teacher_weight=6.4 --config.method.gt_weight=1"""

SCORES, PICTURE = 'scores.json', 'kept.png'
# What an earlier start may have left.
_LEFT = SCORES, one_by_one.PART, one_by_one.REFINED


def read(data: Any, pictures: int, per_class: int, seed: int
         ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
  """Training pictures that scores are of, and which these are.

  Args:
    data: as of `data.load`.
    pictures: how many, at equal distances.
    per_class: instead so many of each class, by `seed`; 0 for none.
    seed: of these.
  """
  with alive.told('reading training pictures', False):
    groups = data.of_each_class(per_class, seed=seed) if per_class else None
    batches = [dict(batch) for batch in data.calibration(
        limit=0 if per_class else pictures, groups=groups)]
  return batches, {'per_class': per_class, 'places': (
      groups.tolist() if per_class else [])}


def scored(exp: experiment.Experiment, params: Any, batches: list,
           layers: dict[str, int], way: str, kind: str, seed: int,
           folder: pathlib.Path | None, about: dict[str, Any]) -> Scores:
  """Scores of channels, of the model with the layers that stay; and of depth.

  Args:
    exp, params: the whole model.
    batches: as of `read`.
    layers: how many are left, by stack.
    way: of `depth.WAYS`.
    kind, seed, folder: as of `pruning.scoring.score`.
    about: what the pictures are. `layers`, those that stay, come to it.
  """
  left, of_pairs = Choice(), {}
  if depth.losing(exp, layers):
    left, of_pairs = depth.chosen(exp, params, batches, layers, way)
  found = channels.score(
      *_part(exp, params, left), batches, kind, seed, folder,
      about | {'layers': {stack: list(stays) for stack, stays
                          in left.layers.items()}})
  return dataclasses.replace(found, depth=of_pairs)


def remaining(exp: experiment.Experiment, left: Choice
              ) -> experiment.Experiment:
  """The experiment with the layers that stay, or the same."""
  return experiment.chosen(experiment.whole(exp), left) if left.layers else exp


def _part(exp, params, left):
  """The experiment and the parameters with the layers that stay."""
  return remaining(exp, left), exp.cut(params, left) if left.layers else params


def _layers_of(scores):
  """The choice of the layers that scores are of; it is empty for all."""
  return Choice(layers=scores.about.get('layers') or {})


def _loaded(path, exp, params, layers):
  """Scores of a file, checked to be of these parameters and so many layers."""
  scores = Scores.load(path)
  small, params = _part(exp, params, _layers_of(scores))
  found = {stack: order.num_layers for stack, order in small.model.stacks.items()}
  if layers and layers != found:
    raise ValueError(
        f'layers were to be left as {layers}, but {path} has scores of a model '
        f'with {found}. Score again, without --scores.')
  scores.check(small.shapes, small.axes)
  here = elastic.checksum(params)
  there = scores.about.get('parameters')
  if there not in (None, here):
    raise ValueError(
        f'{path} has scores of other parameters of the same model (checksum '
        f'{there}, here {here}), and they would rank other channels. Give the '
        'workdir and the --step that were scored, or leave out --scores.')
  return scores


def main() -> None:
  """The command."""
  cli.start()
  workdir = pathlib.Path(cli.required(_WORKDIR))
  target, output = _TARGET.value, pathlib.Path(cli.required(_OUTPUT))
  files.check_new(output, leave=_LEFT)
  exp, layers = experiment.load(workdir), {}
  asked = _RULE.value, _MULTIPLE.value, _MODE.value
  if _SORT.value:
    if target or _LAYERS.value:
      raise ValueError('--sort_for removes nothing, and --target and --layers '
                       'do; give one or the other.')
  else:
    target = cli.required(_TARGET)
    layers = targets.layers(exp, target, _LAYERS.value)
    # Whichever layers stay, a target can be met or not.
    targets.check(remaining(exp, Choice(layers={
        stack: tuple(range(left)) for stack, left in layers.items()})),
                  target, *asked)
  step = best.step_of(workdir, _STEP.value)
  params = checkpoint.load_params(workdir, exp.shapes, step)
  other_data.put(exp.config, _DATA.value, None)
  scores = _SCORES.value and _loaded(_SCORES.value, exp, params, layers)
  data, batches = experiment.load_data(exp.config, workdir), []
  if not scores:
    about = {'data': exp.config.data.name, 'split': exp.config.data.train}
    if depth.losing(exp, layers) or _KIND.value not in scores_lib.BLIND:
      batches, which = read(
          data, _PICTURES.value, _PER_CLASS.value, _SEED.value)
      about |= which
    scores = scored(exp, params, batches, layers, _DEPTH.value, _KIND.value,
                    _SEED.value, output, about)

  left = _layers_of(scores)
  small, params_left = _part(exp, params, left)
  if _SORT.value:
    found = order.choice(scores, small.shapes, small.axes)
  else:
    sizes, rule = targets.sizes(small, target, *asked, scores)
    if batches and scores.kind == 'hybrid':
      scores = channels.refined(scores, small, params_left, batches, sizes,
                                rule, _REFINE.value, output)
    found = select.choice(scores, small.shapes, small.axes, sizes, rule)
  choice = depth.joined(left, found)
  if not choice.cuts:
    print(f'{target} is met by the whole model: nothing was removed, and '
          f'{output} was not made.')
    return
  _write(workdir, exp, choice, output, step, scores, target)
  if _SORT.value:
    print(f'{output}: the same model, its channels in the order of '
          f'{scores.kind} scores. A sandwich starts from it by '
          f'--config.start.workdir={output}')
  else:
    _compare(exp, params, output, data, scores)


def _write(workdir, exp, choice, output, step, scores, target):
  """The new workdir."""
  first = jax.process_index() == 0
  if first:
    output.mkdir(parents=True, exist_ok=True)
    scores.save(output / SCORES)  # Now: it took longest.
  extract.extract(workdir, choice, output, step, leave=_LEFT)
  if first:
    for name in (one_by_one.PART, one_by_one.REFINED):
      (output / name).unlink(missing_ok=True)
    if target:
      picture.draw(choice, exp.shapes, exp.axes, output / PICTURE,
                   f'{workdir}, {target} by {scores.kind} scores')
  processes.barrier('pruned')


def _compare(exp, params, output, data, scores):
  """Prints what the model was before and is after."""
  small, mesh = experiment.load(output), sharding.make_mesh({'data': -1})
  split, rows = exp.config.data.eval, []
  for one, where in ((exp, params), (small, checkpoint.load_params(
      output, small.shapes))):
    with jax.set_mesh(mesh):
      result = scoring.evaluate(one, data, where, [FULL], split, mesh)
    time = latency.measure(one, where, [FULL], batch=1, runs=30)[0]
    rows.append(result['rows'][0] | {'latency_ms': time['latency_ms']})
  rows[0]['submodel'], rows[1]['submodel'] = 'before', 'after'
  before, after = (row['latency_ms'] for row in rows)
  if jax.process_index() == 0:
    print(f'\n{scoring.table(result | {"rows": rows})}\n\nOne picture takes '
          f'{after:.1f} ms, before {before:.1f}, on this machine.\n{output}: '
          f'{elastic.size(small.shapes):,} of {elastic.size(exp.shapes):,} '
          f'parameters, by {scores.kind} scores; not trained since. What was '
          f'kept: {output / PICTURE}\n{channels.told(scores)}')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
