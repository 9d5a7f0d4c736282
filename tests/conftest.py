"""Settings of the test run, made before jax starts."""
from importlib import metadata
import os
import shutil
import tempfile

# Small programs that run once: compiling is what costs.
FLAGS = ['--xla_backend_optimization_level=0',
         '--xla_llvm_disable_expensive_passes=true']
if tuple(map(int, metadata.version('jaxlib').split('.')[:2])) < (0, 11):
  # Later compilers end the process at a flag that they dropped.
  FLAGS.append('--xla_cpu_use_fusion_emitters=false')
os.environ.setdefault('XLA_FLAGS', ' '.join(FLAGS))
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

# Commands that tests start again and again compile once. The workers and all that
# they start inherit the folder from the process that starts them.
_MADE = None
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  _MADE = tempfile.mkdtemp(prefix='bst_jax_compiled_')
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _MADE
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.3')

# The files that take longest start first, or one worker ends alone with them.
LONG = ('test_train.py', 'test_processes.py', 'test_commands.py',
        'test_golden_mcan.py')


def pytest_collection_modifyitems(items):
  rank = {name: i for i, name in enumerate(LONG)}
  items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


def pytest_unconfigure():
  if _MADE:
    shutil.rmtree(_MADE, ignore_errors=True)
