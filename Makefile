# What developers run. `make` lists the targets.

# Keyward needs at least this Go version. A machine with an older one downloads
# it through the module proxy, even where GOTOOLCHAIN forbids that.
GO_NEEDED := 1.27.3
GO_OWN := $(shell cd / && GOTOOLCHAIN=local go env GOVERSION)
ifneq ($(shell printf 'go$(GO_NEEDED)\n$(GO_OWN)\n' | sort -V | head -n 1),go$(GO_NEEDED))
export GOTOOLCHAIN := go$(GO_NEEDED)+auto
endif

# Tools are a separate module, so that importers of the libraries inherit none of
# their dependencies. They need no C compiler.
TOOL := CGO_ENABLED=0 go tool -modfile=tools/go.mod

# The race detector needs a C compiler.
RACE := $(if $(shell command -v $$(cd / && GOTOOLCHAIN=local go env CC) 2>/dev/null),-race)

# More flags of go test, as in: make test TESTFLAGS='-run Plan -v'
TESTFLAGS ?=
FUZZTIME ?= 10s
IMAGE ?= keyward

# Numbers of tenants for make growth, which seeds one database for each.
GROWTH ?= 1000,10000

# The fault campaign: for how long, in which order of faults (a number; empty: a
# new one), which Markdown file its results are written into, if any, and which
# program it runs (empty: one is built whose clock can be moved; with another one,
# as bin/keyward, the faults of clocks are left out).
DURATION ?= 2m
SEED ?=
REPORT ?=
PROGRAM ?=

# Which earlier program the campaign begins with, to be upgraded under load (git: one is
# built from an earlier commit; none: there is no upgrade; empty: git, or none if PROGRAM is given).
PREVIOUS ?=

# Set: a failover by Patroni and etcd at the end, which takes two minutes and root.
FAILOVER ?=

# make torture-soak: for how long, how many times slower than usual the clients work,
# and the page that its results are written into.
SOAK ?= 1h
PACE ?= 4
SOAKPAGE ?= docs/soak.md

# Systems and architectures for make cross.
CROSS ?= windows/amd64

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)

# Separate modules, so that importers of the libraries inherit none of their
# dependencies. interop has its own target.
MODULES = $$(find . -mindepth 2 -name go.mod ! -path './tools/*' ! -path './interop/*' ! -path '*/node_modules/*' -exec dirname {} + | sort)

SOURCES = $$(find . -name '*.go' ! -name '*.gen.go' ! -path '*/node_modules/*' ! -path './.keyward/*')

SCRIPTS = .ci/run .ci/commit-subjects .ci/compose-ha deploy/release deploy/sbom deploy/ensure-postgres deploy/image-from-binary deploy/postgres-image deploy/haproxy-image \
	deploy/copy-libraries deploy/rootfs deploy/compose-ha/make-secrets deploy/compose-ha/node deploy/compose-ha/logins

GENERATED = $$(find . -name '*.gen.go' ! -path '*/node_modules/*' | sort)

.DEFAULT_GOAL := help
.PHONY: help toolchain dev test modules interop torture torture-soak bench beside growth soak fuzz timeline pictures metrics guards dependencies sbom gosec vulncheck generate imports lint build release cross image image-from-binary

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-19s %s\n", $$1, $$2 }' Makefile

toolchain: # print the GOTOOLCHAIN that commands run without make need, if any
	@echo $(if $(findstring file,$(origin GOTOOLCHAIN)),$(GOTOOLCHAIN))

dev: ## run everything with no configuration (make dev ARGS='--addr 127.0.0.1:9090')
	@deploy/ensure-postgres
	go run ./cmd/keyward dev $(ARGS)

test: ## run all tests against a real PostgreSQL
	@deploy/ensure-postgres
	@[ -n "$(RACE)" ] || echo "no C compiler: tests run without the race detector" >&2
	go test $(RACE) -timeout 40m $(TESTFLAGS) ./...

modules: ## vet and test the separate modules: middleware, fronts and examples
	@deploy/ensure-postgres
	@for module in $(MODULES); do \
		echo "$$module"; \
		(cd "$$module" && go vet ./... && go test $(RACE) $(TESTFLAGS) ./...) || exit; \
	done
	@cd interop && go vet ./...

interop: ## verify tokens with foreign JOSE libraries and servers, as far as they are installed
	@deploy/ensure-postgres
	@command -v node >/dev/null || echo "Node.js is missing: its libraries are not tested" >&2
	cd interop && go test -count=1 -timeout 10m $(TESTFLAGS) ./...

.PHONY: clients types
clients: ## test the npm package, the programs of docs/integrating.md and generators of API clients (part of interop)
	@deploy/ensure-postgres
	@command -v node >/dev/null || echo "Node.js is missing: what needs it is skipped" >&2
	cd interop && go test -count=1 -timeout 10m -run '^(TestNodeClient|TestGenerators|TestPrograms)' $(TESTFLAGS) .

types: ## generate the npm package's types from openapi.yaml (needs Node.js)
	cd clients/node && npm ci --silent && npm run --silent types

# The options that make torture and make torture-soak share.
CAMPAIGN = $(if $(SEED),-seed $(SEED)) $(if $(REPORT),-report $(abspath $(REPORT))) $(if $(PROGRAM),-keyward $(abspath $(PROGRAM))) $(if $(PREVIOUS),-previous $(if $(filter none git,$(PREVIOUS)),$(PREVIOUS),$(abspath $(PREVIOUS)))) $(if $(FAILOVER),-failover)

torture: ## inject faults into three replicas, two workers and PostgreSQL, and check every promise (make torture DURATION=10m SEED=7 REPORT=docs/torture.md)
	@deploy/ensure-postgres
	cd torture && go run . -duration $(DURATION) $(CAMPAIGN)

torture-soak: ## the same for SOAK (1h) with a fault each half minute; write docs/soak.md with pictures of memory, connections, tables and lateness
	@deploy/ensure-postgres
	cd torture && go run . -duration $(SOAK) -gap 30s -pace $(PACE) -soak $(abspath $(SOAKPAGE)) $(CAMPAIGN)

bench: ## run all benchmarks
	@deploy/ensure-postgres
	go test -run '^$$' -bench . -benchmem $(TESTFLAGS) ./...
	cd bench && go test -run '^$$' -bench . -benchmem $(TESTFLAGS) ./...

beside: ## measure Keyward and a bare server, each a process of its own, by turns (needs wrk and two cores)
	@deploy/ensure-postgres
	cd bench && go run ./beside

growth: ## measure operations with few and many tenants; draw bench/plots/growth.svg (make growth GROWTH=1000,10000,100000)
	@deploy/ensure-postgres
	@mkdir -p bench/plots
	cd bench && KEYWARD_GROWTH=$(GROWTH) KEYWARD_GROWTH_PLOT=plots/growth.svg go test -run '^$$' -bench 'BenchmarkGrowth$$' -benchtime 1x -timeout 3h $(TESTFLAGS) .

soak: ## simulate 20,000 policies over two years each
	KEYWARD_SIMULATIONS=20000 go test -run Simulation -timeout 60m ./keys

fuzz: ## run every fuzz target for FUZZTIME each
	@deploy/ensure-postgres
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/:func / /' | sort -u | \
	while read -r file target; do \
		echo "$$target in $${file%/*}"; \
		(cd "$${file%/*}" && go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) .) || exit; \
	done

timeline: pictures
pictures: ## draw the pictures in docs that show what the program does: timeline, life of a key, caches, revocation, parts
	KEYWARD_DRAW=1 go test -count=1 -run '^(TestTimelinePicture|TestPictures)$$' ./keys

.PHONY: screenshots
screenshots: ## take the pictures of the console in docs again (needs Chromium)
	@deploy/ensure-postgres
	dir=$$(mktemp -d) && KEYWARD_SCREENSHOTS=$$dir go test -count=1 -run '^TestConsoleScreenshots$$' ./httpapi && \
		cp $$dir/tenant-rotating.png docs/console-tenant.png && cp $$dir/tenant-rotating-dark.png docs/console-dark.png && cp $$dir/revoke.png docs/console-revoke.png && \
		rm -r $$dir

metrics: ## write the table of metrics into docs/monitoring.md
	KEYWARD_DRAW=1 go test -count=1 -run '^TestTableOfMetrics$$' ./cmd/keyward

guards: ## write db/guards.json, the roles, privileges, policies and triggers that doctor expects
	KEYWARD_DRAW=1 go test -count=1 -run '^TestGuards$$' ./db

.PHONY: verifiers
verifiers: ## write docs/verifiers.md: how the foreign verifiers that are installed behave
	cd interop && KEYWARD_DRAW=1 go test -count=1 -timeout 10m -run '^TestForeignReaders$$' .

dependencies: ## write docs/dependencies.md, the modules with their licences and reasons
	KEYWARD_DRAW=1 go test -count=1 -run '^TestDependencies$$' .

sbom: build ## write the components of bin/keyward as CycloneDX, with their licences, to bin/keyward.cdx.json
	deploy/sbom bin/keyward $(or $(VERSION),unknown) >bin/keyward.cdx.json

# Excluded for the whole program (docs/decisions/lint.md): errors ignored on failure paths
# (G104), conversions behind bounds (G115), files that the operator names (G304). What is
# excluded for a line says why there.
GOSEC := github.com/securego/gosec/v2/cmd/gosec@v2.30.0
GOSEC_EXCLUDES := -exclude-generated -exclude=G104,G115,G304 $(addprefix -exclude-dir=,torture bench interop examples dbtest kmstest keystest browsertest jwkstest)

gosec: ## search the program for insecure constructs (downloads gosec)
	CGO_ENABLED=0 go run $(GOSEC) -quiet $(GOSEC_EXCLUDES) ./...

VULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
VULNDB ?= https://vuln.go.dev

vulncheck: ## compare the modules with the Go vulnerability database (needs vuln.go.dev)
	CGO_ENABLED=0 go run $(VULNCHECK) -db $(VULNDB) ./...

generate: ## regenerate code
	$(TOOL) sqlc generate
	CGO_ENABLED=0 go generate ./...
	@[ ! -d clients/node/node_modules ] || (cd clients/node && npm run --silent types)

imports: ## group imports: standard library, others, Keyward's own
	$(TOOL) goimports -local github.com/keyward/keyward -w $(SOURCES)

lint: ## check format, vet, staticcheck, shell scripts, commit subjects and generated code
	@bad=$$($(TOOL) gofumpt -l $(SOURCES)) || exit; \
		[ -z "$$bad" ] || { echo "make lint: gofumpt -w these:" >&2; echo "$$bad" >&2; exit 1; }
	@bad=$$($(TOOL) goimports -local github.com/keyward/keyward -l $(SOURCES)) || exit; \
		[ -z "$$bad" ] || { echo "make lint: imports are not grouped, run make imports:" >&2; echo "$$bad" >&2; exit 1; }
	@.ci/commit-subjects
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); else echo "shellcheck is missing: scripts are not checked" >&2; fi
	go vet ./...
	cd tools && go vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) sqlc diff
	@before=$$(cat $(GENERATED) | cksum); $(MAKE) --no-print-directory generate >/dev/null || exit; \
		[ "$$before" = "$$(cat $(GENERATED) | cksum)" ] || { echo "make lint: generated code was not up to date; now it is" >&2; exit 1; }

build: ## build a static binary, bin/keyward
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/keyward ./cmd/keyward

release: ## make archives, packages, images and checksums of a version in dist (make release VERSION=v1.2.3)
	deploy/release $(VERSION) dist

cross: ## compile for other systems (make cross CROSS='darwin/arm64 windows/arm64')
	@for target in $(CROSS); do \
		echo "$$target"; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} go build ./cmd/keyward ./jwks/... ./client/... || exit; \
	done

image: ## build the image IMAGE from the golang image
	docker build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) -t $(IMAGE) .

image-from-binary: ## build the image IMAGE without any base image
	VERSION=$(VERSION) COMMIT=$(COMMIT) deploy/image-from-binary $(IMAGE)
