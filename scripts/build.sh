#!/usr/bin/env bash
# Builds the named binaries into bin/ and shows that something is happening: compiling from an empty cache takes minutes.
# Usage: scripts/build.sh pitwall-sidecar demo ...
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

for name in "$@"; do
  : >"$log"
  start=$SECONDS
  # go build -v names each package when it is compiled; nothing is printed for what the cache already holds.
  make --no-print-directory "bin/$name" GO_BUILD_ARGS=-v >"$log" 2>&1 &
  pid=$!
  shown=0
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    elapsed=$((SECONDS - start))
    compiled=$(grep -cE '^[a-z0-9.]+(/|$)' "$log" || true)
    if [[ -t 1 ]]; then
      printf '\r\033[K  building %s: %d packages compiled, %d s' "$name" "$compiled" "$elapsed"
    elif ((elapsed >= shown + 15)); then
      shown=$elapsed
      printf '  building %s: %d packages compiled, %d s\n' "$name" "$compiled" "$elapsed"
    fi
  done
  if ! wait "$pid"; then
    printf '\nbuilding %s failed:\n' "$name" >&2
    tail -n 40 "$log" >&2
    exit 1
  fi
  [[ -t 1 ]] && printf '\r\033[K'
  printf '  %s is ready (%s, %d s)\n' "bin/$name" "$(du -h "bin/$name" | cut -f1)" "$((SECONDS - start))"
done
