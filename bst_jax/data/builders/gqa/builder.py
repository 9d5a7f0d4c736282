"""GQA as a TFDS data set in ArrayRecord files."""
from collections.abc import Mapping
import pathlib

from bst_jax.data.builders import asked as asked_lib
from bst_jax.data.builders import by_picture, json_stream
from bst_jax.data.builders.asked import Question
import tensorflow_datasets as tfds

# Split -> its file, and whether it has answers.
_FILES = {
    'train': ('train_balanced_questions.json', True),
    'val': ('val_balanced_questions.json', True),
    'testdev': ('testdev_balanced_questions.json', True),
    'test': ('test_balanced_questions.json', False),
}


class Gqa(by_picture.ByPicture):
  """GQA's balanced questions about Visual Genome pictures, one answer each."""

  VERSION = tfds.core.Version('1.0.0')
  RULE = 'gqa'
  TYPES = ('choose', 'compare', 'logical', 'query', 'verify')
  CITATION = ('D. A. Hudson and C. D. Manning, GQA: A New Dataset for '
              'Real-World Visual Reasoning and Compositional Question '
              'Answering, CVPR 2019')
  BUILDER_CONFIGS = [
      by_picture.Config(name='regions', description='Object features.',
                        num_regions=100, feature_size=2048),
      by_picture.Config(name='images', description='Raw pictures.',
                        content='image'),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Fetch from https://cs.stanford.edu/people/dorarad/gqa/download.html and unpack
  into manual_dir what is to be used; a split whose file is missing is left out:
    {train,val,testdev,test}_balanced_questions.json
  For gqa/regions put below manual_dir/features the object features:
  gqa_objects_*.h5 with gqa_objects_info.json (needs h5py), or an .npz file for
  each picture named after its id.
  For gqa/images put the pictures below manual_dir/images.
  """

  def splits(self, folder: pathlib.Path, problems):
    found = {}
    for split, (name, answered) in _FILES.items():
      if (folder / name).is_file():
        found[split] = read(folder / name, answered, problems)
    by_picture.check_disjoint(found, self.name)
    return found


def read(path: pathlib.Path, answered: bool,
         problems) -> dict[str, list[Question]]:
  """Questions of a GQA file by picture.

  Their types are the structural ones; a file without answers has them under
  'query'.
  """
  asked = asked_lib.Asked(problems, path.name)
  for identity, entry in json_stream.members(path):
    wanted = {'imageId', 'question'} | ({'answer', 'types'} if answered
                                        else set())
    if not isinstance(entry, Mapping) or not wanted <= entry.keys() or (
        answered and not isinstance(entry['types'], Mapping)):
      asked.bad('malformed question', f'question {identity}')
      continue
    try:
      picture = asked_lib.identity(entry['imageId'])
    except ValueError as error:
      asked.bad('malformed question', f'question {identity}, picture: {error}')
      continue
    truth = asked_lib.one_line(entry['answer']) if answered else ''
    kind = entry['types'].get('structural') if answered else 'query'
    asked.add(picture, Question(
        identity, entry['question'], str(kind or 'query'), truth,
        (truth,) if answered else ()))
  if not asked.pictures:
    raise ValueError(f'{path} was to be read as a GQA file, but has no usable '
                     f'question. Fetch it again.{problems.told()}')
  return dict(asked.pictures)
