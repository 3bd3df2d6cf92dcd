#!/usr/bin/env bash
# Fetches the checkpoints that are missing or damaged: bash download_models.sh
# They come from $MODELS_URL/<name>; by default the raw files of the git remote `origin`, when that is on GitHub.
# Each is checked against checkpoints/MANIFEST; an interrupted download goes on where it stopped.
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
folder="$root/checkpoints"
say() { printf 'download_models.sh: %s\n' "$*" >&2; }

command -v wget > /dev/null || { say "wget is not installed; install it (apt install wget) and run this again"; exit 1; }
[ -f "$folder/MANIFEST" ] || { say "$folder/MANIFEST is missing; restore it: git checkout checkpoints/MANIFEST"; exit 1; }

is_good() { [ -f "$1" ] && [ "$(sha256sum < "$1" | cut -d ' ' -f 1)" = "$2" ]; }

base="${MODELS_URL:-}"
find_base() {
    [ -n "$base" ] && return
    local origin path
    origin="$(git -C "$root" remote get-url origin 2> /dev/null || true)"
    path="$(printf '%s' "$origin" | sed -nE 's#^(https://([^@/]*@)?github\.com/|(ssh://)?git@github\.com[:/])([^/]+/[^/]+)$#\4#p')"
    if [ -z "$path" ]; then
        say "the git remote 'origin' is not on GitHub; set MODELS_URL to the address of the folder with the checkpoints"
        exit 1
    fi
    base="https://raw.githubusercontent.com/${path%.git}/HEAD/checkpoints"
}

failed=0
while read -r digest name || [ -n "$name" ]; do
    [ -n "$name" ] || continue
    if is_good "$folder/$name" "$digest"; then continue; fi
    find_base
    part="$folder/$name.part"
    # Twice: what an earlier interruption left may be the start of another version.
    for attempt in 1 2; do
        say "fetching $name"
        if wget --continue --tries=3 --timeout=30 --no-verbose --output-document="$part" "${base%/}/$name"; then
            if is_good "$part" "$digest"; then
                mv -f "$part" "$folder/$name"
                continue 2
            fi
            rm -f "$part"
            reason="what ${base%/}/$name holds is not the file in MANIFEST (wrong SHA-256)"
        else
            reason="${base%/}/$name could not be fetched (see wget's message above)"
            # wget leaves an empty file behind a 404; a begun one is kept to go on from.
            if [ ! -s "$part" ]; then rm -f "$part"; fi
            break
        fi
    done
    say "$name: $reason; run this again later, or set MODELS_URL to another address"
    failed=1
done < "$folder/MANIFEST"
if [ "$failed" = 0 ]; then echo "all checkpoints are in place"; fi
exit "$failed"
