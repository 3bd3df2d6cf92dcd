#!/usr/bin/env bash
# Improved domain adaptation, DLCV 2021 homework 2, bonus: bash hw2_bonus.sh IMAGE_DIR TARGET OUT_CSV
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
exec python3 "$root/inference/predict_digits.py" --prog hw2_bonus.sh \
    --model mnistm=uda_svhn_mnistm.pth --model svhn=uda_usps_svhn.pth --model usps=uda_mnistm_usps.pth "$@"
