"""Compiles a config's steps for a TPU slice that is not there, and tells."""
import pathlib
import sys

from absl import flags
from bst_jax.host import cli, config_flag
from bst_jax.run import arguments

_CONFIG = config_flag.define(known=arguments.of)
_TOPOLOGY = flags.DEFINE_string(
    'topology', None, 'The slice, as v5e:2x2, v5e:16x16, v5p:4x4x4, v6e:16x16, '
    'or GPUs of a machine, as h100:8.',
    allow_override=True)
_BATCH_PER_CHIP = flags.DEFINE_integer(
    'batch_per_chip', None, 'Examples of a training step on each chip; '
    'config.data.batch, which then is the batch of one chip, if left out.',
    lower_bound=1, allow_override=True)
_PROGRAMS = flags.DEFINE_list(
    'programs', ['train', 'evaluate'], 'What to compile.', allow_override=True)
_LARGEST = flags.DEFINE_bool(
    'largest_batch', False, 'Also look for the largest training batch of a '
    'chip that fits; every try is a compilation.', allow_override=True)
_LEVEL = flags.DEFINE_enum(
    'optimization_level', None, ['O0', 'O1', 'O2', 'O3'],
    "Effort of the compiler; its own default if left out. O0 takes a third of "
    'the time and yields the same products and collectives, but slower code: '
    "the report then leaves the compiler's cycles out.", allow_override=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Folder for report.json and report.png; none are written '
    'if left out.', allow_override=True)

FIRST = ('config', 'topology', 'batch_per_chip')
DESCRIPTION = """Compiles the training step and the evaluation step of a config
ahead of time for a slice of TPUs, or for GPUs, that need not be there, and tells
of every chip: memory against what it has, operations, bytes, collectives, the
time that its published peaks leave, and whether it fits. A big step compiles for
many minutes on a laptop; config.compute.scan=True and --optimization_level O0
shorten them."""
EXAMPLES = """python -m bst_jax.compile --config configs/bst_mcan_vqa.py --topology v5e:2x2
python -m bst_jax.compile --config configs/bst_mcan_vqa.py --topology v5e:16x16 --batch_per_chip 32 --output reports/mcan
python -m bst_jax.compile --config configs/bst_mcan_vqa.py --topology v5e:2x2 --config.compute.dtype=bfloat16 --config.compute.scan=True --optimization_level O0
python -m bst_jax.compile --config configs/ats_deit_s.py --topology v6e:16x16 --batch_per_chip 128 --largest_batch"""


def main() -> None:
  """The command."""
  from bst_jax.ahead import topology

  topology.prepare()  # Before jax is imported.
  cli.start()
  config, text = cli.required(_CONFIG), cli.required(_TOPOLOGY)
  part = topology.check(text)
  from bst_jax.ahead import chip_report, compile_report
  from bst_jax.run import experiment, searches
  from bst_jax.store import workdir as workdirs
  import jax

  if _LEVEL.value:
    jax.config.update('jax_optimization_level', _LEVEL.value)
  result = {'config': pathlib.Path(config_flag.given_in(sys.argv)).name}
  result |= chip_report.report(
      searches.expected(config, experiment.sizes_of(config)), part,
      topology.devices(part), _BATCH_PER_CHIP.value, _PROGRAMS.value,
      _LARGEST.value)
  print(f'\n{compile_report.table(result)}\n', flush=True)
  if _OUTPUT.value:
    folder = pathlib.Path(_OUTPUT.value)
    workdirs.write_json(folder, 'report.json', result)
    compile_report.picture(result, folder / 'report.png')
    print(f'Saved {folder / "report.json"} and {folder / "report.png"}')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
