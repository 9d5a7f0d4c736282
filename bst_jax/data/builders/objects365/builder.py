"""Objects365 as a TFDS data set in ArrayRecord files."""
import pathlib

from bst_jax.data.builders import coco_json, of_objects, splitting
from bst_jax.data.builders.located import Located
import tensorflow_datasets as tfds

# Of the second version, of the first, and one of both splits together.
_FILES = ('zhiyuan_objv2_train.json', 'zhiyuan_objv2_val.json',
          'objects365_train.json', 'objects365_val.json', 'objects365.json')


class Objects365(of_objects.OfObjects):
  """Objects365's pictures with boxes of 365 classes."""

  VERSION = tfds.core.Version('1.0.0')
  CITATION = ('S. Shao et al., Objects365: A Large-scale, High-quality Dataset '
              'for Object Detection, ICCV 2019')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(
      name='images', description='Raw pictures with boxes.')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Put into manual_dir what is to be used of zhiyuan_objv2_train.json and
  zhiyuan_objv2_val.json, or of objects365_train.json and objects365_val.json,
  of https://www.objects365.org, and unpack the patches below it, as
  train/patch0/….
  Pictures are found by the name that the JSON gives them, or by the last part
  of it. One file, objects365.json, may hold both splits: its pictures then have
  a field 'split', or train.txt and val.txt list them, a name a line.
  Patches that are left out are missing pictures: config.data.max_bad says how
  many there may be.
  """

  def gathered(self, folder: pathlib.Path, problems) -> of_objects.Sorted:
    files = {name: coco_json.read(folder / name, problems) for name in _FILES
             if (folder / name).is_file()}
    categories = coco_json.shared(
        {name: coco.categories for name, coco in files.items()}, self.name)
    located, lists = Located(folder), splitting.lists(folder)
    return of_objects.Sorted(
        *coco_json.columns(categories), (),
        of_objects.of_files({
            name: (coco.annotations, of_objects.paths(
                coco.annotations, located, problems), lists)
            for name, coco in files.items()}, folder))
