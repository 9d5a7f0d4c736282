"""Official scores of a file of answers, by the files of VQA-v2 or GQA."""
import json

from absl import flags
from bst_jax.data import gqa_scores, results, vqa_scores
from bst_jax.data.builders import json_stream
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
               and str(entry['question_id']) in answers)
    return {'questions': len(answers)} | vqa_scores.score(answers, entries)
  read = lambda path: dict(json_stream.members(path)) if path else None
  return {'questions': len(answers)} | gqa_scores.score(
      answers, read(questions), mode, read(choices), read(entailed))


def main() -> None:
  """The command."""
  print(json.dumps(score(
      cli.required(_RESULTS), _ANNOTATIONS.value, _QUESTIONS.value,
      _CHOICES.value, _ENTAILED.value, _MODE.value), indent=2))


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
