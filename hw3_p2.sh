#!/usr/bin/env bash
# GAN, DLCV 2020 homework 3, problem 2: bash hw3_p2.sh OUT (.png or .jpg gets the 32 samples of fig2_2)
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
exec python3 "$root/inference/sample_gan.py" --prog hw3_p2.sh "$@"
