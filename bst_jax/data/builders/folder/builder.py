"""A folder of pictures with questions as a TFDS data set."""
import pathlib

from bst_jax.data.builders import asked as asked_lib
from bst_jax.data.builders import by_picture
import tensorflow_datasets as tfds

_QUESTIONS, _ANNOTATIONS = '_questions.json', '_annotations.json'


class Folder(by_picture.ByPicture):
  """Pictures of a user's own, with questions in VQA-v2's JSON form."""

  VERSION = tfds.core.Version('1.0.0')
  RULE = 'vqa'
  BY_FOLDER = True
  BUILDER_CONFIGS = [
      by_picture.Config(name='regions', description='Region features.'),
      by_picture.Config(name='images', description='Raw pictures.',
                        content='image'),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  manual_dir holds SPLIT_questions.json and SPLIT_annotations.json in VQA-v2's
  form for each split, and features/ or images/; see README.md in
  bst_jax/data/builders/folder.
  """

  def splits(self, folder: pathlib.Path, problems):
    found = {}
    for questions in sorted(folder.glob(f'*{_QUESTIONS}')):
      split = questions.name.removesuffix(_QUESTIONS)
      if not split.isidentifier():
        raise ValueError(
            f'{questions} was to give a split its name, but {split!r} is none. '
            'Use letters, digits and _, and no digit first.')
      annotations = questions.with_name(split + _ANNOTATIONS)
      found[split] = asked_lib.read(
          questions, annotations if annotations.is_file() else None, problems)
    by_picture.check_disjoint(found, self.name)
    return found
