"""Settings of the test run, made before jax starts."""
from importlib import metadata
import os

# Small programs that run once: compiling is what costs.
FLAGS = ['--xla_backend_optimization_level=0',
         '--xla_llvm_disable_expensive_passes=true']
if tuple(map(int, metadata.version('jaxlib').split('.')[:2])) < (0, 11):
  # Later compilers end the process at a flag that they dropped.
  FLAGS.append('--xla_cpu_use_fusion_emitters=false')
os.environ.setdefault('XLA_FLAGS', ' '.join(FLAGS))
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Nothing of one test run reaches another.
os.environ.setdefault('BST_JAX_CACHE', 'none')

# The files that take longest start first, or one worker ends alone with them.
LONG = ('test_train.py', 'test_choice.py', 'test_commands.py',
        'test_golden_mcan.py', 'test_readme_runs.py', 'test_six_commands.py',
        'test_processes.py', 'test_batch_norm.py', 'test_best.py',
        'test_search.py', 'test_own_backbone.py', 'test_package.py')


def pytest_collection_modifyitems(items):
  rank = {name: i for i, name in enumerate(LONG)}
  items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))
