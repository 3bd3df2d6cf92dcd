#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the autograder's image (choose Ubuntu 24.04: Python 3.12).
set -euo pipefail
base="${AUTOGRADER:-/autograder}"
apt-get update -q
apt-get install -y -q python3-venv git bubblewrap
python3 -m venv "$base/venv"
"$base/venv/bin/pip" install -q -r "$base/source/requirements.txt"
