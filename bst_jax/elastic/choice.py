"""All that can be chosen about a trained model, as one file says it."""
from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import json
from typing import Any

from bst_jax.elastic.lookup import check_name
from bst_jax.elastic.submodels import FULL, Submodel


@dataclasses.dataclass(frozen=True)
class Choice:
  """Everything that can be chosen about a trained model; `choice.json`.

  Attributes:
    submodel: width and depth (BST).
    skip: names of the layers that are skipped (DAS).
    keep: living indices by `scope:axis` (UP-ViTs); an empty scope is the whole
      model.
    tokens: settings of the model's `ats`: which layers sample, at how many
      points, into how many slots (ATS).
  """

  submodel: Submodel = FULL
  skip: tuple[str, ...] = ()
  keep: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
  tokens: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def to_json(self) -> str:
    """One JSON object; `from_json` reads it back."""
    return json.dumps({
        'submodel': str(self.submodel),
        'skip': list(self.skip),
        'keep': {k: list(v) for k, v in self.keep.items()},
        'tokens': dict(self.tokens),
    }, indent=2)

  @classmethod
  def from_json(cls, text: str) -> Choice:
    """Reads `to_json`; an unknown key is an error."""
    fields = json.loads(text)
    for key in fields:
      check_name(key, ('submodel', 'skip', 'keep', 'tokens'), 'choice')
    return cls(
        Submodel.parse(fields.get('submodel', '1x1')),
        tuple(fields.get('skip', ())),
        {k: tuple(v) for k, v in fields.get('keep', {}).items()},
        dict(fields.get('tokens', {})))
