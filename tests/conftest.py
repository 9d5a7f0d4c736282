"""Settings of the test run, made before jax starts."""
from importlib import metadata
import logging
import os

import pytest

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
        'test_search.py', 'test_searches.py', 'test_own_backbone.py',
        'test_package.py')


# What others show for less, or another row of the same: with --slow alone.
SLOW = (
    'test_train.py::test_a_killed_run_ends_bit_for_bit_as_an_undisturbed_one[2]',
    'test_train.py::test_a_stopped_run_saves_says_how_to_go_on_and_does[2]',
    'test_six_commands.py::test_classes_of_a_folder',
    'test_batch_norm.py::test_three_steps_agree_on_any_number_of_devices['
    '2 plain 1]',
    'test_golden_mcan.py::'
    'test_losses_and_every_gradient_of_the_five_submodel_sum[gqa]',
    'test_golden_mcan.py::test_logits_of_all_sixteen_pairs[vqa]',
    'test_commands.py::test_every_config_runs_tiny[configs.bst_mcan_gqa]',
    'test_commands.py::test_every_config_runs_tiny[configs.bst_clip_vil_vqa]',
    'test_commands.py::test_every_config_runs_tiny[configs.bst_uniter_vqa]',
    'test_streams.py::'
    'test_a_method_with_two_streams_ends_the_same_when_it_is_resumed',
    'test_choice.py::test_cut_then_run_equals_run_sliced[timesformer]',
    'test_search.py::test_videos_train_and_are_sampled[timesformer]',
    'test_search.py::test_ways_of_running_a_searched_network',
    'test_devices.py::'
    'test_twenty_steps_agree_on_any_number_of_devices[2x1]',
    'test_scoring_of_channels.py::test_scoring_goes_on_where_it_was_killed[6]',
    'test_searches.py::test_searches_of_other_tasks[retrieval]',
    'test_searches.py::'
    'test_a_search_that_was_stopped_goes_on_to_the_same_gates[15]',
    'test_best.py::test_one_submodel_joins_the_table_that_stands_there',
    'test_models.py::test_products_of_tpus_are_the_same_numbers[vit]',
    'test_prefetch.py::test_bytes_made_ahead_are_bounded[10000-5]')


@pytest.fixture
def log(caplog):
  """What is logged; absl hands nothing on by itself."""
  logger = logging.getLogger('absl')
  logger.addHandler(caplog.handler)
  with caplog.at_level('INFO', 'absl'):
    yield caplog
  logger.removeHandler(caplog.handler)


def pytest_addoption(parser):
  parser.addoption('--slow', action='store_true',
                   help='also those tests that conftest.py names as slow')


def pytest_collection_modifyitems(config, items):
  if not config.getoption('--slow'):
    slow = [item for item in items if item.nodeid.endswith(SLOW)]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.nodeid.endswith(SLOW)]
  rank = {name: i for i, name in enumerate(LONG)}
  items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))
