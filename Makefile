# What a developer does here. `make` lists it.

# Keyward needs this Go. A machine whose own is older gets it through the module
# proxy, even where GOTOOLCHAIN forbids that; one whose own will do keeps it.
GO_NEEDED := 1.27.3
GO_OWN := $(shell cd / && GOTOOLCHAIN=local go env GOVERSION)
ifneq ($(shell printf 'go$(GO_NEEDED)\n$(GO_OWN)\n' | sort -V | head -n 1),go$(GO_NEEDED))
export GOTOOLCHAIN := go$(GO_NEEDED)+auto
endif

# Tools have a module of their own, so that users of the library inherit none.
# They need no C compiler.
TOOL := CGO_ENABLED=0 go tool -modfile=tools/go.mod

# The race detector needs a C compiler.
RACE := $(if $(shell command -v $$(cd / && GOTOOLCHAIN=local go env CC) 2>/dev/null),-race)

# What go test is asked besides, as in: make test TESTFLAGS='-run Plan -v'
TESTFLAGS ?=
FUZZTIME ?= 10s
IMAGE ?= keyward

# Numbers of tenants that make growth seeds a database with, each in its own.
GROWTH ?= 1000,10000

# The fault campaign: for how long, in which order of faults (a number; empty: a
# new one), and which Markdown file its results are written into, if any.
DURATION ?= 2m
SEED ?=
REPORT ?=

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)

# Modules of their own, so that users of the library inherit none of what they
# need. interop has its own target.
MODULES = $$(find . -mindepth 2 -name go.mod ! -path './tools/*' ! -path './interop/*' ! -path '*/node_modules/*' -exec dirname {} + | sort)

GENERATED = $$(find . -name '*.gen.go' ! -path '*/node_modules/*' | sort)

.DEFAULT_GOAL := help
.PHONY: help toolchain dev test modules interop torture bench growth soak fuzz generate lint build image image-from-binary

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-19s %s\n", $$1, $$2 }' Makefile

toolchain: # the GOTOOLCHAIN that commands beside make need; nothing where none
	@echo $(if $(findstring file,$(origin GOTOOLCHAIN)),$(GOTOOLCHAIN))

dev: ## run everything with no configuration (make dev ARGS='--addr 127.0.0.1:9090')
	@deploy/ensure-postgres
	go run ./cmd/keyward dev $(ARGS)

test: ## run all tests against a real PostgreSQL
	@deploy/ensure-postgres
	@[ -n "$(RACE)" ] || echo "no C compiler: tests run without the race detector" >&2
	go test $(RACE) -timeout 25m $(TESTFLAGS) ./...

modules: ## vet and test the modules of their own: middleware and examples
	@for module in $(MODULES); do \
		echo "$$module"; \
		(cd "$$module" && go vet ./... && go test $(RACE) $(TESTFLAGS) ./...) || exit; \
	done
	@cd interop && go vet ./...

interop: ## verify tokens with JOSE libraries nobody here wrote (Go; Node if there is one)
	@deploy/ensure-postgres
	@command -v node >/dev/null || echo "Node.js is missing: its libraries are not tried" >&2
	cd interop && go test -count=1 -timeout 5m $(TESTFLAGS) ./...

torture: ## inject faults into three replicas, two workers and PostgreSQL, and check every promise (make torture DURATION=10m SEED=7 REPORT=docs/torture.md)
	@deploy/ensure-postgres
	cd torture && go run . -duration $(DURATION) $(if $(SEED),-seed $(SEED)) $(if $(REPORT),-report $(abspath $(REPORT)))

bench: ## run all benchmarks
	@deploy/ensure-postgres
	go test -run '^$$' -bench . -benchmem $(TESTFLAGS) ./...
	cd bench && go test -run '^$$' -bench . -benchmem $(TESTFLAGS) ./...

growth: ## what operations cost with few tenants and with many; draws bench/plots/growth.svg (make growth GROWTH=1000,10000,100000)
	@deploy/ensure-postgres
	@mkdir -p bench/plots
	cd bench && KEYWARD_GROWTH=$(GROWTH) KEYWARD_GROWTH_PLOT=plots/growth.svg go test -run '^$$' -bench 'BenchmarkGrowth$$' -benchtime 1x -timeout 3h $(TESTFLAGS) .

soak: ## simulate twenty thousand policies over two years each
	KEYWARD_SIMULATIONS=20000 go test -run Simulation -timeout 60m ./keys

fuzz: ## run every fuzz target for FUZZTIME each
	@deploy/ensure-postgres
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/:func / /' | sort -u | \
	while read -r file target; do \
		echo "$$target in $${file%/*}"; \
		(cd "$${file%/*}" && go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) .) || exit; \
	done

generate: ## write generated code again
	$(TOOL) sqlc generate
	CGO_ENABLED=0 go generate ./...

lint: ## check format, vet, staticcheck, and that generated code is up to date
	@bad=$$($(TOOL) gofumpt -l $$(find . -name '*.go' ! -name '*.gen.go' ! -path '*/node_modules/*')) || exit; \
		[ -z "$$bad" ] || { echo "make lint: gofumpt -w these:" >&2; echo "$$bad" >&2; exit 1; }
	go vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) sqlc diff
	@before=$$(cat $(GENERATED) | cksum); $(MAKE) --no-print-directory generate >/dev/null || exit; \
		[ "$$before" = "$$(cat $(GENERATED) | cksum)" ] || { echo "make lint: generated code was not up to date; now it is" >&2; exit 1; }

build: ## build a static binary, bin/keyward
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/keyward ./cmd/keyward

image: ## build the image IMAGE from golang's
	docker build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) -t $(IMAGE) .

image-from-binary: ## build the image IMAGE without any base image
	VERSION=$(VERSION) COMMIT=$(COMMIT) deploy/image-from-binary $(IMAGE)
