#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes build/venv-current and build/venv-0.3 from the requirements beside this script. A stamp with their hash and the
# Python version makes it do nothing when nothing changed. "make-venv.sh current" makes only that one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "$here/../../.." && pwd)/build
python=${PYTHON:-python3}

die() { echo "make-venv: $*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
  die "$python is missing or older than 3.10: install one, or name one with PYTHON=..."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
  die "$python has no venv module: apt-get install python3-venv"

mkdir -p "$build"
exec 9>"$build/.venv.lock"
flock 9 # two runs at once would build in the same folder

names=("$@")
[ $# -gt 0 ] || names=(current 0.3)
for name in "${names[@]}"; do
  req=$here/requirements-$name.txt
  venv=$build/venv-$name
  [ -e "$req" ] || die "no requirements-$name.txt: see the files beside this script"
  stamp=$({ cat "$req"; "$python" -c 'import sys; print(sys.version, sys.base_prefix)'; echo "$venv"; } | sha256sum | cut -c1-64)
  [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$stamp" ] && continue
  echo "make-venv: installing $(grep -c == "$req") packages ($(grep -E '^(langchain-[a-z-]+|openai|anthropic)==' "$req" | paste -sd' ')) into build/venv-$name"
  rm -rf "$venv"
  log=$(mktemp)
  if ! { "$python" -m venv "$venv" &&
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps -r "$req" &&
    "$venv/bin/python" -m pip --disable-pip-version-check check; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -rf "$log" "$venv"
    die "pip could not install $req"
  fi
  rm -f "$log"
  # Compiled once here, so that the first start of a program is like the others.
  "$venv/bin/python" -m compileall -q "$venv/lib" >/dev/null 2>&1 || true
  echo "$stamp" >"$venv/.stamp"
done
