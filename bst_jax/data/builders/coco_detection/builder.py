"""COCO 2017's objects as a TFDS data set in ArrayRecord files."""
import pathlib

from bst_jax.data.builders import coco_json, of_objects
from bst_jax.data.builders.located import Located
import tensorflow_datasets as tfds

# Split -> its file and the folder of its pictures.
_FILES = {'train': ('instances_train2017.json', 'train2017'),
          'val': ('instances_val2017.json', 'val2017'),
          'test': ('image_info_test-dev2017.json', 'test2017')}


class CocoDetection(of_objects.OfObjects):
  """COCO 2017's pictures with boxes of 80 classes."""

  VERSION = tfds.core.Version('1.0.0')
  CITATION = ('T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, '
              'ECCV 2014')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(
      name='2017', description='Raw pictures with boxes.')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Unpack into manual_dir what is to be used of annotations_trainval2017.zip and
  image_info_test2017.zip, of https://cocodataset.org/#download, and of
  train2017.zip, val2017.zip and test2017.zip:
    annotations/instances_train2017.json, train2017/000000000009.jpg, …
    annotations/instances_val2017.json, val2017/…
    annotations/image_info_test-dev2017.json, test2017/…
  A split whose JSON is missing is left out; that of test has no boxes.
  """

  def gathered(self, folder: pathlib.Path, problems) -> of_objects.Sorted:
    found, located = {}, Located(folder)
    for split, (name, inside) in _FILES.items():
      path = next((place for place in (folder / 'annotations' / name,
                                       folder / name) if place.is_file()), None)
      if path:
        found[split] = coco_json.read(path, problems), inside
    categories = coco_json.shared(
        {split: coco.categories for split, (coco, _) in found.items()},
        self.name)
    return of_objects.Sorted(
        *coco_json.columns(categories), (),
        {split: (coco.annotations, of_objects.paths(
            coco.annotations, located, problems, inside))
         for split, (coco, inside) in found.items()})
