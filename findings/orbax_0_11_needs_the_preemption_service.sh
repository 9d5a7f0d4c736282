#!/usr/bin/env bash
# orbax-checkpoint 0.11.36 with jax 0.10.2, Python 3.11, Linux, CPU.
#
# A program of several processes may turn off jax's preemption service, by
# jax_enable_preemption_service=False, so that SIGTERM stays its own. Every save
# through orbax 0.11.36 then raises, as its manager asks that service whether a
# preemption was reached, also where `force` is given. 0.12.8 takes the refusal
# for "no preemption" and saves. With one process both save, so that a test
# without a second process does not meet it.
#
# Seen:
#   orbax-checkpoint 0.11.36, 2 processes: RuntimeError: Preemption sync manager has not been initialized.
#   orbax-checkpoint 0.12.8, 2 processes: saved step 1
#
# Exits 1 when either line changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/save.py" <<'PYTHON'
import os
import pathlib
import sys

import jax
import jax.numpy as jnp

jax.config.update('jax_enable_preemption_service', False)
port, index, folder = sys.argv[1:]
jax.distributed.initialize(f'localhost:{port}', 2, int(index))
from orbax.checkpoint.experimental import v1 as ocp

everywhere = jax.NamedSharding(jax.make_mesh((2,), ('data',)), jax.P())
weight = jax.jit(lambda: jnp.ones(3), out_shardings=everywhere)()
try:
  with ocp.training.Checkpointer(folder) as checkpointer:
    checkpointer.save_pytree(1, {'weight': weight}, force=True)
  said = 'saved step 1'
except RuntimeError as error:
  said = f'RuntimeError: {str(error).split(". ")[0]}.'
pathlib.Path(f'{folder}.{index}.said').write_text(said + '\n')
os._exit(0)  # The first save of one process would wait for the other.
PYTHON

python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
for version in 0.11.36 0.12.8; do
  "$python" -m pip install --quiet --disable-pip-version-check \
      jax==0.10.2 jaxlib==0.10.2 flax==0.12.8 "orbax-checkpoint==$version"
  port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
  JAX_PLATFORMS=cpu timeout 120 "$python" "$folder/save.py" "$port" 1 \
      "$folder/$version" > "$folder/1.log" 2>&1 &
  JAX_PLATFORMS=cpu timeout 120 "$python" "$folder/save.py" "$port" 0 \
      "$folder/$version" > "$folder/0.log" 2>&1 || true
  wait
  echo "orbax-checkpoint $version, 2 processes: $(cat "$folder/$version.0.said")" |
      tee -a "$folder/seen"
done
diff "$folder/seen" - <<'SEEN'
orbax-checkpoint 0.11.36, 2 processes: RuntimeError: Preemption sync manager has not been initialized.
orbax-checkpoint 0.12.8, 2 processes: saved step 1
SEEN
