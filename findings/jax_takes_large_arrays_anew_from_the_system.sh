#!/usr/bin/env bash
# jax 0.10.2 with jaxlib 0.10.2, Python 3.11, Linux with glibc, CPU.
#
# A compiled program takes the memory of its intermediate arrays from malloc in each
# run. glibc gets blocks above 32 MiB from the system each time and gives them back
# behind it, whatever the run before has used: every page is filled with zeros again.
# An array of 64 MiB costs 16,384 page faults a run, one of 16 MiB none. Three calls
# of mallopt end that: no block by mmap, no trimming, one arena. Pages of 2 MiB, which
# some systems use by themselves, would hide it and are turned off here.
#
# Seen:
#   16 MiB in between, as it comes: few of its pages are new in each run
#   64 MiB in between, as it comes: all of its pages are new in each run
#   64 MiB in between, blocks kept: few of its pages are new in each run
#
# Exits 1 when a line changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/pages.py" <<'PYTHON'
import ctypes
import resource
import sys

import jax
import jax.numpy as jnp

libc = ctypes.CDLL(None)
libc.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
how, side = sys.argv[1], int(sys.argv[2])
if how == 'blocks kept':  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX
  for option, value in ((-4, 0), (-1, 2 ** 31 - 1), (-8, 1)):
    libc.mallopt(option, value)


@jax.jit
def run(x):
  product = jax.lax.optimization_barrier(x @ x.T)  # side x side
  return product.sum(1)


x = jnp.ones((side, 16))
pages = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
  run(x).block_until_ready()
before = pages()
for _ in range(20):
  run(x).block_until_ready()
share = (pages() - before) / 20 / (side * side * 4 / 4096)
much = 'all' if share > 0.5 else 'few' if share < 0.05 else f'{share:.0%}'
print(f'{side * side * 4 >> 20} MiB in between, {how}: {much} of its pages are '
      'new in each run')
PYTHON

python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    jax==0.10.2 jaxlib==0.10.2
cd "$folder"
export JAX_PLATFORMS=cpu
{
  timeout 120 venv/bin/python pages.py 'as it comes' 2048
  timeout 120 venv/bin/python pages.py 'as it comes' 4096
  timeout 120 venv/bin/python pages.py 'blocks kept' 4096
} 2> log | tee seen
diff seen - <<'SEEN'
16 MiB in between, as it comes: few of its pages are new in each run
64 MiB in between, as it comes: all of its pages are new in each run
64 MiB in between, blocks kept: few of its pages are new in each run
SEEN
