#!/usr/bin/env bash
# The volume of `make run`: made once, on a directory, mounted, written to and read back.
set -euo pipefail
cd "$(dirname "$0")/.."

DEMO="$PWD/.demo"
BIN="$PWD/target/release"
export CAIRNFS_CONFIG="$DEMO/config.toml"

start() {
    mkdir -p "$DEMO/store" "$DEMO/mnt"
    if [ ! -e "$CAIRNFS_CONFIG" ]; then
        cat >"$CAIRNFS_CONFIG" <<TOML
[volumes.scratch]
provider = "local"
path = "$DEMO/store"
TOML
    fi
    [ -e "$DEMO/store/cairnfs.volume" ] || "$BIN/cairnfs" volume create scratch
    "$BIN/mount.cairnfs" start scratch "$DEMO/mnt"

    local text
    text="A cairn marks the way back, $(date -u +%FT%TZ)."
    printf '%s\n' "$text" >"$DEMO/mnt/hello.txt"
    "$BIN/cairnfs" sync "$DEMO/mnt"
    if [ "$(cat "$DEMO/mnt/hello.txt")" != "$text" ]; then
        echo "error: $DEMO/mnt/hello.txt reads back differently" >&2
        exit 1
    fi
    cat <<TEXT

The volume \`scratch\` is mounted at $DEMO/mnt
  written and read back: hello.txt: $text

Use it:   cp -a SOMETHING $DEMO/mnt/
Look:     export CAIRNFS_CONFIG=$CAIRNFS_CONFIG PATH=$BIN:\$PATH
          mount.cairnfs status
Stop:     make stop        (or: mount.cairnfs stop $DEMO/mnt)
Again:    make run         (your files are still there)

On a bucket, with encryption at rest: README.md, "Mount a bucket".
TEXT
}

stop() {
    if [ -x "$BIN/mount.cairnfs" ] && mountpoint -q "$DEMO/mnt"; then
        "$BIN/mount.cairnfs" stop "$DEMO/mnt"
    fi
}

case "${1:-}" in
    start) start ;;
    stop) stop ;;
    *) echo "usage: scripts/demo.sh start | stop" >&2; exit 2 ;;
esac
