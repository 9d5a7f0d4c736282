#!/usr/bin/env bash
# transformers 5.24.0, Python 3.11, Linux.
#
# Stochastic depth of TimeSformer is declared as a whole number, and fields are
# checked since version 5: the usual rate, 0.1, is refused, as is 0.0, and so is
# a folder whose config.json holds one, though it names a valid network that
# version 4 wrote and opened. The rate 1, which drops every branch, is taken.
# The same field of Dinov2Config and SwinConfig is a float.
#
# Seen:
#   TimesformerConfig drop_path_rate 0: taken
#   TimesformerConfig drop_path_rate 0.0: expected int, got float
#   TimesformerConfig drop_path_rate 0.1: expected int, got float
#   TimesformerConfig drop_path_rate 1: taken
#   Dinov2Config drop_path_rate 0.1: taken
#   SwinConfig drop_path_rate 0.1: taken
#   config.json drop_path_rate 0.1: expected int, got float
#
# Exits 1 when a line changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/config.json" <<'JSON'
{"model_type": "timesformer", "drop_path_rate": 0.1}
JSON
cat > "$folder/rates.py" <<'PYTHON'
import re
import sys

import transformers


def said(make):
  try:
    make()
  except Exception as error:
    return re.search(r'expected \w+, got \w+', str(error)).group()
  return 'taken'


for name, rates in (('Timesformer', (0, 0.0, 0.1, 1)), ('Dinov2', (0.1,)),
                    ('Swin', (0.1,))):
  kind = getattr(transformers, f'{name}Config')
  for rate in rates:
    print(f'{name}Config drop_path_rate {rate}:',
          said(lambda: kind(drop_path_rate=rate)))
print('config.json drop_path_rate 0.1:',
      said(lambda: transformers.AutoConfig.from_pretrained(sys.argv[1])))
PYTHON

python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet --disable-pip-version-check transformers==5.24.0
HF_HUB_OFFLINE=1 "$python" "$folder/rates.py" "$folder" 2>/dev/null | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
TimesformerConfig drop_path_rate 0: taken
TimesformerConfig drop_path_rate 0.0: expected int, got float
TimesformerConfig drop_path_rate 0.1: expected int, got float
TimesformerConfig drop_path_rate 1: taken
Dinov2Config drop_path_rate 0.1: taken
SwinConfig drop_path_rate 0.1: taken
config.json drop_path_rate 0.1: expected int, got float
SEEN
