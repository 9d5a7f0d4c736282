"""Pictures and COCO's JSON of one's own as a TFDS data set."""
import pathlib

from bst_jax.data.builders import coco_json, of_objects, splitting
from bst_jax.data.builders.located import Located
import tensorflow_datasets as tfds

# Of files, below the folder; the last is how labelling services export it.
_PLACES = '*.json', 'annotations/*.json', '*/_annotations.coco.json'
_SHARE = 0.1  # of the pictures is for evaluation where nobody says which.


class ObjectFolder(of_objects.OfObjects):
  """Pictures with objects in boxes, as a file in COCO's form names them."""

  VERSION = tfds.core.Version('1.0.0')
  BY_FOLDER = True
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(
      name='images', description='Raw pictures with boxes.')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  manual_dir holds pictures, in any folders, and one or several .json in COCO's
  form, in it or in its folder annotations: train.json and val.json, or one for
  all, of which a tenth of the pictures is for evaluation; see README.md in
  bst_jax/data/builders/object_folder.
  """

  def gathered(self, folder: pathlib.Path, problems) -> of_objects.Sorted:
    files = [path for pattern in _PLACES
             for path in sorted(folder.glob(pattern))]
    each = {path.relative_to(folder).as_posix(): coco_json.read(path, problems)
            for path in files}
    categories = coco_json.shared(
        {name: coco.categories for name, coco in each.items()}, self.name)
    located, lists = Located(folder), splitting.lists(folder)
    return of_objects.Sorted(
        *coco_json.columns(categories), (),
        of_objects.of_files({
            name: (coco.annotations, of_objects.paths(
                coco.annotations, located, problems, _inside(name)), lists)
            for name, coco in each.items()}, folder,
                            _SHARE if len(each) == 1 else 0.0))


def _inside(name):
  """The folder that pictures of a file are looked for in first."""
  parent = pathlib.PurePath(name).parent.as_posix()
  return splitting.of_file(name) if parent in ('.', 'annotations') else parent
