"""Splits of a data set: their rows and their pictures, read when asked for."""
from collections.abc import Mapping
from typing import Any, NamedTuple

from bst_jax.data import answers as answers_lib
from bst_jax.data import augment as augment_lib
from bst_jax.data import clips as clips_lib
from bst_jax.data import facts as facts_lib
from bst_jax.data import forms, region_store
from bst_jax.data import image as image_lib
from bst_jax.data import kinds as kinds_lib
from bst_jax.data import pictures as pictures_lib
from bst_jax.data import records as records_lib
from bst_jax.elastic import check_name


class Opened(NamedTuple):
  """A data set with its form, options and inputs.

  Attributes:
    builder: of TFDS.
    name: of the form.
    form: what a row is.
    options: checked.
    kinds: names of the inputs.
  """

  builder: Any
  name: str
  form: forms.Form
  options: Any
  kinds: tuple[str, ...]


def opened(builder: Any, config: Mapping) -> Opened:
  """Form, options and inputs of a data set, which need not be made yet.

  Raises:
    ValueError: its records lack what form or inputs read, or an option is wrong.
  """
  features, data = builder.info.features, builder.info.full_name
  name = forms.pick(config.get('form', 'auto'), features, data)
  form = forms.create(name, features)
  options = form.options.of(config, form.what)
  kinds = form.kinds(options, features)
  for kind in kinds:
    parts, of_regions = kinds_lib.KINDS[kind].parts, (
        kind in kinds_lib.INPUTS['regions'])
    if set(parts) & set(features) or (
        of_regions and getattr(options, 'features', '')):
      continue
    if of_regions and 'image' in features:
      raise ValueError(
          f'Regions of pictures were to be read, but the records of {data} have '
          'pictures alone. A trained detector finds regions: python -m '
          'bst_jax.features --workdir DETECTOR --images '
          f'{builder.name} --output FOLDER; then give '
          "config.data.features=FOLDER. Or let a model read raw pictures, "
          "config.data.inputs=('image',).")
    check_name(parts[0], features, f'part of the records of {data}')
  return Opened(builder, name, form, options, kinds)


class Split(NamedTuple):
  """Rows of a split as they were read, and its pictures by number."""

  rows: Any
  pictures: pictures_lib.Pictures | clips_lib.Clips


class Splits:
  """The splits of a data set.

  Attributes:
    context: what the form may ask of the data set.
  """

  def __init__(self, opened: Opened):
    self._builder, self._name, self._form, self._options, self._kinds = opened
    self._recipe = getattr(self._options, 'recipe', augment_lib.Recipe())
    self._facts, self._read = facts_lib.of(self._builder), {}
    folder = getattr(self._options, 'features', '')
    self._store = region_store.Store(folder) if folder else None
    self._tagged = getattr(self._options, 'max_tags', 0) > 0
    fixed = f'{self._facts.rule}_fixed'
    features = dict(self._builder.info.features)
    if self._store:  # Classes of regions are tags where there are no others.
      features.setdefault('tags', None)
    self.context = forms.Context(
        self._options, features, self._facts, self.rows,
        fixed if getattr(self._options, 'scoring', '') == 'fixed'
        and fixed in answers_lib.RULES else self._facts.rule, self._texts)

  def of(self, name: str) -> Split:
    """The split of that name, or those joined of 'a+b'."""
    if name not in self._read:
      form, options = self._form, self._options
      features = self._builder.info.features
      labels = form.labels(self.context) if form.labels else {}
      kinds = {kind: kinds_lib.KINDS[kind] for kind in self._kinds} | labels
      others = kinds_lib.INPUTS['regions'] if self._store else ()
      parts = dict.fromkeys(part for kind in kinds.values()
                            for part in kind.parts
                            if part in features and part not in others)
      read = lambda parts: self._with_regions(name, records_lib.read(
          self._builder, name, [*parts], options.limit))
      records = read(parts)
      self._check_any(len(records), name)
      rows = form.beside(records) if form.beside else None
      if rows is None:  # Both come of the same records.
        records = read(dict.fromkeys(form.parts) | parts)
      pictures = self._pictures(records, kinds)
      if rows is None:
        rows = form.read(pictures.keep(records_lib.progress(records)),
                         records.lengths, self.context)
      self._check_any(rows.start[-1], name)
      self._read[name] = Split(rows, pictures)
    return self._read[name]

  @property
  def extractor(self) -> str:
    """Fingerprint of what made the regions; '' where nobody knows."""
    return self._store.about.extractor if self._store else self._facts.extractor

  def _with_regions(self, split, records):
    """The records, with the regions of `config.data.features` if that is set."""
    if self._store is None:
      return records
    return region_store.WithRegions(records, self._store, {
        part: self._builder.info.splits[part].num_examples
        for part in records_lib.parts_of(self._builder, split)}, self._tagged)

  def _texts(self, split, names):
    """The texts of a split's rows in these forms, one form after the other."""
    found = []
    for name in names:
      form = forms.create(
          forms.pick(name, self._builder.info.features,
                     self._builder.info.full_name))
      context = self.context if name == self._name else (
          self.context._replace(options=form.options()))
      rows = self._rows_alone(split, form, context)
      if not hasattr(rows, 'texts'):
        raise ValueError(f'config.data.words_of names the form {name!r}, whose '
                         'rows have no texts; leave it out.')
      found += rows.texts
    return found

  def _pictures(self, records, kinds):
    """What models read of the records of a split."""
    options, facts = self._options, self._facts
    strip = (self._builder.info.metadata or {}).get('strip', 0)
    size = self.size(strip) if {'image', 'clip'} & set(kinds) else 0
    if 'clip' in kinds:
      return clips_lib.Clips(records, options, size, strip, self._recipe)
    reading = kinds_lib.Reading(
        num_regions=getattr(options, 'num_regions', 0) or (
            self._store.about.num_regions if self._store
            else facts.num_regions),
        blank_regions=getattr(options, 'blank_regions', False),
        image_size=size, image_fit=options.image_fit,
        image_shorter=options.image_shorter, name=records.name)
    return pictures_lib.Pictures(records, kinds, reading, options.cache,
                                 self._recipe, bool(options.canvases))

  def size(self, strip: int = 0) -> tuple[int, int]:
    """Height and width of a picture or frame of a batch."""
    options, what = self._options, 'videos' if strip else 'pictures'
    if options.image_size or self._facts.image_size:
      return image_lib.sides(options.image_size or self._facts.image_size)
    features = self._builder.info.features
    feature = next(features[part] for part in ('image', 'strip', 'video')
                   if part in features)
    height, width = (*feature.shape, None, None)[:2]
    if not height or not width:
      raise ValueError(
          f'The {what} of {options.name} were asked for as they are, but they '
          'have many sizes and a batch has one. Give config.data.image_size.')
    return height // max(strip, 1), width

  def rows(self, name: str) -> Any:
    """Rows of a split, read without its pictures where none are needed."""
    if name == self._options.train or name in self._read:
      return self.of(name).rows
    return self._rows_alone(name, self._form, self.context)

  def _rows_alone(self, split, form, context):
    """Rows of a split in a form, without its pictures."""
    records = records_lib.read(self._builder, split, form.parts,
                               self._options.limit)
    rows = form.beside(records) if form.beside else None
    if rows is None:
      if self._tagged:
        records = self._with_regions(split, records)
      rows = form.read(records_lib.progress(records), records.lengths, context)
    return rows

  def _check_any(self, count, split):
    if not count:
      raise ValueError(
          f'Split {split!r} of {self._options.name} has no {self._form.what}: '
          'there is nothing to train on or to evaluate. Use another split, or '
          'another config.data.form.')

  def check(self) -> None:
    """Raises where a split of config.data is not there, or was trained on."""
    records_lib.parts_of(self._builder, self._options.train)
    options = self._options
    for split in (options.eval, options.watch, options.held_out):
      if split:
        self.check_unseen(split)

  def check_unseen(self, name: str) -> None:
    """Raises where there is no such split, or training shows its pictures."""
    train = records_lib.parts_of(self._builder, self._options.train)
    parts, pictures = records_lib.parts_of(self._builder, name), (
        self._facts.pictures)
    if self._form.known_by == 'split':
      both = sorted(set(parts) & set(train))
      what = f'shows {both}'
    else:
      shown = {p for part in train for p in pictures.get(part, ())}
      both = [p for part in parts for p in pictures.get(part, ()) if p in shown]
      what = f'on {self._options.train!r} shows {len(both)} of its pictures, as '
      what = f'{what}{both[:3]}'
    if both and not self._options.allow_overlap:
      raise ValueError(
          f'Split {name!r} was to be evaluated, but training {what}: the '
          'accuracy would say too much. Use another split, or '
          'config.data.allow_overlap (evaluate: --allow_overlap) if that is '
          'meant.')
