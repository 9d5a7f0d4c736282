"""VQA-v2 as a TFDS data set in ArrayRecord files."""
import pathlib

from absl import logging
from bst_jax.data.builders import asked as asked_lib
from bst_jax.data.builders import by_picture
from bst_jax.data.builders.vqa_v2 import minival, visual_genome
import tensorflow_datasets as tfds

_QUESTIONS = 'v2_OpenEnded_mscoco_{}_questions.json'
_ANNOTATIONS = 'v2_mscoco_{}_annotations.json'
_COCO = ('train2014', 'val2014', 'test2015')


class VqaV2(by_picture.ByPicture):
  """VQA-v2: questions about COCO pictures, ten answers each."""

  VERSION = tfds.core.Version('1.0.0')
  RULE = 'vqa'
  TYPES = asked_lib.TYPES
  ALIASES = {'val': ('nominival', 'minival')}
  CITATION = ('Y. Goyal, T. Khot, D. Summers-Stay, D. Batra and D. Parikh, '
              'Making the V in VQA Matter, CVPR 2017')
  BUILDER_CONFIGS = [
      by_picture.Config(name='regions', description='Region features.',
                        num_regions=100, feature_size=2048),
      by_picture.Config(name='images', description='Raw pictures.',
                        content='image'),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Fetch from https://visualqa.org/download.html and unpack into manual_dir what
  is to be used; a split whose question file is missing is left out:
    v2_OpenEnded_mscoco_{train2014,val2014,test2015}_questions.json
    v2_mscoco_{train2014,val2014}_annotations.json
    minival_ids.txt: ids of the held-out pictures of val2014, one a line; any
      list that is to be compared with. Without it an eighth is taken.
    VG_questions.json and VG_annotations.json in the same form, or
      question_answers.json and image_data.json of Visual Genome.
  For vqa_v2/regions put below manual_dir/features the bottom-up-attention
  features of all pictures: .tsv files (36 or 10-100 regions), or an .npz file
  for each picture named after it or its number.
  For vqa_v2/images put the pictures below manual_dir/{train2014,val2014,
  test2015}.
  """

  def splits(self, folder: pathlib.Path, problems):
    found = {}
    for subset, split in zip(_COCO, ('train', 'val', 'test')):
      questions = folder / _QUESTIONS.format(subset)
      annotations = folder / _ANNOTATIONS.format(subset)
      if not questions.is_file():
        continue
      found[split] = asked_lib.read(
          questions, None if split == 'test' else annotations, problems, subset)
    by_picture.check_disjoint(found, self.name)

    held_out = set()
    if 'val' in found:
      val = found.pop('val')
      held_out = minival.choose(folder, val)
      found['nominival'] = by_picture.without(val, held_out)
      found['minival'] = {p: of for p, of in val.items() if p in held_out}
    extra = visual_genome.read(folder, problems)
    allowed = by_picture.without(extra, held_out | found.get('test', {}).keys())
    if len(allowed) < len(extra):
      logging.info('%d pictures of minival or test are left out of vg.',
                   len(extra) - len(allowed))
    found['vg'] = allowed
    return {split: asked for split, asked in found.items() if asked}

  def pictures_of(self, folder, split):
    del split
    return [folder / subset for subset in _COCO]
