"""Answers a question about a picture file with a trained submodel."""
from collections.abc import Sequence
import pathlib
import time

from absl import flags
from bst_jax.host import cli
from bst_jax.report import latency, scoring
from bst_jax.run import experiment
from bst_jax.store import checkpoint
import jax
import jax.numpy as jnp

_WORKDIR = cli.define_workdir()
_IMAGE = flags.DEFINE_multi_string(
    'image', None, 'Picture file, PNG or JPEG; a video file for models of '
    'videos. Given twice, left and right, for models that compare two.',
    allow_override=True)
_QUESTION = flags.DEFINE_string(
    'question', None, 'The question, in quotes; of models that answer any.',
    allow_override=True)
_SUBMODEL = flags.DEFINE_string(
    'submodel', '1x1', 'The submodel that answers, as 1/2x1/3.',
    allow_override=True)
_TOP = flags.DEFINE_integer(
    'top', 5, 'Answers to show, the most probable first.', lower_bound=1,
    allow_override=True)
_STEP = flags.DEFINE_integer(
    'step', None, 'Checkpoint; the newest if left out.', allow_override=True)

FIRST = ('workdir', 'image', 'question', 'submodel')
DESCRIPTION = """Answers a question about a picture, or tells what it shows.

Prints the most probable answers of one submodel and the time it takes, warm.
The probability is the model's own: of VQA models each answer's, which need not
sum to one. Works for models that take pictures, and for models that take
regions of a data set which can find them in a picture (digit scenes)."""
EXAMPLES = """python -m bst_jax.predict --workdir runs/quickstart --image docs/scene.png --question "How many squares are there?"
python -m bst_jax.predict --workdir runs/quickstart --image docs/scene.png --question "What digit is on the large square?" --submodel 1/4x1/4 --top 3"""


def predict(workdir: pathlib.Path, image: str | Sequence[str],
            question: str | None, submodel: str, top: int, step: int | None = None):
  """The most probable answers.

  Args:
    workdir: a trained, extracted or converted workdir.
    image: picture file; two of them for models that compare.
    question: the question; None for a model of classes.
    submodel: as 1/2x1/3.
    top: how many answers.
    step: checkpoint; the newest if None.

  Returns:
    [(answer, probability), …], the most probable first, and the seconds that
    one warm forward pass takes.
  """
  # Slow to import: not before the flags are read.
  from bst_jax.data import single, vocabularies

  exp = experiment.load(workdir)
  sub = exp.parse_one(submodel, 'answers')
  names = vocabularies.names(workdir / experiment.VOCAB)
  answers = names.get('answers', ())
  batch = jax.tree.map(jnp.asarray, single.batch(
      exp.config.data, exp.sizes, names.get('words'), image, question))
  params = exp.extract(checkpoint.load_params(workdir, exp.shapes, step), sub)
  small = exp.model.at(sub)
  run = jax.jit(lambda params, batch: small.apply({'params': params}, batch))
  outputs = jax.device_get(run(params, batch))
  seconds = latency.median_seconds(lambda: run(params, batch), runs=10)
  return exp.task.tell(outputs, answers)[0][:top], seconds


def main() -> None:
  """The command."""
  cli.start()
  workdir = pathlib.Path(cli.required(_WORKDIR))
  began = time.monotonic()
  found, seconds = predict(
      workdir, cli.required(_IMAGE), _QUESTION.value, _SUBMODEL.value, _TOP.value,
      _STEP.value)
  print(scoring.aligned([(a, f'{100 * p:.1f} %') for a, p in found]))
  print(f'\nsubmodel {_SUBMODEL.value}: {1e3 * seconds:.2f} ms, '
        f'warm; {time.monotonic() - began:.1f} s in all, with loading and '
        'compiling')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
