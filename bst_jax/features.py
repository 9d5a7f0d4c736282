"""Finds regions in pictures and keeps their features, for models that read them."""
import pathlib

from absl import flags
from bst_jax.data import picture_source, region_store
from bst_jax.host import cli
from bst_jax.run import extractor as extractors
from bst_jax.run import features as features_lib
from bst_jax.store import best
import jax

_WORKDIR = cli.define_workdir('Folder of a trained detector.')
_IMAGES = flags.DEFINE_string(
    'images', None, 'Folder with pictures, anywhere below it; or a data set, as '
    'digit_scenes/easy.', allow_override=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Folder to write; the same command goes on in one that is '
    'not complete.', allow_override=True)
_STEP = flags.DEFINE_string('step', None, best.STEP_HELP, allow_override=True)
_BATCH = flags.DEFINE_integer(
    'batch', 8, 'Pictures at a time, of this process.', lower_bound=1,
    allow_override=True)
_REGIONS = flags.DEFINE_integer(
    'regions', 0, 'Regions of a picture at most; 0 for as many as the detector '
    'says.', lower_bound=0, allow_override=True)
_DTYPE = flags.DEFINE_enum(
    'dtype', 'float16', region_store.DTYPES, 'How features are stored.',
    allow_override=True)
_SPLITS = flags.DEFINE_list(
    'splits', [], 'Splits of the data set; all if left out.',
    allow_override=True)
_DATA_DIR = flags.DEFINE_string(
    'data_dir', '', 'Home of data sets; BST_JAX_DATA or a cache if left out.',
    allow_override=True)
_MANUAL_DIR = flags.DEFINE_string(
    'manual_dir', '', 'Files that the data set is made from, where it is not '
    'made yet.', allow_override=True)

FIRST = ('workdir', 'images', 'output', 'batch')
DESCRIPTION = """Writes region features of pictures, which a trained detector finds.

They are kept as ArrayRecord files with boxes, classes and scores. Models that
read regions take them by config.data.features=OUTPUT for pictures of a data set;
for a folder of questions of your own they lie in its features/. A run that was
stopped goes on by the same command; several processes share the work. A picture
that cannot be read is named, and has no regions."""
EXAMPLES = """python -m bst_jax.features --workdir runs/tee --images pictures --output my_questions/features
python -m bst_jax.features --workdir runs/tee --images digit_scenes/easy --output features/easy
python -m bst_jax.train --config configs/quickstart.py --config.data.features=features/easy --config.teacher.data.features=features/easy --workdir runs/on_regions"""


def main() -> None:
  """The command."""
  cli.start()
  workdir = pathlib.Path(cli.required(_WORKDIR))
  images, output = cli.required(_IMAGES), pathlib.Path(cli.required(_OUTPUT))
  extractor = extractors.Extractor(
      workdir, best.step_of(workdir, _STEP.value), _BATCH.value, _REGIONS.value)
  source = picture_source.of(images, _DATA_DIR.value, _MANUAL_DIR.value,
                             _SPLITS.value)
  about, bad = features_lib.write(extractor, source, output, _DTYPE.value)
  if jax.process_index() == 0:
    total = sum(about.splits.values())
    print(f'{output}: {about.num_regions} regions of {about.feature_size} '
          f'features at most, of {total - len(bad):,} of {total:,} pictures, by '
          f'extractor {about.extractor}')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
