"""Parameters, multiply-accumulates and measured latency of every submodel."""
from collections.abc import Mapping
import pathlib
from typing import Any

from absl import flags
from bst_jax import (
  checkpoint,
  cli,
  config_flag,
  costs,
  experiment,
  latency,
  scoring,
)
from bst_jax import workdir as workdirs
import jax
import ml_collections

_CONFIG = config_flag.define()
_WORKDIR = cli.define_workdir()
_SUBMODEL = flags.DEFINE_string(
    'submodel', 'all', 'Submodels as 1/2x1/3, comma-separated, or all.', allow_override=True)
_BATCH = flags.DEFINE_integer('batch', 1, 'Questions (and pictures) at a time.',
                              lower_bound=1, allow_override=True)
_RUNS = flags.DEFINE_integer('runs', 30, 'Timed runs; the median counts.',
                             lower_bound=1, allow_override=True)
_TOKENS = flags.DEFINE_integer(
    'tokens', None, "Question tokens; the data's own if left out.", allow_override=True)
_REGIONS = flags.DEFINE_integer(
    'regions', None, "Regions of a picture; the data's own if left out.", allow_override=True)
_CONVENTION = flags.DEFINE_enum(
    'convention', 'mac', sorted(costs.CONVENTIONS),
    'How the count becomes FLOPs: mac, bst (2 x MAC) or das.', allow_override=True)

DESCRIPTION = """Measures every submodel as the ordinary smaller model that it
is: exact parameters and multiply-accumulates, XLA's own count, the median of
warm runs, and what share of a plain matrix product's rate, timed in the same
process, it reaches. Takes a workdir, or a config with random parameters."""
EXAMPLES = """python -m bst_jax.profile --workdir runs/quickstart
python -m bst_jax.profile --workdir runs/quickstart --batch 32 --submodel 1/4x1/4,1x1
python -m bst_jax.profile --config configs/bst_mcan_vqa.py --convention bst"""


def table(rows: list[Mapping[str, Any]], batch: int, convention: str) -> str:
  """The rows as aligned text."""
  head = ('submodel', 'params', 'MACs', f'GFLOPs ({convention})',
          "GFLOPs (XLA's)", 'latency ms', 'utilisation')
  lines = [head, *(
      (r['submodel'], f'{r["params"]:,}', f'{r["macs"]:,}',
       f'{r[f"flops_{convention}"] / 1e9:.3f}', f'{r["xla_flops"] / 1e9:.3f}',
       f'{r["latency_ms"]:.2f}', f'{r["utilisation"]:.0%}') for r in rows)]
  device = jax.devices()[0]
  return (f'per question; latency of {batch} at a time on {device.device_kind}; '
          'utilisation against a 2048 x 2048 matrix product\n' + scoring.aligned(lines))


def main() -> None:
  """The command."""
  cli.start()
  if (_WORKDIR.value is None) == (_CONFIG.value is None):
    raise cli.UsageError('give either --workdir or --config.')
  if _WORKDIR.value:
    workdir = pathlib.Path(_WORKDIR.value)
    exp = experiment.load(workdir)
    params = checkpoint.load_params(workdir, exp.shapes)
  else:
    workdir, params = None, None
    exp = experiment.build(_CONFIG.value, sizes_of(_CONFIG.value))
  exp = experiment.build(exp.config, dict(exp.sizes) | {
      name: value for name, value in (('max_tokens', _TOKENS.value),
                                      ('num_regions', _REGIONS.value)) if value})
  rows = latency.measure(
      exp, params, exp.parse(_SUBMODEL.value), _BATCH.value,
      _RUNS.value)
  print(f'\n{table(rows, _BATCH.value, _CONVENTION.value)}\n')
  if workdir:
    workdirs.write_json(workdir, 'profile.json', {
        'batch': _BATCH.value, 'device': jax.devices()[0].device_kind,
        'rows': rows})
    print(f'Saved {workdir / "profile.json"}')


def sizes_of(config: ml_collections.ConfigDict) -> dict[str, int]:
  """Sizes of the data: those in `config.data.sizes`, else of the data itself."""
  if config.data.get('sizes'):
    return dict(config.data.sizes)
  from bst_jax.data import source
  return source.load(config.data).sizes


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
