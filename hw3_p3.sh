#!/usr/bin/env bash
# DANN, DLCV 2020 homework 3, problem 3: bash hw3_p3.sh IMAGE_DIR TARGET OUT_CSV
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
exec python3 "$root/inference/predict_digits.py" --prog hw3_p3.sh \
    --model mnistm=dann_usps_mnistm.pth --model svhn=dann_mnistm_svhn.pth --model usps=dann_svhn_usps.pth "$@"
