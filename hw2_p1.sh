#!/usr/bin/env bash
# SAGAN, DLCV 2021 homework 2, problem 1: bash hw2_p1.sh DIR (DIR gets 1,000 faces, 0000.png … 0999.png)
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
exec python3 "$root/inference/sample_sagan.py" --prog hw2_p1.sh "$@"
