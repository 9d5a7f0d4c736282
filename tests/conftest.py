"""Settings of the test run, made before jax starts."""
import os

# Small programs that run once: compiling is what costs.
os.environ.setdefault('XLA_FLAGS', (
    '--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false '
    '--xla_llvm_disable_expensive_passes=true'))
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
