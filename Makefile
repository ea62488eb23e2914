# SPDX-License-Identifier: Apache-2.0
# Every target works from a clean clone. `make deps` installs what is missing; the others that need something call it.

SHELL      := /bin/bash
GO         ?= go
BUILD      := build
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS    := -s -w -X main.version=$(VERSION)
FUZZTIME   ?= 6s
CLANG      ?= clang-16
STRIP      ?= llvm-strip-16

.DEFAULT_GOAL := help
.PHONY: help deps build generate check-generated lint test test-unit test-race test-root test-e2e test-packed test-streams coverage holds demo bench bench-mask soak fault fuzz clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install what build, tests and demo need and is missing (Debian or Ubuntu, root)
	@test/deps.sh

build: ## build sallyportd and sallyport into build/ (no clang needed)
	@mkdir -p $(BUILD)
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BUILD)/ ./cmd/...
	@echo "built $(BUILD)/sallyportd and $(BUILD)/sallyport"

generate: ## rebuild the committed kernel objects and generated pages
	@BPF2GO_CC=$(CLANG) BPF2GO_STRIP=$(STRIP) $(GO) generate ./...

check-generated: ## prove that what is committed is what generate makes
	@test/check-generated.sh

lint: ## go vet and staticcheck
	@test -z "$$(gofmt -l agent bpf cmd pipeline test tlsca | tee /dev/stderr)" || { echo "run gofmt -w on the files above"; exit 1; }
	@$(GO) vet ./... && $(GO) vet -tags root,e2e ./...
	@$(GO) tool staticcheck -tags root,e2e ./...
	@echo "lint: clean"

test: ## everything that CI runs: lint, unit, race, fuzz, root and end-to-end tests
	@test/all.sh

test-unit: ## tests that need no root
	@$(GO) test ./agent/... ./bpf/... ./cmd/... ./pipeline/... ./tlsca/... ./test/arch/... ./test/bench/... ./test/fakellm/... ./test/fakes/... ./test/holds/... ./test/masking/...

# Of masking only what shares something runs here: its tests of equality are one goroutine each, and slow enough without.
test-race: ## one pass under the race detector
	@$(GO) test -race -short ./agent/proxy/... ./agent/metrics/... $$($(GO) list ./pipeline/... | grep -v /pipeline/mask) ./tlsca/...
	@$(GO) test -race -short -run 'Many|AtOnce|Concurrent|With' ./pipeline/mask/...

test-root: ## kernel, namespace and mount tests; fails without root
	@[ "$$(id -u)" = 0 ] || { echo "test-root needs root: run it with sudo"; exit 1; }
	@test/e2e/python/make-venv.sh
	@$(GO) test -count=1 -p 1 -timeout 20m -tags root ./agent/... ./cmd/... ./pipeline/... ./tlsca/... ./test/kernel/... ./test/trust/...

test-e2e: build ## real LangChain programs and a real Elasticsearch through the kernel hook; fails without root
	@[ "$$(id -u)" = 0 ] || { echo "test-e2e needs root: run it with sudo"; exit 1; }
	@test/e2e/python/make-venv.sh
	@test/e2e/node/make-node.sh
	@$(GO) test -count=1 -p 1 -timeout 40m -tags root,e2e ./test/e2e/... ./test/es/...
	@$(MAKE) -s test-streams

test-packed: build ## LangChain in zip, PEX, PyInstaller, esbuild bundle and Go: each is recognised (fetches and builds them in build/packed)
	@[ "$$(id -u)" = 0 ] || { echo "test-packed needs root: run it with sudo"; exit 1; }
	@test/e2e/python/make-venv.sh current
	@PACKED=all $(GO) test -count=1 -timeout 20m -tags root,e2e -run 'TestPackedPrograms' ./test/e2e

test-streams: build ## 2,000 streams through enforce: none cut, reordered or different, all on record; part of test-e2e
	@[ "$$(id -u)" = 0 ] || { echo "test-streams needs root: run it with sudo"; exit 1; }
	@$(GO) build -o $(BUILD)/ ./test/bench/cmd/...
	@timeout 120 $(BUILD)/benchrun -only enforce -rounds 1 -work soak -streams 2000

coverage: build ## every LangChain client, before the agent, after it, in containers; writes docs/coverage.md
	@test/e2e/coverage.sh

holds: build ## a tool call of each SDK's agent is held for HOLD (10m) and then approved: streams go on, plain calls are told and served later
	@[ "$$(id -u)" = 0 ] || { echo "holds needs root: run it with sudo"; exit 1; }
	@test/e2e/python/make-venv.sh current
	@test/e2e/node/make-node.sh
	@HOLD=$${HOLD:-10m} $(GO) test -v -count=1 -timeout 60m -tags root,e2e -run 'TestHolds' ./test/e2e

demo: ## one unmodified LangChain program, intercepted, judged, masked, recorded (LIVE=1: the real endpoint)
	@test/demo/demo.sh

bench: build ## measure the data path beside other proxies; writes build/bench
	@test/bench/run.sh
	@test/masking/bench.sh

bench-mask: ## measure masking beside gitleaks on the same texts, on one core; writes build/bench/masking.md
	@test/masking/bench.sh

soak: build ## SOAK_STREAMS (100000) streams through enforce, every byte compared; then 10, 100 and 1,000 at a time; then make soak-record
	@test/bench/run.sh -only enforce -rounds 1 -work soak,streams-10,streams-100,streams-1000 -streams $${SOAK_STREAMS:-100000}
	@$(MAKE) -s soak-record

soak-record: build ## RECORD_EXCHANGES (100000) exchanges while agent and Elasticsearch are killed, the network is cut, the disk is full, RECORD_ROUNDS (5) times each
	@[ "$$(id -u)" = 0 ] || { echo "soak-record needs root: run it with sudo"; exit 1; }
	@RECORD_EXCHANGES=$${RECORD_EXCHANGES:-100000} RECORD_ROUNDS=$${RECORD_ROUNDS:-5} $(GO) test -v -count=1 -timeout 120m -tags root,e2e -run 'TestRecordIsComplete' ./test/e2e

# The parts of the fault suite: docs/faults.md. FAULT_ROUNDS, RESTARTS and UPGRADES say how long it takes.
FAULTS_E2E := Kill|Provider|NoDescriptors|DiskFull|LoseNothing|UpgradeThatFails|SyncFails|NoMemory|Clock|RefusesToStart
FAULTS_UNIT := Rejected|Malformed|Pipelined|Surplus|Incomplete|Failures|Reuse|Stale|SentOnce|Closing|Nobody|Hung|Slow|Stall|Stalls|Lie|Codings|FailClosed|Torn|Zero|Flipped|Hole|Damaged|Latches|Died|Kill|Full|Flood|Missed|Notices|Dead|ByHand
fault: build ## the fault suite in its long form: FAULT_ROUNDS (200) kills of each kind, RESTARTS (50), UPGRADES (50)
	@[ "$$(id -u)" = 0 ] || { echo "fault needs root: run it with sudo"; exit 1; }
	@test/e2e/python/make-venv.sh
	@$(GO) test -count=1 -p 1 -tags root -run '$(FAULTS_UNIT)' ./agent/proxy/... ./agent/daemon ./pipeline/flow ./pipeline/journal ./test/kernel
	@FAULT_ROUNDS=$${FAULT_ROUNDS:-200} RESTARTS=$${RESTARTS:-50} UPGRADES=$${UPGRADES:-50} $(GO) test -v -count=1 -timeout 90m -tags root,e2e -run '$(FAULTS_E2E)' ./test/e2e

fuzz: ## run every fuzz target for FUZZTIME (6s)
	@FUZZTIME=$(FUZZTIME) test/fuzz.sh

clean: ## remove build/
	@rm -rf $(BUILD)
