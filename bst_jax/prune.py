"""Removes the channels that a trained model needs least: a smaller workdir."""
import pathlib

from absl import flags
from bst_jax import elastic, extract
from bst_jax.elastic import FULL
from bst_jax.host import alive, cli, files
from bst_jax.learn import sharding
from bst_jax.pruning import scoring as channels
from bst_jax.pruning import select, targets
from bst_jax.pruning.scores import KINDS, Scores
from bst_jax.report import scoring
from bst_jax.run import experiment, other_data
from bst_jax.store import best, checkpoint
import jax
import jax.numpy as jnp

_WORKDIR = cli.define_workdir()
_TARGET = flags.DEFINE_string(
    'target', None, f'What is left: {", ".join(targets.KNOWN)}, or a budget, as '
    "'macs<=1.3G' or 'params<=5M'.", allow_override=True)
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
_RULE = flags.DEFINE_enum(
    'attn_rule', None, list(select.RULES), 'What becomes of heads: ' + '; '.join(
        f'{name}, {text}' for name, text in select.RULES.items())
    + '. Of a known target as published; of a budget per_head.',
    allow_override=True)
_MULTIPLE = flags.DEFINE_integer(
    'multiple', 1, 'Sizes are rounded up to it: 8, or 128 for the lanes of a '
    'chip.', lower_bound=1, allow_override=True)
_SEED = flags.DEFINE_integer('seed', 0, 'Of random scores.', allow_override=True)
_STEP = flags.DEFINE_string('step', None, best.STEP_HELP, allow_override=True)
_DATA = other_data.define()

FIRST = ('workdir', 'target', 'output', 'kind')
DESCRIPTION = """Scores every channel of a trained classifier by what its answers
lose without it, and cuts out those that are worth least.

The new workdir holds an ordinary smaller model, choice.json, and scores.json, from
which another target needs no second pass. Train on from it, taught by the model
that it was cut from: train --from OUTPUT --config.teacher_from=WORKDIR."""
EXAMPLES = """python -m bst_jax.prune --workdir runs/deit_b --target deit_tiny --output runs/up_deit_t
python -m bst_jax.prune --workdir runs/vit --target 'macs<=1.3G' --kind fisher --output runs/pruned
python -m bst_jax.prune --workdir runs/vit --target 'params<=5M' --scores runs/pruned/scores.json --output runs/smaller
python -m bst_jax.train --from runs/up_deit_t --workdir runs/tuned --config.teacher_from=runs/deit_b --config.method.name=plain --config.method.teacher_weight=6.4 --config.method.gt_weight=1"""

SCORES = 'scores.json'


def scored(exp: experiment.Experiment, params, data, kind: str, pictures: int,
           seed: int, folder: pathlib.Path) -> Scores:
  """Scores from training pictures; what is done is kept in `folder`."""
  with alive.told(f'reading {pictures} training pictures', False):
    batches = [] if kind in ('magnitude', 'random') else [
        jax.tree.map(jnp.asarray, dict(batch))
        for batch in data.calibration(limit=pictures)]
  return channels.score(exp, params, batches, kind, seed, folder, {
      'data': exp.config.data.name, 'split': exp.config.data.train})


def main() -> None:
  """The command."""
  cli.start()
  workdir = pathlib.Path(cli.required(_WORKDIR))
  target, output = cli.required(_TARGET), pathlib.Path(cli.required(_OUTPUT))
  files.check_new(output, leave=(channels.PART,))
  exp = experiment.load(workdir)
  sizes, rule = targets.sizes(exp, target, _RULE.value, _MULTIPLE.value)
  step = best.step_of(workdir, _STEP.value)
  params = checkpoint.load_params(workdir, exp.shapes, step)
  other_data.put(exp.config, _DATA.value, None)
  scores = Scores.load(_SCORES.value) if _SCORES.value else None
  if scores is not None:
    scores.check(exp.shapes, exp.axes)
  data = experiment.load_data(exp.config, workdir)
  if scores is None:
    scores = scored(exp, params, data, _KIND.value, _PICTURES.value,
                    _SEED.value, output)
  choice = select.choice(scores, exp.shapes, exp.axes, sizes, rule)
  if not choice.keep:
    print(f'{target} is met by the whole model: nothing was removed, and '
          f'{output} was not made.')
    return
  (output / channels.PART).unlink(missing_ok=True)
  extract.extract(workdir, choice, output, step)
  scores.save(output / SCORES)

  small, mesh = experiment.load(output), sharding.make_mesh({'data': -1})
  split, rows = exp.config.data.eval, []
  with jax.set_mesh(mesh):
    for one, where in ((exp, params), (small, checkpoint.load_params(
        output, small.shapes))):
      result = scoring.evaluate(one, data, where, [FULL], split, mesh)
      rows.append(result['rows'][0])
  rows[0]['submodel'], rows[1]['submodel'] = 'before', 'after'
  print(f'\n{scoring.table(result | {"rows": rows})}\n\n{output}: '
        f'{elastic.size(small.shapes):,} of {elastic.size(exp.shapes):,} '
        f'parameters, by {scores.kind} scores; not trained since.')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
