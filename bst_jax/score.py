"""Official scores of a file of answers, by the files of VQA-v2 or GQA."""
import json

from absl import flags, logging
from bst_jax.data import gqa_scores, results, vqa_scores
from bst_jax.data.builders import asked, json_stream
from bst_jax.host import cli

_RESULTS = flags.DEFINE_string(
    'results_file', None, 'Answers, as evaluate --results writes them.',
    allow_override=True)
_ANNOTATIONS = flags.DEFINE_string(
    'annotations', None, "VQA-v2's annotation file of the split.",
    allow_override=True)
_QUESTIONS = flags.DEFINE_string(
    'questions', None, "GQA's question file of the split.", allow_override=True)
_CHOICES = flags.DEFINE_string(
    'choices', None, "GQA's choices file, for validity and plausibility.",
    allow_override=True)
_ENTAILED = flags.DEFINE_string(
    'entailed', None, "GQA's file of all questions, for consistency.",
    allow_override=True)
_MODE = flags.DEFINE_string(
    'mode', 'official', "GQA: 'official', or 'fixed', which also lets answers "
    'be right that are written with an article or a hyphen.',
    allow_override=True)

FIRST = ('results', 'annotations', 'questions')
DESCRIPTION = """Scores a file of answers as the evaluation servers do.

Give --annotations for VQA-v2 or --questions for GQA; prints JSON."""
EXAMPLES = """python -m bst_jax.score --results_file runs/mcan_vqa/results_minival_w1_d1_hidden512_layers6.json --annotations v2_mscoco_val2014_annotations.json
python -m bst_jax.score --results_file runs/mcan_gqa/results_testdev_w1_d1_hidden512_layers6.json --questions testdev_balanced_questions.json --mode fixed"""


def score(results_file: str, annotations: str | None = None,
          questions: str | None = None, choices: str | None = None,
          entailed: str | None = None, mode: str = 'official') -> dict:
  """Scores of a file, by VQA-v2's annotations or by GQA's questions.

  Of the annotations those count whose questions were answered, so that a part
  of a split, as minival, is scored by the file of the whole; how many they are
  is told as `questions`.

  Raises:
    ValueError: not one kind of file, a file of another form, or questions that
      are in one of them alone.
  """
  if bool(annotations) == bool(questions):
    raise ValueError(
        f'Answers were to be scored by annotations {annotations} and questions '
        f'{questions}; give exactly one: --annotations for VQA-v2, --questions '
        'for GQA.')
  answers = results.read(results_file)
  if annotations:
    entries = (entry for name, entry in json_stream.members(
        annotations, 'annotations') if name == 'annotations'
               and _is_answered(entry, answers))
    return {'questions': len(answers)} | vqa_scores.score(answers, entries)
  about = [_members(path) for path in (questions, choices, entailed)]
  strangers = answers.keys() - about[0].keys() - (about[2] or {}).keys()
  if strangers:
    logging.warning(
        '%d of the %d answers are to questions that are not in the files that '
        'score them, as %s; they count for nothing.', len(strangers),
        len(answers), sorted(strangers)[:3])
  return {'questions': len(answers)} | gqa_scores.score(
      answers, about[0], mode, *about[1:])


def _is_answered(entry, answers):
  """Whether an annotation is of an answered question, or of nobody knows."""
  try:
    return asked.identity(entry['question_id']) in answers
  except (TypeError, KeyError, ValueError):
    return True  # The scorer says what is wrong with it.


def _members(path):
  """{question id: entry} of a file of GQA; None where none is given."""
  if not path:
    return None
  entries = dict(json_stream.members(path))
  wrong = [name for name, entry in entries.items()
           if not isinstance(entry, dict)]
  if wrong or not entries:
    what = f'entry {wrong[0]!r} is no object' if wrong else 'it is empty'
    raise ValueError(
        f'{path} was to be read as a file of GQA, but {what}. It must '
        'be {question id: {…}, …}.')
  return entries


def main() -> None:
  """The command."""
  print(json.dumps(score(
      cli.required(_RESULTS), _ANNOTATIONS.value, _QUESTIONS.value,
      _CHOICES.value, _ENTAILED.value, _MODE.value), indent=2))


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
