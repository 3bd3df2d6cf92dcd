#!/usr/bin/env bash
# ACGAN, DLCV 2021 homework 2, problem 2: bash hw2_p2.sh DIR (DIR gets 100 digits of each class, 0_001.png … 9_100.png)
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
exec python3 "$root/inference/sample_acgan.py" --prog hw2_p2.sh "$@"
