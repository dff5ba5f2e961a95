# Everything that is done to this project, by name. CI runs the same targets: `.ci/run` calls `make test`.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

# The tools beside the compilers, each at one version, in a folder of this project.
CARGO_DENY_VERSION := 0.20.2
BUF_VERSION := 1.75.0
GRPCURL_VERSION := 1.9.4
HELM_VERSION := 3.19.0
CARGO_MUTANTS_VERSION := 27.1.0

TOOLS := $(CURDIR)/.tools
CLIENTS := tests/clients
# The clients that we ship, each in a folder of its own with a Makefile of the same targets.
LANGUAGES := typescript python go rust java
VENV := $(CLIENTS)/.venv
export PATH := $(TOOLS)/bin:$(PATH)

# Where cargo builds, and the binary that the real clients drive. FUSEBOARD_BIN=… tests another one.
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
RELEASE_BIN := $(TARGET_DIR)/release/fuseboard
export FUSEBOARD_BIN ?= $(RELEASE_BIN)

# How long each step took, so that a slow one is seen.
export TIMEFORMAT := --- took %0lR

.PHONY: help
help: ## Show this.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## Checks: fast, and before any test.

.PHONY: check
check: fmt clippy doc deny proto check-clients check-sdks ## Formats, lints, types, docs, dependencies, generated code. Warnings fail.

.PHONY: fmt
fmt: ## The formatting of the Rust code.
	@echo "==> cargo fmt"
	cargo fmt --all --check

.PHONY: clippy
clippy: ## The lints of Cargo.toml and .clippy.toml.
	@echo "==> cargo clippy"
	time cargo clippy --locked --workspace --all-targets --quiet -- --deny warnings

.PHONY: doc
doc: ## The docs, private items included.
	@echo "==> cargo doc"
	time RUSTDOCFLAGS="--deny warnings" cargo doc --locked --workspace --no-deps --document-private-items --quiet

.PHONY: deny
deny: $(TOOLS)/cargo-deny-$(CARGO_DENY_VERSION) ## Licenses, sources and version floors of what is built in.
	@echo "==> cargo deny"
	cargo deny --locked --workspace check bans licenses sources

.PHONY: proto
proto: $(TOOLS)/buf-$(BUF_VERSION) ## The lint and formatting of the proto.
	@echo "==> buf"
	buf lint proto
	buf format --diff --exit-code proto

.PHONY: check-clients
check-clients: clients-ready ## The formatting, lints and types of the test clients.
	@echo "==> test clients"
	cd $(CLIENTS) && .venv/bin/ruff check --quiet . ../deploy && .venv/bin/ruff format --check --quiet . ../deploy
	cd $(CLIENTS)/node && npm run --silent check

.PHONY: check-sdks $(LANGUAGES:%=check-%)
check-sdks: $(LANGUAGES:%=check-%) ## The clients that we ship: format, lints, types, and that generated code is current. check-go … for one.
$(LANGUAGES:%=check-%): check-%:
	@echo "==> clients/$*: check"
	time $(MAKE) -C clients/$* check

## Tests.

.PHONY: test
test: ## Everything, in every language, installing what it needs. The README's test command.
	time $(MAKE) check
	time $(MAKE) test-rust
	time $(MAKE) release
	time $(MAKE) test-clients
	time $(MAKE) test-sdks
	time $(MAKE) conformance
	@echo "All of make test passed."

.PHONY: test-rust
test-rust: ## The tests of the crates, their docs' examples included, with a debug binary.
	@echo "==> cargo test"
	FUSEBOARD_BIN=$(TARGET_DIR)/debug/fuseboard cargo test --locked --workspace

.PHONY: release
release: ## The release binary, as `cargo run --release` builds it.
	@echo "==> cargo build --release"
	cargo build --locked --release

.PHONY: test-clients
test-clients: test-python test-node test-grpcurl test-docs ## Real clients against the built binary (FUSEBOARD_BIN).

# Without FUSEBOARD_BIN the binary tested is the one of this tree, never an older one that lies about.
.PHONY: binary
binary:
ifeq ($(FUSEBOARD_BIN),$(RELEASE_BIN))
	@cargo build --locked --release
endif
	@test -x "$(FUSEBOARD_BIN)" || { echo "no binary at $(FUSEBOARD_BIN)" >&2; exit 1; }

.PHONY: test-python
test-python: binary clients-ready ## Python over grpcio.
	@echo "==> Python"
	cd $(CLIENTS) && .venv/bin/pytest python

.PHONY: test-node
test-node: binary clients-ready ## Node over @grpc/grpc-js.
	@echo "==> Node"
	cd $(CLIENTS)/node && npm test --silent

.PHONY: test-grpcurl
test-grpcurl: binary clients-ready $(TOOLS)/grpcurl-$(GRPCURL_VERSION) ## The operator's part, with grpcurl.
	@echo "==> grpcurl"
	cd $(CLIENTS) && .venv/bin/pytest grpcurl

# Not part of `make test`: Chromium comes as a package, but needs libraries of the system (NSS among them).
BROWSER := $(CLIENTS)/browser
.PHONY: test-browser
test-browser: binary $(BROWSER)/node_modules/ready ## The dashboard in a headless Chromium.
	@echo "==> browser"
	cd $(BROWSER) && npm test --silent

.PHONY: screenshots
screenshots: binary $(BROWSER)/node_modules/ready ## Draws the dashboard for the docs anew.
	cd $(BROWSER) && SCREENSHOTS=$(CURDIR)/docs/images npm test --silent

.PHONY: fleet
fleet: binary clients-ready ## Records the outage that README.md shows, with and without the server, and draws it anew.
	PYTHONPATH=clients/python/src $(VENV)/bin/python $(CLIENTS)/fleet.py

.PHONY: test-docs
test-docs: binary clients-ready $(TOOLS)/grpcurl-$(GRPCURL_VERSION) ## What README.md and docs/ show, run and compared.
	@echo "==> transcripts"
	$(VENV)/bin/python $(CLIENTS)/grpcurl/transcript.py

.PHONY: test-sdks $(LANGUAGES:%=test-%-sdk)
# The client for Rust is a member of the workspace: test-rust has run its tests, and this does not build it once more.
test-sdks: $(patsubst %,test-%-sdk,$(filter-out rust,$(LANGUAGES))) ## The clients' own tests, against the built binary. test-go-sdk … for one.
$(LANGUAGES:%=test-%-sdk): test-%-sdk: binary
	@echo "==> clients/$*: test"
	time $(MAKE) -C clients/$* test

.PHONY: drivers
drivers: ## Builds the program by which each client is driven through the scenarios.
	for language in $(LANGUAGES); do $(MAKE) -C clients/$$language driver; done

.PHONY: conformance
conformance: binary clients-ready drivers ## One set of scenarios, and faults on the wire, with every client.
	@echo "==> conformance"
	cd $(CLIENTS) && .venv/bin/pytest conformance

## What is too long for `make test`, or asked for by name.

.PHONY: examples
examples: binary ## The complete example in both languages, checked and run. Needs PostgreSQL and redis-server; make test does not.
	@echo "==> examples"
	time $(MAKE) -C examples check test

.PHONY: test-deploy
test-deploy: clients-ready $(TOOLS)/helm-$(HELM_VERSION) ## What is under deploy, and the Dockerfile's steps. Not part of make test: helm takes minutes to build.
	@echo "==> deploy"
	$(TOOLS)/bin/helm lint --strict --set tls.insecureNetwork=true deploy/helm/fuseboard
	$(VENV)/bin/python tests/deploy/chart.py $(TOOLS)/bin/helm
	for file in deploy/compose/compose.yaml deploy/compose/prometheus.yml deploy/prometheus/fuseboard.rules.yml; do \
		$(VENV)/bin/python -c 'import sys, yaml; yaml.safe_load(open(sys.argv[1]))' $$file; done
	tests/deploy/unit.sh
	CARGO_TARGET_DIR=$(TARGET_DIR) $(VENV)/bin/python tests/deploy/image.py

.PHONY: gen
gen: ## Makes the generated code of every client anew from the proto.
	for language in $(LANGUAGES); do $(MAKE) -C clients/$$language gen; done

.PHONY: campaign
campaign: release ## 30 minutes of mixed load on the release binary, and the kill loop.
	tests/campaign/run.sh
	$(MAKE) kill

KILLS := 1000
KILL_POINTS := 600
.PHONY: kill
kill: ## Kills the server, at random instants and at every point of a commit, and checks what is left. KILLS=… KILL_POINTS=…
	KILLS=$(KILLS) KILL_POINTS=$(KILL_POINTS) RUST_BACKTRACE=0 cargo test --locked --test kill

HOSTILE_SECONDS := 5
.PHONY: hostile
hostile: ## Hostile clients, longer than make test has them: what they cost. HOSTILE_SECONDS=… says how long each.
	HOSTILE_SECONDS=$(HOSTILE_SECONDS) cargo test --locked --release --test hostile

.PHONY: bench
bench: ## The figures of docs/performance.md.
	benches/run.sh

.PHONY: simulate
simulate: ## The figures of docs/quorum.md: whole fleets in virtual time. SEEDS=… makes it shorter or more thorough.
	cargo test --locked --release --test quorum -- --ignored --nocapture --quiet simulate

# One mutant costs a build and a run of tests/mutants, some 4 s of one core; all of them about two hours.
MUTANTS_SHARD := 0/1
# Share of the mutants, in percent, that the tests have to catch.
MUTANTS_CAUGHT := 98
.PHONY: mutants
mutants: export CARGO_TARGET_DIR := $(TARGET_DIR)/mutants
mutants: export CARGO_PROFILE_DEV_DEBUG := 0
# A mutant that is caught has to be caught, not explained: no smaller cases are looked for, and none are kept for the next one.
mutants: export PROPTEST_CASES := 32
mutants: export PROPTEST_MAX_SHRINK_ITERS := 0
mutants: export PROPTEST_DISABLE_FAILURE_PERSISTENCE := true
mutants: export RUST_BACKTRACE := 0
mutants: $(TOOLS)/cargo-mutants-$(CARGO_MUTANTS_VERSION) ## Changes the rules one place at a time and looks whether the fast tests notice (.cargo/mutants.toml). MUTANTS_SHARD=k/n: a part of them.
	@# Not as the baseline of cargo-mutants, which would build and test the whole server.
	cargo test --locked --quiet --package fuseboard-mutants --lib
	timeout 6h cargo mutants --no-shuffle --baseline skip --timeout 60 --build-timeout 600 --shard $(MUTANTS_SHARD) \
		--output $(TARGET_DIR) || test $$? -eq 2 -o $$? -eq 3
	@python3 -c 'import json, sys; \
		of = json.load(open("$(TARGET_DIR)/mutants.out/outcomes.json")); \
		caught, missed = of["caught"] + of["timeout"], of["missed"]; \
		print(f"{caught} of {caught + missed} mutants caught; at least $(MUTANTS_CAUGHT) % are wanted"); \
		sys.exit(100 * caught < $(MUTANTS_CAUGHT) * (caught + missed))'

CASES := 20000
.PHONY: properties
properties: ## The random tests with other cases than `make test` has, and many more. CASES=… says how many.
	PROPTEST_RNG_SEED=$${PROPTEST_RNG_SEED:-$$RANDOM$$RANDOM} PROPTEST_CASES=$(CASES) RUST_BACKTRACE=0 \
		cargo test --locked --release --test model --test quorum_model

.PHONY: fuzz
fuzz: ## Permits, tokens and decoding, for a bounded time.
	fuzz/run.sh

## Tools.

.PHONY: tools
tools: $(TOOLS)/cargo-deny-$(CARGO_DENY_VERSION) $(TOOLS)/buf-$(BUF_VERSION) $(TOOLS)/grpcurl-$(GRPCURL_VERSION) clients-ready ## Install the pinned tools into .tools.

# Without optimisation and in a target folder of its own: it runs for a second and would otherwise build for minutes.
$(TOOLS)/cargo-deny-$(CARGO_DENY_VERSION):
	@echo "==> installing cargo-deny $(CARGO_DENY_VERSION)"
	@mkdir -p $(TOOLS)
	time CARGO_TARGET_DIR=$(TOOLS)/build CARGO_PROFILE_DEV_DEBUG=0 \
		cargo install --quiet --debug --locked --root $(TOOLS) --version $(CARGO_DENY_VERSION) cargo-deny
	rm -rf $(TOOLS)/build
	@touch $@

# The npm package brings buf's own binary, so nothing is compiled or fetched from elsewhere.
$(TOOLS)/buf-$(BUF_VERSION):
	@echo "==> installing buf $(BUF_VERSION)"
	@mkdir -p $(TOOLS)/bin
	npm install --silent --no-save --ignore-scripts --prefix $(TOOLS) @bufbuild/buf@$(BUF_VERSION)
	ln -sf ../node_modules/.bin/buf $(TOOLS)/bin/buf
	@touch $@

$(TOOLS)/grpcurl-$(GRPCURL_VERSION):
	@echo "==> installing grpcurl $(GRPCURL_VERSION)"
	@mkdir -p $(TOOLS)/bin
	time GOBIN=$(TOOLS)/bin go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v$(GRPCURL_VERSION)
	@touch $@

$(TOOLS)/cargo-mutants-$(CARGO_MUTANTS_VERSION):
	@echo "==> installing cargo-mutants $(CARGO_MUTANTS_VERSION)"
	@mkdir -p $(TOOLS)
	time CARGO_TARGET_DIR=$(TOOLS)/build CARGO_PROFILE_DEV_DEBUG=0 \
		cargo install --quiet --debug --locked --root $(TOOLS) --version $(CARGO_MUTANTS_VERSION) cargo-mutants
	rm -rf $(TOOLS)/build
	@touch $@

$(TOOLS)/helm-$(HELM_VERSION):
	@echo "==> installing helm $(HELM_VERSION)"
	@mkdir -p $(TOOLS)/bin
	time GOBIN=$(TOOLS)/bin go install helm.sh/helm/v3/cmd/helm@v$(HELM_VERSION)
	@touch $@

# The test clients' own dependencies, as their lists pin them, and the stubs that are made from the proto.
PROTO_FILES := $(shell find proto -name '*.proto')

.PHONY: clients-ready
clients-ready: $(VENV)/ready $(CLIENTS)/python/gen/ready $(CLIENTS)/node/node_modules/ready $(CLIENTS)/node/gen/ready

$(VENV)/ready: $(CLIENTS)/requirements.txt
	@echo "==> installing the Python clients' packages"
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --no-deps --requirement $<
	$(VENV)/bin/pip check
	@touch $@

$(CLIENTS)/python/gen/ready: $(VENV)/ready $(PROTO_FILES)
	@rm -rf $(@D) && mkdir -p $(@D)
	$(VENV)/bin/python -m grpc_tools.protoc --proto_path=proto --python_out=$(@D) --pyi_out=$(@D) \
		--grpc_python_out=$(@D) $(PROTO_FILES:proto/%=%)
	@touch $@

$(CLIENTS)/node/node_modules/ready: $(CLIENTS)/node/package-lock.json
	@echo "==> installing the Node client's packages"
	cd $(CLIENTS)/node && npm ci --silent --ignore-scripts
	@touch $@

$(BROWSER)/node_modules/ready: $(BROWSER)/package-lock.json
	@echo "==> installing the browser's packages"
	cd $(BROWSER) && npm ci --silent --ignore-scripts
	@touch $@

$(CLIENTS)/node/gen/ready: $(CLIENTS)/node/node_modules/ready $(CLIENTS)/node/buf.gen.yaml $(TOOLS)/buf-$(BUF_VERSION) $(PROTO_FILES)
	cd $(CLIENTS)/node && buf generate
	@touch $@

.PHONY: clean
clean: ## Remove everything that these targets made, the tools included.
	cargo clean
	rm -rf $(TOOLS) $(VENV) $(BROWSER)/node_modules $(CLIENTS)/python/gen $(addprefix $(CLIENTS)/node/,node_modules gen build)
