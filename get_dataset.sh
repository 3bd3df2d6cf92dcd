#!/usr/bin/env bash
# Builds the assignments' data sets from their sources: bash get_dataset.sh [--out data] [--only digits face …]
# Needs the environment of `make setup`; uses it if it is there.
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
python=python3
if [ -x "$root/.venv/bin/python3" ]; then python="$root/.venv/bin/python3"; fi
"$python" -c "import torch, gdown, torchvision, scipy, tqdm" 2> /dev/null ||
    { echo "get_dataset.sh: $python lacks the packages of requirements.txt; run: make setup" >&2; exit 1; }
PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m dlcv.data.get "$@"
