"""What a data set that is on disk says of itself."""
from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Facts:
  """Attributes:
    rule: how answers are compared, a name in `answers.RULES`.
    num_regions: regions of a picture at most; 0 if it has none.
    image_size: height and width of all pictures; 0 if they have many.
    types: question types that all its splits together have.
    pictures: split -> ids of its pictures, where they have ids.
    listing: pattern of the captions that name all there is in a picture; ''
      where the data set cannot tell.
    numbers: of the classes of objects in the files that they are of.
    extractor: fingerprint of what made its regions; '' where nobody knows.
  """

  rule: str = 'exact'
  num_regions: int = 0
  image_size: int = 0
  types: tuple[str, ...] = ()
  pictures: Mapping[str, Sequence[str]] = dataclasses.field(
      default_factory=dict)
  listing: str = ''
  numbers: Sequence[int] = ()
  extractor: str = ''


def of(builder: Any) -> Facts:
  """Facts of a TFDS builder whose data set is made."""
  said, config = builder.info.metadata or {}, builder.builder_config
  return Facts(
      said.get('rule', 'exact'),
      said.get('num_regions') or getattr(config, 'num_regions', 0),
      getattr(config, 'image_size', 0), tuple(said.get('types', ())),
      said.get('pictures', {}), getattr(builder, 'LISTING', ''),
      tuple(said.get('numbers', ())), said.get('extractor') or '')
