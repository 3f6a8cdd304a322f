#!/usr/bin/env bash
# Every check and every test, stage by stage, with the time each took. `test.sh lint` does only
# the checks that run nothing. What the stages need is installed by scripts/deps.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

# A daemon without any optimisation takes longer to run through the tests than this takes to build.
export CARGO_PROFILE_DEV_OPT_LEVEL=1

# One test at a time: a mount, its daemon, its store and its load share the machine, and what is
# told within seconds must not wait for another test's load.
THREADS="${CAIRNFS_TEST_THREADS:-1}"
TIMES=()
FAILED=()

stage() {
    local name="$1" begin=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    "$@" || FAILED+=("$name")
    TIMES+=("$(printf '%5d s  %s' $((SECONDS - begin)) "$name")")
}

finish() {
    printf '\n== time\n'
    printf '%s\n' "${TIMES[@]}"
    if [ ${#FAILED[@]} -gt 0 ]; then
        printf 'FAILED: %s\n' "${FAILED[@]}"
        exit 1
    fi
    exit 0
}

stage format cargo fmt --check
stage lints cargo clippy --locked --all-targets --features testing,live -- -D warnings
[ "${1:-}" != lint ] || finish

stage build cargo test --locked --features testing --no-run
# Nothing can pass that does not build.
[ ${#FAILED[@]} -eq 0 ] || [[ " ${FAILED[*]} " != *" build "* ]] || finish
stage tidy cargo test --locked --features testing --test tidy
stage unit cargo test --locked --features testing --lib --bins
stage documentation cargo test --locked --features testing --doc
stage integration cargo test --locked --features testing --no-fail-fast --test it --test sabotage -- \
    --test-threads="$THREADS"
finish
