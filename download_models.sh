#!/usr/bin/env bash
# Fetches the checkpoints that are missing or damaged: bash download_models.sh
# They come from $MODELS_URL/<name>; by default the raw files of the git remote `origin`, when that is on GitHub.
# Each is checked against checkpoints/MANIFEST; an interrupted download goes on where it stopped.
set -euo pipefail
root="$(dirname "${BASH_SOURCE[0]}")"
folder="$root/checkpoints"
say() { printf 'download_models.sh: %s\n' "$*" >&2; }

case "${1:-}" in
    -h | --help)
        echo "usage: bash download_models.sh"
        sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
        echo "Together they have less than 120 MB. Exit code 1 where one cannot be had."
        exit 0 ;;
    "") ;;
    *) say "no arguments are taken, got '$1' (--help tells more)"; exit 2 ;;
esac

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

# Two downloads would write into the same file: the second one waits, where flock and the file system can do that.
lock() {
    exec 9< "$folder/MANIFEST"
    if command -v flock > /dev/null && ! flock -n 9 2> /dev/null; then
        say "another download is at work, or this file system has no locks; waiting for at most ten minutes"
        flock -w 600 9 2> /dev/null || true
    fi
}

failed=0
locked=
while read -r digest name || [ -n "$digest" ]; do
    name="${name%$'\r'}" # a MANIFEST that was saved on Windows
    name="${name#\*}" # sha256sum --binary
    digest="${digest%$'\r'}"
    [ -n "$digest" ] || continue
    case "$name" in
        "" | */* | .*) say "MANIFEST: '$digest $name' is no line of SHA-256 and file name"; failed=1; continue ;;
    esac
    if is_good "$folder/$name" "$digest"; then continue; fi
    find_base
    if [ -z "$locked" ]; then
        lock
        locked=yes
        if is_good "$folder/$name" "$digest"; then continue; fi # by the download that was waited for
    fi
    part="$folder/$name.part"
    for place in "$folder/$name" "$part"; do
        if [ -d "$place" ]; then
            say "$place is a directory; move it away and run this again"
            failed=1
            continue 2
        fi
    done
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
