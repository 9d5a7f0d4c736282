"""The official PVTv2 <-> models/pvt.py, with reduction_eps=1e-5."""
from collections.abc import Mapping

from bst_jax.interop.core import (
  CONV,
  LINEAR,
  LINEAR_FROM_HEADS,
  linear_rows,
  norm_rows,
  Row,
  VECTOR,
)

_STAGES = 4
# Of a layer, by the official names, which timm shares but for one.
NAMES = {
    'norm1': 'norm1', 'norm2': 'norm2', 'query': 'attn.q', 'keys': 'attn.kv',
    'out': 'attn.proj', 'reduction': 'attn.sr', 'reduction_norm': 'attn.norm',
    'fc1': 'mlp.fc1', 'fc2': 'mlp.fc2', 'conv': 'mlp.dwconv.dwconv'}


def stage_rows(stage: int, embed: tuple[str, str], layer: str, norm: str,
               names: Mapping[str, str]) -> tuple[Row, ...]:
  """The rows of a stage.

  Args:
    stage: its number, from 0.
    embed: foreign names of the convolution in front and of what normalises it.
    layer: of a layer, with `{i}` for its number.
    norm: of the normalisation behind it.
    names: of what is in a layer, by what it is here; `keys` is one matrix of
      keys and values, `key` and `value` are two.
  """
  mine = f'stage_{stage}/layer_{{i}}'
  attention = f'{mine}/attention'
  foreign = {name: f'{layer}.{there}' for name, there in names.items()}
  rows = (
      *linear_rows(embed[0], f'embed_{stage}/proj', CONV),
      *norm_rows(embed[1], f'embed_{stage}/norm'),
      *norm_rows(foreign['norm1'], f'{mine}/norm1'),
      *norm_rows(foreign['norm2'], f'{mine}/norm2'),
      *linear_rows(foreign['query'], f'{attention}/query'),
      *linear_rows(foreign['out'], f'{attention}/out', LINEAR_FROM_HEADS),
      *linear_rows(foreign['reduction'], f'{mine}/reduction/proj', CONV),
      *norm_rows(foreign['reduction_norm'], f'{mine}/reduction/norm'),
      *linear_rows(foreign['fc1'], f'{mine}/ffn/fc1'),
      *linear_rows(foreign['conv'], f'{mine}/ffn/conv', CONV),
      *linear_rows(foreign['fc2'], f'{mine}/ffn/fc2'),
      *norm_rows(norm, f'norm_{stage}'))
  if 'keys' in names:
    both = lambda kind: tuple(f'{attention}/{name}/{kind}'
                              for name in ('key', 'value'))
    return (*rows, (f'{foreign["keys"]}.weight', both('kernel'), LINEAR),
            (f'{foreign["keys"]}.bias', both('bias'), VECTOR))
  for name in ('key', 'value'):
    rows += linear_rows(foreign[name], f'{attention}/{name}')
  return rows


TABLE = (
    *(row for s in range(_STAGES) for row in stage_rows(
        s, (f'patch_embed{s + 1}.proj', f'patch_embed{s + 1}.norm'),
        f'block{s + 1}.{{i}}', f'norm{s + 1}', NAMES)),
    *linear_rows('head', 'head'))
PARTIAL = False
