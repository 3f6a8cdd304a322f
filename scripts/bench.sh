#!/usr/bin/env bash
# Measures CairnFS beside JuiceFS, an empty FUSE file system and the raw store, all on this machine
# and one MinIO in one run, and prints the tables of docs/benchmarks.md. Needs root (mounts, cold
# caches). The lines behind the tables stay in target/bench/*.jsonl.
#
#   BENCH_SCALE=full|small       small ends within two minutes, its figures mean little
#   BENCH_SYSTEMS="cairnfs ..."  of: cairnfs cairnfs-local juicefs nullfs rawstore
#   BENCH_PROFILE=release|dev    dev only tries the script
#   BENCH_DROP_CACHES=yes|no     no leaves the page cache of the machine alone
set -euo pipefail
cd "$(dirname "$0")/.."

SCALE="${BENCH_SCALE:-full}"
SYSTEMS="${BENCH_SYSTEMS:-nullfs rawstore cairnfs cairnfs-local juicefs}"
PROFILE="${BENCH_PROFILE:-release}"
DROP_CACHES="${BENCH_DROP_CACHES:-yes}"
case "$SCALE" in
    full) FILES=10000 TREE=5600 DIRS=2000 BYTES=$((1 << 30)) PAGES=4000 APPENDS=200 ;;
    small) FILES=1000 TREE=600 DIRS=400 BYTES=$((128 << 20)) PAGES=400 APPENDS=50 ;;
    *) echo "error: BENCH_SCALE is full or small" >&2; exit 2 ;;
esac
case "$PROFILE" in
    release) BIN="$PWD/target/release" ;;
    dev) BIN="$PWD/target/debug" ;;
    *) echo "error: BENCH_PROFILE is release or dev" >&2; exit 2 ;;
esac

RESULTS="$PWD/target/bench"
DEPS="$PWD/.deps/bin"
WAIT_SECONDS=60
ACCESS_KEY=cairnfs-bench
SECRET_KEY=cairnfs-bench-secret

say() { printf 'bench: %s\n' "$*" >&2; }
# die_of LOG SENTENCE: with the end of a log, which is removed with everything else.
die_of() { die "$2: $(tail -3 "$WORK/$1.log")" "run it alone with BENCH_SYSTEMS to see more"; }
die() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 1; }

# --- what runs: one process or mount at a time beside MinIO, each known by its pid ---

WORK=
MINIO_PID=
MOUNTED=
PIDS=()

tidy_up() {
    local pid
    trap - EXIT INT TERM
    if [ -n "$MOUNTED" ] && mountpoint -q "$MOUNTED"; then umount -i -l "$MOUNTED" 2>/dev/null || true; fi
    for pid in "${PIDS[@]}" $MINIO_PID; do
        if [ -e "/proc/$pid" ]; then kill "$pid" 2>/dev/null || true; fi
    done
    [ -z "$MINIO_PID" ] || wait "$MINIO_PID" 2>/dev/null || true
    if [ -n "$WORK" ] && ! mountpoint -q "$WORK/mnt"; then rm -rf "$WORK"; fi
}

within() {
    local deadline=$((SECONDS + WAIT_SECONDS))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

free_port() {
    local port
    for port in $(shuf -i 20000-29999 -n 50); do
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    die "no free port" "stop something"
}

s3() { curl -sf --aws-sigv4 aws:amz:us-east-1:s3 -u "$ACCESS_KEY:$SECRET_KEY" -o /dev/null "$@"; }

start_minio() {
    ENDPOINT="http://127.0.0.1:$(free_port)"
    # The key is 32 bytes in base64; any will do. MinIO encrypts with it whatever comes, so that the
    # store does the same work for a system that does not ask.
    env HOME="$WORK" MINIO_ROOT_USER="$ACCESS_KEY" MINIO_ROOT_PASSWORD="$SECRET_KEY" \
        MINIO_BROWSER=off MINIO_PROMETHEUS_AUTH_TYPE=public MINIO_KMS_AUTO_ENCRYPTION=on \
        MINIO_KMS_SECRET_KEY="cairnfs-bench:Y2Fpcm5mcy10ZXN0LWtleS1vZi0zMi1ieXRlcy4uLi4=" \
        "$DEPS/minio" server --quiet --address "${ENDPOINT#http://}" \
        --console-address 127.0.0.1:0 "$WORK/minio" >"$WORK/minio.log" 2>&1 &
    MINIO_PID=$!
    within curl -sf "$ENDPOINT/minio/health/live" || die_of minio "MinIO does not start"
}

make_bucket() {
    within s3 -X PUT "$ENDPOINT/$1" || die "cannot make the bucket $1" "run scripts/deps.sh bench"
}

# --- mounting: mount_X and unmount_X for each system ---

MNT=

mount_cairnfs() { mount_volume cairnfs --sse; }
mount_cairnfs-local() { mount_volume cairnfs-local; }

mount_volume() {
    local volume="$1" summary
    shift
    if ! "$BIN/cairnfs" volume show "$volume" >/dev/null 2>&1; then
        "$BIN/cairnfs" volume create "$volume" "$@" >>"$WORK/cairnfs.log" 2>&1 ||
            die_of cairnfs "the volume $volume cannot be made"
    fi
    "$BIN/mount.cairnfs" start "$volume" "$MNT" "$@" >/dev/null
    MOUNTED="$MNT"
    summary="$("$BIN/mount.cairnfs" status "$MNT" --json)"
    PIDS=("$(field pid <<<"$summary")")
}

mount_juicefs() {
    local meta="sqlite3://$WORK/juicefs.db"
    if [ ! -e "$WORK/juicefs.db" ]; then
        env HOME="$WORK" ACCESS_KEY="$ACCESS_KEY" SECRET_KEY="$SECRET_KEY" \
            "$DEPS/juicefs" format "$meta" bench --storage s3 --bucket "$ENDPOINT/juicefs" \
            --trash-days 0 >"$WORK/juicefs.log" 2>&1 || die_of juicefs "juicefs format failed"
    fi
    # Its cache of objects would make the second mount warm.
    rm -rf "$WORK/juicefs-cache"
    env HOME="$WORK" "$DEPS/juicefs" mount "$meta" "$MNT" --no-usage-report --no-syslog \
        --backup-meta 0 --metrics 127.0.0.1:0 --cache-dir "$WORK/juicefs-cache" \
        >>"$WORK/juicefs.log" 2>&1 &
    PIDS=($!)
    MOUNTED="$MNT"
    within mountpoint -q "$MNT" || die_of juicefs "JuiceFS does not mount"
    # It answers from a child of the process that was started.
    PIDS+=($(cat /proc/"${PIDS[0]}"/task/*/children))
}

mount_nullfs() {
    "$BIN/examples/nullfs" "$MNT" >"$WORK/nullfs.log" 2>&1 &
    PIDS=($!)
    MOUNTED="$MNT"
    within mountpoint -q "$MNT" || die_of nullfs "the empty file system does not mount"
}

unmount() {
    local pid
    note_peak
    case "$1" in
        cairnfs*) "$BIN/mount.cairnfs" stop "$MNT" >/dev/null ;;
        *) umount "$MNT" ;;
    esac
    for pid in "${PIDS[@]}"; do
        within not_running "$pid" || die "process $pid does not end" "see its log in $WORK"
    done
    PIDS=() MOUNTED=
}

not_running() { ! grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; }

# Nothing of before is in any memory: neither ours nor the kernel's (of the store's files either).
remount_cold() {
    # The empty file system would forget its names; it never keeps bytes.
    if [ "$1" = nullfs ]; then drop_caches; return; fi
    unmount "$1"
    drop_caches
    "mount_$1"
}

drop_caches() {
    [ "$DROP_CACHES" = yes ] || return 0
    sync -f "$WORK"
    echo 3 2>/dev/null >/proc/sys/vm/drop_caches || true
}

# --- counting ---

# field NAME: the number of that name in JSON on standard input, laid out one name a line.
field() { sed -n "s/^ *\"$1\": \([0-9]*\).*/\1/p" | head -1; }

# PUT and GET requests so far. MinIO counts for whoever uses it; a directory's the mount counts.
requests() {
    local summary
    case "$1" in
        cairnfs-local)
            summary="$("$BIN/mount.cairnfs" status "$MNT" --json)"
            echo "$(field put <<<"$summary") $(field get <<<"$summary")"
            ;;
        nullfs) echo "0 0" ;;
        *)
            curl -sf "$ENDPOINT/minio/metrics/v3/api/requests" | awk '
                !/^minio_api_requests_total/ { next }
                /name="(PutObject(Part)?|[A-Za-z]*MultipartUpload|CopyObject)"/ { put += $NF }
                /name="GetObject"/ { get += $NF }
                END { print put + 0, get + 0 }'
            ;;
    esac
}

# Ticks of processor time that the file system's processes took so far.
cpu_ticks() {
    local pid ticks=0 stat
    for pid in "${PIDS[@]}"; do
        [ -e "/proc/$pid/stat" ] || continue
        stat="$(sed 's/.*) //' "/proc/$pid/stat")"
        # shellcheck disable=SC2086
        set -- $stat
        ticks=$((ticks + ${12} + ${13}))
    done
    echo "$ticks"
}

PEAK_KIB=0

note_peak() {
    local pid kib=0
    for pid in "${PIDS[@]}"; do
        kib=$((kib + $(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null || echo 0)))
    done
    if [ "$kib" -gt "$PEAK_KIB" ]; then PEAK_KIB=$kib; fi
}

# measure SYSTEM WORKLOAD [key=value ...]: runs it, and adds what it cost to its first line.
measure() {
    local system="$1" workload="$2" before after ticks lines verify=verify=yes
    shift 2
    [ "$system" != nullfs ] || verify=verify=no
    say "$system: $workload"
    read -r -a before <<<"$(requests "$system")"
    ticks="$(cpu_ticks)"
    lines="$("$BIN/examples/load" "$workload" "$MNT" "$verify" "$@")"
    ticks=$(($(cpu_ticks) - ticks))
    read -r -a after <<<"$(requests "$system")"
    awk -v put=$((after[0] - before[0])) -v get=$((after[1] - before[1])) \
        -v ticks="$ticks" -v hz="$(getconf CLK_TCK)" '
        NR == 1 {
            cost = sprintf(",\"put\":%d,\"get\":%d,\"cpu_seconds\":%.2f}", put, get, ticks / hz)
            sub(/}$/, cost)
        }
        { print }' <<<"$lines" >>"$RESULTS/$system.jsonl"
}

run_system() {
    local system="$1"
    PEAK_KIB=0
    drop_caches
    "mount_$system"
    measure "$system" create files=$FILES
    remount_cold "$system"
    measure "$system" stat files=$FILES
    remount_cold "$system"
    measure "$system" read files=$FILES
    measure "$system" remove files=$FILES
    measure "$system" directories count=$DIRS
    measure "$system" untar tar="$WORK/tree.tar"
    measure "$system" write-stream bytes=$BYTES
    remount_cold "$system"
    measure "$system" read-stream
    remount_cold "$system"
    measure "$system" random-read count=$PAGES
    measure "$system" random-write count=$PAGES
    measure "$system" fsync count=$APPENDS
    unmount "$system"
    echo "{\"name\":\"peak-memory\",\"kib\":$PEAK_KIB}" >>"$RESULTS/$system.jsonl"
}

run_rawstore() {
    local workloads
    for workloads in "create fsync" read write-stream read-stream "random-read remove"; do
        say "rawstore: $workloads"
        drop_caches
        # shellcheck disable=SC2086
        "$BIN/examples/rawstore" rawstore "$BYTES" "$FILES" $workloads >>"$RESULTS/rawstore.jsonl"
    done
}

# --- the run ---

[ "$(id -u)" = 0 ] || die "mounting needs root" "run this as root"
for program in minio juicefs; do
    [ -x "$DEPS/$program" ] || die "$program is not installed" "run scripts/deps.sh bench"
done
cargo build --quiet --locked --profile "$PROFILE" --bin cairnfs \
    --example load --example nullfs --example rawstore
ln -sfn cairnfs "$BIN/mount.cairnfs"

mkdir -p "$RESULTS"
WORK="$(mktemp -d "$RESULTS/run.XXXXXX")"
trap tidy_up EXIT
trap 'exit 130' INT TERM
MNT="$WORK/mnt"
mkdir -p "$MNT" "$WORK/minio" "$WORK/directory"
start_minio
export CAIRNFS_CONFIG="$WORK/config.toml"
export BENCH_ACCESS_KEY_ID="$ACCESS_KEY" BENCH_SECRET_ACCESS_KEY="$SECRET_KEY"
cat >"$CAIRNFS_CONFIG" <<TOML
[volumes.cairnfs-local]
provider = "local"
path = "$WORK/directory"
TOML
for bucket in cairnfs rawstore; do
    cat >>"$CAIRNFS_CONFIG" <<TOML

[volumes.$bucket]
provider = "minio"
endpoint = "$ENDPOINT"
bucket = "$bucket"
sse = "aes256"
credentials = { env = "BENCH" }
TOML
done
for bucket in cairnfs rawstore juicefs; do make_bucket "$bucket"; done
"$BIN/examples/load" make-tar "$WORK/tree.tar" files=$TREE

# Only what one run measured stands in one table.
rm -f "$RESULTS"/*.jsonl
for system in $SYSTEMS; do
    case "$system" in
        rawstore) run_rawstore ;;
        cairnfs | cairnfs-local | juicefs | nullfs) run_system "$system" ;;
        *) die "there is no system $system" "see the head of this script" ;;
    esac
done

printf 'CairnFS %s, JuiceFS %s, Linux %s, %s processors, scale %s, profile %s, %s\n\n' \
    "$("$BIN/cairnfs" --version | awk '{ print $2 }')" \
    "$("$DEPS/juicefs" version | awk '{ print $3 }')" "$(uname -r)" "$(nproc)" "$SCALE" "$PROFILE" \
    "$(date -u +%F)"
"$BIN/examples/load" report "$RESULTS"
