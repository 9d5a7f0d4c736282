"""GPUs as XLA must know them to compile without one.

Sources: NVIDIA's "CUDA C++ Programming Guide", table of compute capabilities,
  and the architecture white papers of A100 and H100.
"""
from bst_jax.ahead import chips

# All with 32 threads a warp, 2048 threads and 64 Ki registers a multiprocessor.
# Shared memory is that of a multiprocessor, of which a block has one KiB less.
_FACTS = {
    'a100': dict(capability=(8, 0), cores=108, units=64, shared=164,
                 cache=40, clock=1.41, name='NVIDIA A100-SXM4-80GB'),
    'h100': dict(capability=(9, 0), cores=132, units=128, shared=228,
                 cache=50, clock=1.98, name='NVIDIA H100 80GB HBM3'),
    'h200': dict(capability=(9, 0), cores=132, units=128, shared=228,
                 cache=50, clock=1.98, name='NVIDIA H200'),
}


def description(name: str) -> str:
  """The text form of XLA's GpuTargetConfigProto for one of `chips.CHIPS`."""
  facts, chip = _FACTS[name], chips.CHIPS[name]
  major, minor = facts['capability']
  device = dict(
      cuda_compute_capability=f'{{ major: {major} minor: {minor} }}',
      core_count=facts['cores'], fpus_per_core=facts['units'],
      threads_per_warp=32, threads_per_block_limit=1024,
      threads_per_core_limit=2048, registers_per_core_limit=65536,
      registers_per_block_limit=65536, shared_memory_per_block=48 * 1024,
      shared_memory_per_block_optin=(facts['shared'] - 1) * 1024,
      shared_memory_per_core=facts['shared'] * 1024,
      block_dim_limit_x=2 ** 31 - 1, block_dim_limit_y=65535,
      block_dim_limit_z=65535, clock_rate_ghz=facts['clock'],
      memory_bandwidth=int(chip.hbm_rate),
      l2_cache_size=facts['cache'] * 2 ** 20, device_memory_size=chip.hbm)
  lines = '\n'.join(
      f'  {key} {value}' if str(value).startswith('{') else f'  {key}: {value}'
      for key, value in device.items())
  # Versions of the libraries that the wheels of jax bring.
  return (f'gpu_device_info {{\n{lines}\n}}\nplatform_name: "CUDA"\n'
          'dnn_version_info { major: 9 minor: 10 }\n'
          'runtime_version { major: 13 }\n'
          f'device_description_str: "{facts["name"]}"\n')
