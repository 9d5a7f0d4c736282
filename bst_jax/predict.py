"""Answers a question about a picture file, or writes captions of pictures."""
from collections.abc import Sequence
import pathlib
import time

from absl import flags
from bst_jax import tasks
from bst_jax.host import cli
from bst_jax.report import attention, boxes, latency, scoring
from bst_jax.run import captioner as captioners
from bst_jax.run import extractor as extractors
from bst_jax.run import loaded, pseudo_captions
from bst_jax.store import best
from bst_jax.store import workdir as workdirs
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
_STEP = flags.DEFINE_string('step', None, best.STEP_HELP, allow_override=True)
_ATTENTION = flags.DEFINE_string(
    'attention', None, 'PNG file to write: where in the picture the answer '
    'looked, cells or regions; of MCAN, UNITER, CLIP-ViL, ViT and CvT. Of a '
    'detector: its boxes.',
    allow_override=True)
_EXTRACTOR = flags.DEFINE_string(
    'extractor', None, 'Folder of the detector that finds the regions which the '
    'model reads.', allow_override=True)
_EXTRACTOR_STEP = flags.DEFINE_string(
    'extractor_step', None, 'Checkpoint of the detector, as --step.',
    allow_override=True)
_BEAM = flags.DEFINE_integer(
    'beam', 1, 'Of a caption: hypotheses that are kept; 1 takes the most probable '
    'word again and again.', allow_override=True)
_MIN_WORDS = flags.DEFINE_integer(
    'min_words', 0, 'Of a caption: words at least.', lower_bound=0,
    allow_override=True)
_CAPTIONS = flags.DEFINE_string(
    'captions', None, 'File of captions to write, .jsonl, of all pictures below '
    '--images: in that folder it makes the data set caption_list. The same '
    'command goes on where it was stopped.', allow_override=True)
_IMAGES = flags.DEFINE_string(
    'images', None, 'Folder of pictures, for --captions.', allow_override=True)
_BATCH = flags.DEFINE_integer(
    'batch', 16, 'Pictures at a time, for --captions.', lower_bound=1,
    allow_override=True)

FIRST = ('workdir', 'image', 'question', 'submodel')
DESCRIPTION = """Answers a question about a picture, tells what it shows, or writes a caption.

Prints the most probable answers of one submodel and the time it takes, warm.
The probability is the model's own: of VQA models each answer's, which need not
sum to one. Works for models that take pictures, and for models that take
regions: of digit scenes these are found in the picture, of other data by the
detector that made them, as --extractor. Models of captions write one, or, with
--captions, those of a whole folder."""
EXAMPLES = """python -m bst_jax.predict --workdir runs/quickstart --image docs/scene.png --question "How many squares are there?"
python -m bst_jax.predict --workdir runs/quickstart --image docs/scene.png --question "What digit is on the large square?" --submodel 1/4x1/4 --top 3
python -m bst_jax.predict --workdir runs/quickstart --image docs/scene.png --question "What digit is on the large square?" --attention look.png
python -m bst_jax.predict --workdir runs/on_regions --extractor runs/tee --image docs/scene.png --question "How many squares are there?"
python -m bst_jax.predict --workdir runs/captions --image docs/scene.png --beam 5
python -m bst_jax.predict --workdir runs/captions --images pictures --captions pictures/captions.jsonl"""


def predict(workdir: pathlib.Path, image: str | Sequence[str],
            question: str | None, submodel: str, top: int,
            step: int | None = None, picture: str | None = None,
            extractor: pathlib.Path | None = None,
            extractor_step: int | None = None):
  """The most probable answers.

  Args:
    workdir: a trained, extracted or converted workdir.
    image: picture file; two of them for models that compare.
    question: the question; None for a model of classes.
    submodel: as 1/2x1/3.
    top: how many answers.
    step: checkpoint; the newest if None.
    picture: PNG file to write, of where the network looked, or of the boxes of a
      detector; none if None.
    extractor: workdir of the detector that finds the regions which the model
      reads; None where it reads none, or its data find them.
    extractor_step: checkpoint of it; the newest if None.

  Returns:
    [(answer, probability), …], the most probable first, and the seconds that
    one warm forward pass takes.
  """
  net = loaded.load(workdir, submodel, step)
  if extractor:
    net = net.with_extractor(extractors.Extractor(
        extractor, extractor_step,
        regions=net.experiment.sizes.get('num_regions', 0)))
  batch = jax.tree.map(jnp.asarray, net.batch(image, question))
  answers = net.tell(batch, top)
  seconds = latency.median_seconds(lambda: net.outputs(batch), runs=10)
  if picture is not None and net.experiment.task.form == 'objects':
    boxes.draw(net, batch, picture)
  elif picture is not None:
    attention.draw(net, image, question, picture)
  return answers, seconds


def caption(net: loaded.Loaded, extractor: extractors.Extractor | None,
            image: str, beams: int, least: int) -> None:
  """Prints a caption of a picture file, word by word as they are found."""
  began, count = time.monotonic(), 0
  captioner = captioners.Captioner(net, extractor, beams=beams, least=least)
  for word in captioner.stream(image):
    print(word, end=' ', flush=True)
    count += 1
  print(f'\n\nsubmodel {net.submodel}: {count} words; '
        f'{time.monotonic() - began:.1f} s in all, with compiling')


def _one_image():
  """The value of --image of models that read one picture."""
  given = cli.required(_IMAGE)
  if len(given) > 1:
    raise cli.UsageError(f'a caption is of one picture, not of {len(given)}; '
                         'give --image once, or --captions with --images.')
  return given[0]


def _caption(net, finder, step):
  """What the command does with a network that writes captions."""
  if _QUESTION.value or _ATTENTION.value:
    raise cli.UsageError(f'{net.workdir} writes captions and is asked nothing; '
                         'leave --question and --attention out.')
  extractor = finder and extractors.Extractor(
      finder, step, regions=net.experiment.sizes.get('num_regions', 0))
  if not _CAPTIONS.value:
    caption(net, extractor, _one_image(), _BEAM.value, _MIN_WORDS.value)
    return
  lines, bad = pseudo_captions.write(
      captioners.Captioner(net, extractor, beams=_BEAM.value,
                           least=_MIN_WORDS.value, batch=_BATCH.value),
      cli.required(_IMAGES), _CAPTIONS.value)
  print(f'Saved {_CAPTIONS.value}: {lines:,} captions; {len(bad):,} pictures '
        'cannot be read')


def _writes_captions(workdir):
  """Whether a workdir's task is one that writes; others' folders have none."""
  try:
    config = workdirs.read_config(workdir)
    return tasks.create(config.get('task')).decode is not None
  except (OSError, ValueError):
    return False


def main() -> None:
  """The command."""
  cli.start()
  workdir = pathlib.Path(cli.required(_WORKDIR))
  began = time.monotonic()
  finder = _EXTRACTOR.value and pathlib.Path(_EXTRACTOR.value)
  step = best.step_of(workdir, _STEP.value)
  finder_step = finder and best.step_of(finder, _EXTRACTOR_STEP.value)
  if _CAPTIONS.value or _writes_captions(workdir):
    _caption(loaded.load(workdir, _SUBMODEL.value, step), finder, finder_step)
    return
  found, seconds = predict(
      workdir, cli.required(_IMAGE), _QUESTION.value, _SUBMODEL.value, _TOP.value,
      step, _ATTENTION.value, finder, finder_step)
  print(scoring.aligned([(a, f'{100 * p:.1f} %') for a, p in found]))
  print(f'\nsubmodel {_SUBMODEL.value}: {1e3 * seconds:.2f} ms, '
        f'warm; {time.monotonic() - began:.1f} s in all, with loading and '
        'compiling')
  if _ATTENTION.value:
    print(f'Saved {_ATTENTION.value}')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
