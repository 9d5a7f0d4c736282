"""A trained network as an object: what `bst_jax.load` returns."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import importlib
import json
import os
import pathlib
import tempfile
from typing import Any

from absl import logging
from bst_jax.elastic import FULL, Submodel
from bst_jax.run import experiment
from bst_jax.run.experiment import Experiment
from bst_jax.store import checkpoint
from flax import linen as nn
import jax
import numpy as np

File = str | os.PathLike


@dataclasses.dataclass(frozen=True)
class Loaded:
  """A trained network, or a submodel of one, ready to be asked.

    net = bst_jax.load('runs/quickstart')
    net.predict('docs/scene.png', 'How many squares are there?')
    small = net.at('1/2x1/2')
    logits = small.logits(small.batch('docs/scene.png', 'What digit is red?'))

  Attributes:
    workdir: where it was loaded from.
    experiment: config, task, space and axis names of the full network.
    model: the Flax module of this submodel, an ordinary smaller model.
    params: its parameters, a nested dict of arrays.
    submodel: which part of the full network it is.
    regions: picture file -> a record of its regions, see `with_extractor`.
  """

  workdir: pathlib.Path
  experiment: Experiment
  model: nn.Module
  params: Any
  submodel: Submodel = FULL
  regions: Callable[[File], Mapping[str, Any]] | None = None

  def at(self, submodel: str | Submodel) -> Loaded:
    """A smaller part of it, as '1/2x1/3': width x depth of the full network.

    Raises:
      ValueError: there is no such part, or this is already a part.
    """
    if self.submodel != FULL:
      raise ValueError(f'{submodel} of {self.submodel} was asked for, but a '
                       'submodel has no submodels; ask the full network.')
    sub = self.experiment.parse_one(str(submodel), 'answers')
    return dataclasses.replace(
        self, model=self.experiment.model.at(sub), submodel=sub,
        params=self.experiment.extract(self.params, sub))

  def with_extractor(self, extractor: Any) -> Loaded:
    """The same, with a detector that finds the regions that it reads.

      net = bst_jax.load('runs/mcan').with_extractor(Extractor('runs/tee'))
      net.predict('photo.jpg', 'What is on the table?')

    Args:
      extractor: of `bst_jax.run.extractor`.

    Raises:
      ValueError: the network was trained on regions of another one.
    """
    from bst_jax.data import vocabularies

    config = self.experiment.config.data
    known = vocabularies.extractor(self.workdir / experiment.VOCAB)
    wanted = self.experiment.sizes.get('feature_size')
    if wanted is None:
      raise ValueError(
          f'{self.workdir} reads {", ".join(config.get("inputs", ("pictures",)))}'
          ' and no regions; leave the extractor out.')
    if known and known != extractor.fingerprint:
      raise ValueError(
          f'{self.workdir} was trained on regions of extractor {known}, but '
          f'{extractor.workdir} is {extractor.fingerprint}; its numbers mean '
          'other things. Give the workdir, step and number of regions that the '
          'features were made with.')
    if wanted != extractor.feature_size:
      raise ValueError(
          f'{self.workdir} reads regions of {wanted} features, but those of '
          f'{extractor.workdir} have {extractor.feature_size}. Give the detector '
          'that made the features of its training.')
    if not known:
      logging.warning('Nothing tells which extractor %s was trained with; with '
                      'another one its answers mean nothing.', self.workdir)
    return dataclasses.replace(self, regions=extractor.record)

  @functools.cached_property
  def vocabularies(self) -> Mapping[str, Any]:
    """{'words', 'answers'} as there are: of texts, and what is told apart."""
    from bst_jax.data import vocabularies  # Not every use has data.

    return vocabularies.names(self.workdir / experiment.VOCAB)

  @property
  def answers(self) -> Sequence[str]:
    """The answers, or classes, in the order of the logits."""
    return self.vocabularies.get('answers', ())

  def batch(self, picture: File | Sequence[File],
            question: str | None = None) -> dict[str, np.ndarray]:
    """Files and a question as the batch of one row that the model takes.

    Rows of several such batches may be concatenated.

    Args:
      picture: a picture or video file; two for models that compare two.
      question: for models that are asked something.

    Raises:
      ValueError: see `data.single.batch`.
    """
    from bst_jax.data import single

    return single.batch(self.experiment.config.data, self.experiment.sizes,
                        self.vocabularies.get('words'), picture, question,
                        self.regions)

  def outputs(self, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
    """All outputs by name; compiled once for each shape of a batch."""
    return self._run(self.params, dict(batch))

  def logits(self, batch: Mapping[str, Any]) -> jax.Array:
    """float32[B, A], the main output."""
    return self.outputs(batch)[self.experiment.task.outputs[0]]

  def predict(self, picture: File | Sequence[File],
              question: str | None = None, top: int = 5
              ) -> list[tuple[str, float]]:
    """[(answer or class, probability), …], the `top` most probable ones first.

    The probability is the model's own: of VQA models each answer's, which need
    not sum to one. Arguments and errors are those of `batch`.
    """
    return self.tell(self.batch(picture, question), top)

  def tell(self, batch: Mapping[str, Any], top: int = 5
           ) -> list[tuple[str, float]]:
    """What `predict` says of the first row of a batch."""
    outputs = jax.device_get(self.outputs(batch))
    return self.experiment.task.tell(outputs, self.answers)[0][:top]

  @functools.cached_property
  def _run(self):
    model = self.model
    return jax.jit(lambda params, batch: model.apply({'params': params}, batch))


def load(workdir: File, submodel: str | Submodel = FULL,
         step: int | None = None) -> Loaded:
  """Loads a trained, extracted or converted network, or one of others.

  Args:
    workdir: that train, extract or convert wrote; or a folder of transformers
      or timm, or hf:ORGANISATION/NAME, which is converted for this process.
    submodel: the part of it that is wanted, as '1/2x1/3'.
    step: checkpoint; the newest if None.

  Raises:
    ValueError: no such workdir, checkpoint or submodel; or a network of others
      of which there is no model here, see `bst_jax.convert`.
  """
  workdir = _converted(workdir) if _is_foreign(workdir) else pathlib.Path(
      workdir)
  exp = experiment.load(workdir)
  params = checkpoint.load_params(workdir, exp.shapes, step)
  whole = Loaded(workdir, exp, exp.model, params)
  sub = exp.parse_one(str(submodel), 'answers')
  return whole if sub == FULL else whole.at(sub)


def _is_foreign(workdir):
  """Whether a folder is another library's, or this is an address of a hub."""
  try:
    about = json.loads(pathlib.Path(workdir, 'config.json').read_text('utf-8'))
  except (OSError, ValueError):
    about = {}
  return str(workdir).startswith('hf:') or (
      isinstance(about, dict) and 'data' not in about
      and ('model_type' in about or 'architecture' in about))


# Folders of converted networks, which go when the process ends.
_FOLDERS = []


def _converted(folder):
  """A workdir of a network of others, that is there until the process ends."""
  # By name: only the command knows what others call their parameters.
  convert = importlib.import_module('bst_jax.convert')
  made = tempfile.TemporaryDirectory(prefix='bst_jax_')
  _FOLDERS.append(made)
  workdir = pathlib.Path(made.name, 'converted')
  convert.read(None, None, folder, workdir)
  logging.info(
      '%s was converted for this process. To keep it, and to train, extract or '
      'export it: bst-jax convert --checkpoint %s --workdir runs/converted',
      folder, folder)
  return workdir
