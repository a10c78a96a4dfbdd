#!/usr/bin/env bash
# Runs every suite in full size and writes docs/evaluation.md from what the tests wrote down. Takes hours, not minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p tests/.out
export PITWALL_FIGURES="$PWD/tests/.out/figures.jsonl"
: >"$PITWALL_FIGURES"

CGO_ENABLED=0 go test -count=1 -timeout 3h ./...
go -C examples/shop test -count=1 ./...
for m in tests/peers/*/; do go -C "$m" test -count=1 -timeout 3h ./...; done
go -C tests test -count=1 -p 1 -timeout 3h ./...
go -C tests run ./cmd/benchprocess -binary "$PWD/bin/pitwall-sidecar"

model=$(awk -F ': *' '/^model name/ {print $2; exit}' /proc/cpuinfo 2>/dev/null || uname -m)
go -C tests run ./cmd/evaluation -figures "$PITWALL_FIGURES" -out ../docs/evaluation.md \
  -machine "$(nproc) cores of a shared virtual machine ($model), $(go version | cut -d' ' -f3-)"
echo "docs/evaluation.md is written"
