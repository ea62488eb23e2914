#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes LangChain programs that open no file of a LangChain package, in build/packed: "build.sh zip go" those that take
# seconds, "build.sh" all: PEX, PyInstaller and esbuild too, which are fetched. A stamp makes it do nothing twice.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../../.." && pwd)
out=$top/build/packed
venv=$top/build/venv-current
kinds=("$@")
[ $# -gt 0 ] || kinds=(zip go pex pyinstaller esbuild)

die() { echo "packed: $*" >&2; exit 1; }
[ -x "$venv/bin/python" ] || die "build/venv-current is missing: run test/e2e/python/make-venv.sh current"
mkdir -p "$out"
exec 9>"$out/.lock"
flock 9

python=$venv/bin/python
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

tools() {
  [ -x "$out/tools/bin/pex" ] && [ -x "$out/tools/bin/pyinstaller" ] && return
  "$python" -m venv "$out/tools"
  "$out/tools/bin/pip" install --quiet --disable-pip-version-check --no-input pex==2.105.2 pyinstaller==6.22.3 pyinstaller-hooks-contrib==2026.9
}

make_zip() { # app.pyz, and lib.zip without a program in it; native holds what cannot be imported from an archive
  rm -rf "$out/zip" && mkdir -p "$out/zip/lib" "$out/zip/native"
  for p in "$site"/*; do
    case $(basename "$p") in
      langchain_core | langchain_openai | langchain_protocol) cp -rL "$p" "$out/zip/lib/" ;;
      langchain | langgraph | __pycache__) ;;
      *) ln -s "$p" "$out/zip/native/" ;;
    esac
  done
  find "$out/zip/lib" -name __pycache__ -prune -exec rm -rf {} +
  "$python" -m compileall -q -b --invalidation-mode unchecked-hash "$out/zip/lib" # an archive is never compiled by who reads it
  cp "$here/__main__.py" "$out/zip/main.py"
  "$python" -m zipfile -c "$out/zip/lib.zip" "$out/zip/lib"/*
  cp "$here/__main__.py" "$out/zip/lib/__main__.py"
  "$python" -m zipapp -c -p /usr/bin/env\ python3 -o "$out/zip/app.pyz" "$out/zip/lib"
}

make_go() {
  mkdir -p "$out/go"
  CGO_ENABLED=0 GOWORK=off "${GO:-go}" build -C "$here/langchaingo" -o "$out/go/langchaingo" .
}

make_pex() {
  tools
  mkdir -p "$out/pex"
  "$out/tools/bin/pex" --venv-repository "$venv" langchain-openai --exe "$here/__main__.py" -o "$out/pex/app.pex"
}

make_pyinstaller() {
  tools
  mkdir -p "$out/pyinstaller"
  for how in onedir onefile; do
    PYTHONPATH=$site "$out/tools/bin/pyinstaller" --log-level WARN --noconfirm "--$how" --name "app-$how" --hidden-import langchain_openai \
      --distpath "$out/pyinstaller" --workpath "$out/pyinstaller/work-$how" --specpath "$out/pyinstaller" "$here/__main__.py"
  done
}

make_esbuild() {
  mkdir -p "$out/esbuild"
  cp "$here/package.json" "$here/app.mjs" "$out/esbuild/"
  npm install --prefix "$out/esbuild" --no-audit --no-fund --loglevel=error
  for minify in "" --minify; do
    "$out/esbuild/node_modules/.bin/esbuild" "$out/esbuild/app.mjs" --bundle --platform=node --format=esm --log-level=error $minify \
      --banner:js='import { createRequire } from "module"; const require = createRequire(import.meta.url);' --outfile="$out/esbuild/bundle$minify.mjs"
  done
}

for kind in "${kinds[@]}"; do
  declare -F "make_$kind" >/dev/null || die "no such kind $kind: zip go pex pyinstaller esbuild"
  stamp=$({ cat "$here/build.sh" "$here"/*.py "$here"/*.mjs "$here/package.json" "$here"/langchaingo/*; "$python" -V; cat "$venv/.stamp" 2>/dev/null || true; } | sha256sum | cut -c1-64)
  [ "$(cat "$out/.stamp-$kind" 2>/dev/null)" = "$stamp" ] && continue
  echo "packed: making the $kind program"
  "make_$kind"
  echo "$stamp" >"$out/.stamp-$kind"
done
