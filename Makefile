# The commands of this repository. `make help` lists them; the README says what each is for.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := $(CURDIR)/bin
CACHE := $(CURDIR)/.cache
# What the linter remembers names files by where they were: two checkouts must not share it.
export GOLANGCI_LINT_CACHE := $(CACHE)/golangci-lint-results

# How large the property, crash and replay suites run: 1 is the size the tables in docs/evaluation.md are made at.
PITWALL_SCALE ?= 0.01
export PITWALL_SCALE

# The same bytes from the same commit on any machine: no paths, no time, no state of the checkout.
BUILD_FLAGS = -trimpath -buildvcs=false -tags $(BUILD_TAGS) -ldflags "-s -w -buildid="
# As in the manifests; distributions/README.md says what they leave out.
BUILD_TAGS := grpcnotrace
$(BIN)/pitwall-sidecar: BUILD_TAGS := grpcnotrace,pitwall_nopolicies
export CGO_ENABLED := 0

# The race detector needs a C compiler; nothing else here does.
ifneq ($(shell command -v gcc || command -v clang),)
RACE := -race
CGO_FOR_RACE := 1
RACE_NOTE := @:
else
RACE :=
CGO_FOR_RACE := 0
RACE_NOTE := @echo "NO C COMPILER: the components are tested without the race detector"
endif

# Our own Go modules besides the root.
MODULES := examples/shop tests distributions/leftout/eks $(patsubst %/go.mod,%,$(wildcard tests/peers/*/go.mod))
SOURCES := go.mod go.sum $(shell git ls-files '*.go' extension/optimizationextension/console docs/signal.schema.json | grep -vE '^(cmd|tests|examples|distributions)/|_test\.go$$' 2>/dev/null)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##### Try it

.PHONY: run
run: ## build what is missing, start the shop and the collector, watch a signal arrive
	@scripts/build.sh pitwall-sidecar demo
	@exec $(BIN)/demo -collector $(BIN)/pitwall-sidecar -config configs/demo.yaml $(DEMO_ARGS)

##### Build

.PHONY: build
build: ## the full binary, the small one, the ledger command and the shop, into bin/
	@scripts/build.sh pitwall-sidecar pitwall pitwall-ledger demo shop

$(BIN)/pitwall: distributions/pitwall/main.go distributions/pitwall/components.go distributions/pitwall/go.mod $(SOURCES)
	go -C distributions/pitwall build $(GO_BUILD_ARGS) $(BUILD_FLAGS) -o $@ .

$(BIN)/pitwall-sidecar: distributions/pitwall-sidecar/main.go distributions/pitwall-sidecar/components.go distributions/pitwall-sidecar/go.mod $(wildcard distributions/leftout/*/*) $(SOURCES)
	go -C distributions/pitwall-sidecar build $(GO_BUILD_ARGS) $(BUILD_FLAGS) -o $@ .

$(BIN)/shop: $(shell git ls-files 'examples/shop' 2>/dev/null)
	go -C examples/shop build $(GO_BUILD_ARGS) $(BUILD_FLAGS) -o $@ .

$(BIN)/demo: $(shell git ls-files 'examples/shop' 2>/dev/null)
	go -C examples/shop build $(GO_BUILD_ARGS) $(BUILD_FLAGS) -o $@ ./cmd/demo

$(BIN)/pitwall-ledger: $(shell git ls-files 'cmd/pitwall-ledger' 'internal/signal' 2>/dev/null)
	go build $(GO_BUILD_ARGS) $(BUILD_FLAGS) -o $@ ./cmd/pitwall-ledger

# The short names that tests and people type.
.PHONY: bin/pitwall bin/pitwall-sidecar bin/pitwall-ledger bin/shop bin/demo
bin/pitwall: $(BIN)/pitwall
bin/pitwall-sidecar: $(BIN)/pitwall-sidecar
bin/pitwall-ledger: $(BIN)/pitwall-ledger
bin/shop: $(BIN)/shop
bin/demo: $(BIN)/demo

.PHONY: generate
generate: ## rebuild everything generated: component metadata and the distributions
	go generate ./...
	go tool -modfile=tools/go.mod builder --config builder-config.yaml --skip-compilation
	go tool -modfile=tools/go.mod builder --config builder-config.sidecar.yaml --skip-compilation

##### Check

.PHONY: test
test: lint check-generated unit e2e ## everything CI runs

.PHONY: unit
unit: ## unit, property and golden tests of every module; the components with the race detector
	go test ./internal/... ./cmd/... ./docs/...
	go test -tags pitwall_nopolicies ./internal/policy
	$(RACE_NOTE)
	CGO_ENABLED=$(CGO_FOR_RACE) go test $(RACE) ./receiver/... ./processor/... ./connector/... ./exporter/... ./extension/...
	CGO_ENABLED=$(CGO_FOR_RACE) go -C examples/shop test $(RACE) ./...
	for m in tests/peers/*/; do go -C $$m test ./...; done

.PHONY: e2e
e2e: bin/pitwall bin/pitwall-sidecar bin/shop bin/demo ## the built binaries as processes, against real peers
	go -C tests test -count=1 -p 1 -timeout 40m ./...

.PHONY: lint
lint: $(CACHE)/golangci-lint ## gofumpt, vet and the linters of .golangci.yml
	$(CACHE)/golangci-lint run --allow-parallel-runners ./...
	for m in $(MODULES); do (cd $$m && $(CACHE)/golangci-lint run --allow-parallel-runners --config $(CURDIR)/.golangci.yml ./...); done

$(CACHE)/golangci-lint: tools/lint/go.mod
	go -C tools/lint build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: check-generated
check-generated: ## fail when generated code is not what `make generate` makes
	scripts/check-generated.sh

.PHONY: fuzz
fuzz: ## every fuzz target for a few seconds (FUZZTIME=10s)
	scripts/fuzz.sh

.PHONY: prove
prove: bin/pitwall bin/pitwall-sidecar bin/shop bin/demo ## every table in full size; writes docs/evaluation.md
	PITWALL_SCALE=1 scripts/prove.sh

##### Measure

.PHONY: bench
bench: ## every Go benchmark: time, bytes and allocations per item
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-process
bench-process: bin/pitwall-sidecar ## the binary as a process: spans per CPU second and memory, by chain
	go -C tests run ./cmd/benchprocess -binary $(BIN)/pitwall-sidecar $(BENCH_ARGS)

.PHONY: fmt
fmt: ## format the code
	go -C tools tool gofumpt -l -w ..

.PHONY: clean
clean: ## remove what builds and runs left behind
	rm -rf bin .cache .run tests/.out coverage.out
