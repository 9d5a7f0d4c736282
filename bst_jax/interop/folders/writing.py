"""Folders that transformers opens: the inverse of reading one."""
from collections.abc import Mapping, Sequence
import importlib
import json
import pathlib
from typing import Any

from bst_jax.elastic import flatten
from bst_jax.host import files as host_files
from bst_jax.interop import core, files
from bst_jax.interop.folders import card, pictures, source, standard
from flax import linen as nn
import numpy as np

_PICTURES = 'preprocessor_config.json'


def write(output: pathlib.Path, model: nn.Module, name: str, params: Any, *,
          labels: Sequence[str], fit: str, missing: Sequence[str] = (),
          checkpoint: str | None = None,
          measured: Sequence[card.Score] = ()) -> int:
  """Writes a folder that transformers opens, whole or not at all.

  Args:
    output: the folder, which is empty or not there.
    model: the module.
    name: of the backbone.
    params: a nested dict of arrays.
    labels: names of the classes; numbers if empty.
    fit: how pictures come to their size, of `image.FITS`.
    missing: names at the top of the parameters that are random, a head and
      what belongs to it, which are left out.
    checkpoint, measured: see `card.text`.

  Returns:
    Its number of tensors.

  Raises:
    NotThere: transformers has no class for the model.
    ValueError: the labels are of other classes.
  """
  there = standard.of(model, name)
  classes = model.num_answers
  if labels and len(labels) != classes:
    raise ValueError(
        f'the workdir names {len(labels):,} classes, but its model tells '
        f'{classes:,} apart; put the vocabulary there that it was trained with.')
  sides = (tuple(model.clip_size) if hasattr(model, 'clip_size')
           else model.sides)
  table = importlib.import_module(f'bst_jax.interop.{there.table}').TABLE
  known = {key: value for key, value in params.items() if key not in missing}
  tensors = there.tensors(core.write(table, known))
  auto = 'AutoModel' + ('' if missing else (
      'ForVideoClassification' if len(sides) == 3 else
      'ForImageClassification'))
  texts = {
      source.CONFIG: _json(_config(there, labels, classes, missing)),
      _PICTURES: _json(pictures.told(
          model.mean, model.std, sides[-2:], fit, len(sides) == 3)),
      'README.md': card.text(
          output.resolve().name, auto, 0 if missing else classes, sides,
          checkpoint, measured,
          sum(int(np.size(x)) for x in flatten(known).values()))}
  with host_files.folder_beside(output) as place:
    files.save(place / source.WEIGHTS, tensors)
    for file, written in texts.items():
      (place / file).write_text(written, 'utf-8')
  return len(tensors)


def _config(there, labels, classes, missing) -> Mapping[str, Any]:
  """What config.json says."""
  kind = there.kind + ('Model' if missing else there.head)
  config = {'architectures': [kind], **there.config, 'dtype': 'float32'}
  if missing or not labels:
    return config | {'num_labels': classes}
  return config | {
      'id2label': {str(i): label for i, label in enumerate(labels)},
      'label2id': {label: i for i, label in enumerate(labels)}}


def _json(value):
  return json.dumps(value, indent=2, ensure_ascii=False) + '\n'
