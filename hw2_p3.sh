#!/usr/bin/env bash
# DANN, DLCV 2021 homework 2, problem 3: bash hw2_p3.sh IMAGE_DIR TARGET OUT_CSV
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
exec python3 "$root/inference/predict_digits.py" --prog hw2_p3.sh \
    --model mnistm=dann_svhn_mnistm.pth --model svhn=dann_usps_svhn.pth --model usps=dann_mnistm_usps.pth "$@"
