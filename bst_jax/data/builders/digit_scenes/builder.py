"""Digit scenes as a TFDS data set in ArrayRecord files, PNG pictures."""
import dataclasses
import io
import itertools

from bst_jax.data.builders.digit_scenes import (
  examples,
  features,
  find,
  programs,
  scenes,
)
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

_BLOCK = 256  # pictures whose plates are read together


@dataclasses.dataclass
class Config(tfds.core.BuilderConfig):
  """A family of scenes and the number of pictures of its splits."""

  layout: scenes.Layout = scenes.EASY
  types: tuple[str, ...] = programs.EASY
  splits: tuple[tuple[str, int], ...] = ()

  @property
  def num_regions(self) -> int:
    """The greatest number of plates of a picture."""
    return self.layout.plates[1]

  @property
  def image_size(self) -> int:
    return self.layout.image_size


class DigitScenes(tfds.core.GeneratorBasedBuilder):
  """Synthetic scenes of real handwritten digits; made here, no download."""

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS = [
      Config(name='easy', description='2 to 4 plates, 6 question types.',
             splits=(('train', 6_000), ('val', 600), ('test', 1_000))),
      Config(name='full', description='3 to 6 plates, 13 question types.',
             layout=scenes.FULL, types=programs.FULL,
             splits=(('train', 9_000), ('val', 800), ('test', 1_500),
                     ('comp', 1_000))),
      Config(name='tiny', description='The first pictures of easy.',
             splits=(('train', 96), ('val', 32), ('test', 32))),
  ]

  # Captions that name every plate begin so; see `captions`.
  LISTING = r'a (small|large) '

  # A picture -> region features and boxes of the plates found in it.
  read_regions = staticmethod(find.regions)

  def _info(self) -> tfds.core.DatasetInfo:
    f = tfds.features
    size = self.builder_config.layout.image_size
    return tfds.core.DatasetInfo(
        builder=self,
        description='Synthetic scenes of real handwritten digits on colored '
                    'plates, with questions, ten answers each, captions and '
                    'statements about pairs of pictures. Not VQA-v2.',
        license='Digits: CC BY 4.0',
        citation='E. Alpaydin and C. Kaynak, Optical Recognition of '
                 'Handwritten Digits, UCI Machine Learning Repository, 1998, '
                 'doi:10.24432/C50P49',
        # Statements name the other picture by its place in the split.
        disable_shuffling=True,
        features=f.FeaturesDict({
            'image': f.Image(shape=(size, size, 3), encoding_format='png'),
            'regions': f.Tensor(shape=(None, features.SIZE),
                                dtype=np.float32),
            'boxes': f.Tensor(shape=(None, 4), dtype=np.float32),
            'plates': f.Sequence({
                'digit': f.ClassLabel(names=scenes.DIGITS),
                'color': f.ClassLabel(names=scenes.COLORS),
                'shape': f.ClassLabel(names=scenes.SHAPES),
                'size': f.ClassLabel(names=scenes.SIZES),
                'ink': f.ClassLabel(names=scenes.INKS),
                'image': np.int64,
            }),
            'questions': f.Sequence({
                'question': f.Text(),
                'type': f.Text(),
                'answer': f.Text(),
                # Ten, one a line: TFDS needs TensorFlow for a list in a list.
                'answers': f.Text(),
            }),
            'captions': f.Sequence(f.Text()),
            'statements': f.Sequence({
                'statement': f.Text(),
                'other': np.int64,
                'label': np.bool_,
            }),
        }))

  def _split_generators(self, dl_manager):
    return {split: self._generate_examples(split, pictures)
            for split, pictures in self.builder_config.splits}

  def _generate_examples(self, split: str, pictures: int):
    config = self.builder_config
    found = examples.generate(config.layout, config.types, split, pictures)
    for start in itertools.count(0, _BLOCK):
      block = list(itertools.islice(found, _BLOCK))
      if not block:
        return
      boxes = [scenes.boxes(config.layout, e.plates) for e in block]
      windows = [features.crop(e.image, b) for e, b in zip(block, boxes)]
      read = features.encode(np.concatenate(windows))
      ends = np.cumsum([len(b) for b in boxes])[:-1]
      for i, (example, box, regions) in enumerate(
          zip(block, boxes, np.split(read, ends))):
        yield start + i, _record(example, box, regions)


def _record(example: examples.Example, boxes: np.ndarray,
            regions: np.ndarray) -> dict:
  """A picture's record. Region features are floats, whose last bits may differ
  between machines; everything else is exact.
  """
  encoded = io.BytesIO()
  Image.fromarray(example.image).save(encoded, 'png')
  return {
      'image': encoded.getvalue(), 'regions': regions, 'boxes': boxes,
      'plates': [{name: getattr(p, name) for name in
                  ('digit', 'color', 'shape', 'size', 'ink', 'image')}
                 for p in example.plates],
      'questions': [{'question': q.text, 'type': q.type, 'answer': q.answer,
                     'answers': '\n'.join(q.answers)}
                    for q in example.questions],
      'captions': example.captions,
      'statements': [{'statement': s.text, 'other': s.other, 'label': s.label}
                     for s in example.statements],
  }
