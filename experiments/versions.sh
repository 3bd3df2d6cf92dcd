#!/usr/bin/env bash
# Runs the eight graded wrappers with other versions of Python and torch and compares their outputs, byte by byte, with
# those of the environment on PATH.
#   bash experiments/versions.sh                                            # the versions below
#   bash experiments/versions.sh python3.12:2.6.0:0.21.0:2.0.2              # PYTHON:TORCH:TORCHVISION:NUMPY, any number
# Each environment is made anew in a temporary folder (about 6 GB with CUDA) and removed. The results go to
# docs/results/versions.csv, one line for each environment and wrapper; exit status 1 where an output differs.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
specs=("$@")
((${#specs[@]})) || specs=(python3.10:2.1.2:0.16.2:1.26.4 python3.11:2.1.2:0.16.2:1.26.4 python3.11:2.6.0:0.21.0:2.0.2)
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

outputs() { # FOLDER: runs every wrapper with the python3 on PATH, prints "wrapper sha256", or "wrapper failed"
    local name digest
    for name in hw3_p1 hw3_p2 hw2_p1 hw2_p2 hw3_p3 hw3_p4 hw2_p3 hw2_bonus; do
        case "$name" in
            hw3_p1 | hw3_p2) set -- "$1" "$1/$name.png" ;;
            hw2_p1 | hw2_p2) set -- "$1" "$1/$name" ;;
            *) set -- "$1" "$root/samples/svhn" svhn "$1/$name.csv" ;;
        esac
        digest=failed
        if bash "$root/$name.sh" "${@:2}" > "$1/$name.txt" 2>&1; then
            digest="$(find "${@: -1}" -type f | LC_ALL=C sort | xargs -d '\n' cat | sha256sum | cut -c1-64)"
        else
            cat "$1/$name.txt" >&2
        fi
        echo "$name $digest"
    done
}

versions() { # prints "python,torch,torchvision,numpy,pandas,scikit-learn,pillow" of the python3 on PATH
    python3 -c 'import platform as p; from importlib.metadata import version as v
names = "torch torchvision numpy pandas scikit-learn pillow"
print(",".join([p.python_version(), *(v(name) for name in names.split())]))'
}

mkdir "$work/here"
outputs "$work/here" > "$work/expected"
! grep -q failed "$work/expected" || exit 1 # else two failures would count as the same
result="$work/versions.csv"
echo "python,torch,torchvision,numpy,pandas,scikit-learn,pillow,wrapper,sha256,same" > "$result"
here="$(versions)"
while read -r name digest; do echo "$here,$name,$digest,reference" >> "$result"; done < "$work/expected"

status=0
for spec in "${specs[@]}"; do
    IFS=: read -r python torch torchvision numpy <<< "$spec"
    echo "$spec: installing" >&2
    "$python" -m venv "$work/venv"
    "$work/venv/bin/python3" -m pip install -q --disable-pip-version-check "torch==$torch" "torchvision==$torchvision" \
        "numpy==$numpy" pandas scikit-learn pillow
    mkdir "$work/out"
    PATH="$work/venv/bin:$PATH" outputs "$work/out" > "$work/sums"
    there="$(PATH="$work/venv/bin:$PATH" versions)"
    while read -r name digest; do
        same=yes
        grep -qx "$name $digest" "$work/expected" || { same=no; status=1; }
        echo "$there,$name,$digest,$same" >> "$result"
        echo "$spec $name: $same" >&2
    done < "$work/sums"
    rm -rf "$work/venv" "$work/out"
done
mkdir -p "$root/docs/results"
mv "$result" "$root/docs/results/versions.csv"
exit "$status"
