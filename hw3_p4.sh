#!/usr/bin/env bash
# Improved domain adaptation, DLCV 2020 homework 3, problem 4: bash hw3_p4.sh IMAGE_DIR TARGET OUT_CSV
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
exec python3 "$root/inference/predict_digits.py" --prog hw3_p4.sh \
    --model mnistm=uda_usps_mnistm.pth --model svhn=uda_mnistm_svhn.pth --model usps=uda_svhn_usps.pth "$@"
