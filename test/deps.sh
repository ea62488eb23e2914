#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing for build, tests and demo, quietly, and says what. Does nothing when nothing is missing.
set -euo pipefail

die() { echo "deps: $*" >&2; exit 1; }

want=(); add() { command -v "$1" >/dev/null 2>&1 || want+=("$2"); }
add git git
add curl curl
add ip iproute2
add unshare util-linux
add crun crun
add python3 python3
add javac default-jdk-headless
add mvn maven
add node nodejs
add npm npm
add clang-16 clang-16
add llvm-strip-16 llvm-16
[ -e /usr/include/bpf/bpf_helpers.h ] || want+=(libbpf-dev)
python3 -c 'import ensurepip, venv' 2>/dev/null || want+=(python3-venv)
[ -e /etc/ssl/certs/ca-certificates.crt ] || want+=(ca-certificates)
command -v go >/dev/null 2>&1 || want+=(golang-go)
# The race detector needs a C compiler; nothing else does.
command -v gcc >/dev/null 2>&1 || want+=(gcc libc6-dev)

if [ ${#want[@]} -gt 0 ]; then
  command -v apt-get >/dev/null 2>&1 || die "missing: ${want[*]} (no apt-get here: install them by hand)"
  [ "$(id -u)" = 0 ] || die "missing: ${want[*]} (run 'sudo make deps')"
  echo "deps: installing ${want[*]}"
  log=$(mktemp)
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${want[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2; rm -f "$log"
    die "apt-get could not install ${want[*]}"
  fi
  rm -f "$log"
fi

# go.mod names the language version; Go 1.21 and newer fetch a matching toolchain by themselves.
have=$(go env GOVERSION 2>/dev/null | sed 's/^go//')
[ "$(printf '%s\n1.21\n' "$have" | sort -V | head -n 1)" = 1.21 ] ||
  die "Go $have is too old to fetch the toolchain that go.mod names: install Go 1.26 or newer from https://go.dev/dl/"
