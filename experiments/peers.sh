#!/usr/bin/env bash
# Times our code beside the peers' on the same work, cost against size, and writes the tables of docs/performance.md.
#   bash experiments/peers.sh --data data/hw3_data                    # everything: about 12 minutes on a quiet machine
#   bash experiments/peers.sh --data data/hw3_data dann_step predict  # some parts; what was measured before is kept
# The peers are cloned by you, into ../peers or --peers DIR; without them it prints the commands. The other options are
# those of `python experiments/peers.py --help`; with --out the tables are not written. Exit status 1 where a result
# differs from the peer's.
set -euo pipefail
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python3 "$root/experiments/peers.py" "$@"
[[ " $* " == *" --out"* ]] || python3 "$root/report/performance.py"
