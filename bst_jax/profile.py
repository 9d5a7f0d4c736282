"""Parameters, multiply-accumulates and measured latency of every submodel."""
from collections.abc import Mapping
import pathlib
from typing import Any

from absl import flags
from bst_jax import elastic
from bst_jax.host import cli, config_flag
from bst_jax.report import costs, latency, portable, scoring
from bst_jax.run import arguments, experiment, searches
from bst_jax.scores import tokens as token_counts
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
import jax
import numpy as np

_CONFIG = config_flag.define(known=arguments.of)
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
_EXPORTED = flags.DEFINE_string(
    'exported', None, 'Folder that bst_jax.export wrote: measures its ONNX '
    'files in ONNX Runtime on one thread, and StableHLO in jax.', allow_override=True)

FIRST = ('workdir', 'config', 'submodel', 'exported')
DESCRIPTION = """Measures every submodel as the ordinary smaller model that it
is: exact parameters and multiply-accumulates, XLA's own count, the median of
warm runs, that time over what the multiply-accumulates predict from the largest
submodel's (of MACs), and what share of a plain matrix product's rate, timed in
the same process, it reaches. Takes a workdir, a config with random parameters,
or the folder of exported files."""
EXAMPLES = """python -m bst_jax.profile --workdir runs/quickstart
python -m bst_jax.profile --workdir runs/quickstart --batch 32 --submodel 1/4x1/4,1x1
python -m bst_jax.profile --config configs/bst_mcan_vqa.py --convention bst
python -m bst_jax.profile --exported runs/phone"""


def table(rows: list[Mapping[str, Any]], batch: int, convention: str) -> str:
  """The rows as aligned text."""
  head = ('submodel', 'params', 'MACs', f'GFLOPs ({convention})',
          "GFLOPs (XLA's)", 'latency ms', 'of MACs', 'utilisation')
  # Time a multiply-accumulate, against that of the largest.
  pace = lambda r: r['latency_ms'] / r['macs']
  largest = pace(max(rows, key=lambda r: r['macs']))
  lines = [head, *(
      (r['submodel'], f'{r["params"]:,}', f'{r["macs"]:,}',
       f'{r[f"flops_{convention}"] / 1e9:.3f}', f'{r["xla_flops"] / 1e9:.3f}',
       f'{r["latency_ms"]:.2f}', f'{pace(r) / largest:.2f}x',
       f'{r["utilisation"]:.0%}') for r in rows)]
  device = jax.devices()[0]
  return (f'per example; latency of {batch} at a time on {device.device_kind}; '
          'utilisation against a 2048 x 2048 matrix product\n' + scoring.aligned(lines))


def slots(exp: experiment.Experiment, rows: list[Mapping[str, Any]],
          workdir: pathlib.Path | None) -> str:
  """Text: token slots of every sampling layer, and what evaluation counted."""
  lines = [('submodel', 'layer', 'token slots')]
  for row in rows:
    model = exp.model.at(elastic.Submodel.parse(row['submodel']))
    lines += [(row['submodel'], str(layer), str(width)) for layer, width in zip(
        model.ats.blocks, model.ats.widths(model.slots))]
  text = ('the multiply-accumulates are those of all slots, the class token not '
          f'counted\n{scoring.aligned(lines)}')
  counted = workdir and workdir / f'evaluation_{exp.config.data.eval}.json'
  if not counted or not counted.exists():
    return f'{text}\nbst_jax.evaluate counts the tokens that live in them.'
  result = workdirs.read_table(workdir, counted.name)
  mean = ', '.join(f'{r["submodel"]} {r["mean_macs"]:,.0f}'
                   for r in result['rows'])
  return (f'{text}\n\n{token_counts.table(result["rows"], scoring.aligned)}\n'
          f'multiply-accumulates of an image for its own tokens: {mean}')


def exported(folder: pathlib.Path, batch: int, runs: int) -> str:
  """Table of the exported ONNX files: bytes and latency on one thread."""
  card = workdirs.read_json(folder, 'card.json')
  fixed = card.get('batch', 'any')
  batch = batch if fixed == 'any' else fixed
  def rows(shape):  # First 'B', '2 B' or, of a fixed batch, a number.
    return [x if isinstance(x, int) else batch * int(x[:-1] or 1) for x in shape]
  def inputs(program):
    return {name: np.ones(rows(about['shape']), about['dtype']) for name, about
            in card.get('programs', {}).get(program, card)['inputs'].items()}
  lines = [('file', 'bytes', 'latency ms')]
  for path in sorted([*folder.glob('*.onnx'), *folder.glob('*.stablehlo')]):
    run = (portable.Session(path) if path.suffix == '.onnx' else
           portable.read_stablehlo(path.read_bytes(),
                                   card.get('jax', 'of another version')))
    given = inputs(path.name.split('.')[0])
    seconds = latency.median_seconds(
        lambda run=run, given=given: run(given), runs)
    lines.append((path.name, f'{path.stat().st_size:,}', f'{1e3 * seconds:.2f}'))
  if len(lines) == 1:
    raise ValueError(f'{folder} holds no exported file; write one with '
                     'python -m bst_jax.export.')
  return (f'{card["model"]} {card["submodel"]}, {batch} at a time; ONNX in ONNX '
          'Runtime on one thread of a CPU, StableHLO in jax on '
          f'{jax.devices()[0].device_kind}\n{scoring.aligned(lines)}')


def main() -> None:
  """The command."""
  cli.start()
  given = [f.value for f in (_WORKDIR, _CONFIG, _EXPORTED) if f.value]
  if len(given) != 1:
    raise cli.UsageError('give one of --workdir, --config and --exported.')
  if _EXPORTED.value:
    print(exported(pathlib.Path(_EXPORTED.value), _BATCH.value, _RUNS.value))
    return
  if _WORKDIR.value:
    workdir = pathlib.Path(_WORKDIR.value)
    exp = experiment.load(workdir)
    params = checkpoint.load_params(workdir, exp.shapes)
  else:
    workdir, params = None, None
    sizes = experiment.sizes_of(_CONFIG.value)
    exp = experiment.build(searches.expected(_CONFIG.value, sizes), sizes)
  exp = experiment.build(exp.config, dict(exp.sizes) | {
      name: value for name, value in (('max_tokens', _TOKENS.value),
                                      ('num_regions', _REGIONS.value)) if value})
  rows = latency.measure(
      exp, params, exp.parse(_SUBMODEL.value), _BATCH.value,
      _RUNS.value)
  print(f'\n{table(rows, _BATCH.value, _CONVENTION.value)}\n')
  if getattr(getattr(exp.model, 'ats', None), 'blocks', ()):
    print(f'{slots(exp, rows, workdir)}\n')
  if workdir:
    workdirs.write_json(workdir, 'profile.json', {
        'batch': _BATCH.value, 'device': jax.devices()[0].device_kind,
        'rows': rows})
    print(f'Saved {workdir / "profile.json"}')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
