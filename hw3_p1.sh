#!/usr/bin/env bash
# VAE, DLCV 2020 homework 3, problem 1: bash hw3_p1.sh OUT (.png or .jpg gets the 32 samples of fig1_4)
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
exec python3 "$root/inference/sample_vae.py" --prog hw3_p1.sh "$@"
