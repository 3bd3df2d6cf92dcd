#!/usr/bin/env bash
# Builds the assignments' data sets from their sources: bash get_dataset.sh [--out data] [--only digits face …] [--help]
# Needs the environment of `make setup`; uses it if it is there.
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
python=python3
if [ -x "$root/.venv/bin/python3" ]; then python="$root/.venv/bin/python3"; fi
# Not through PYTHONPATH, which a colon in the clone's path would cut in two.
exec "$python" -c 'import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module("dlcv.data.get", run_name="__main__", alter_sys=True)' "$root/src" "$@"
