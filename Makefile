# `make run` starts the demo, `make test` proves the program. Both install what they need on Debian.

SHELL := /bin/bash
CARGO_TARGET_DIR ?= $(CURDIR)/target
TANDEM_PEERS ?= $(CURDIR)/target/peers
export CARGO_TARGET_DIR TANDEM_PEERS

.PHONY: run test story soak lint bench build-tools

run: build-tools
	cargo build --release -p tandem-gateway
	exec $(CARGO_TARGET_DIR)/release/tandem demo

test: build-tools
	bash tests/peers/setup.sh
	cargo build -p tandem-gateway
	set -o pipefail; TANDEM_BIN=$(CARGO_TARGET_DIR)/debug/tandem cargo test --workspace 2>&1 | tee $(CARGO_TARGET_DIR)/tests.log
	cargo run -q -p tandem-tests --bin conformance -- $(CARGO_TARGET_DIR)/tests.log

# The crossing in one transcript, with programs not written here; leaves it and a packet capture in target/story.
story: build-tools
	bash tests/peers/setup.sh
	cargo build -p tandem-gateway
	TANDEM_BIN=$(CARGO_TARGET_DIR)/debug/tandem cargo test -p tandem-tests --test story -- --nocapture

# Twenty minutes of phones and scanners, after which nothing may be left: memory, transactions, dialogs, ports.
soak: build-tools
	bash tests/peers/setup.sh
	cargo build --release -p tandem-gateway
	TANDEM_SOAK_SECONDS=1200 TANDEM_BIN=$(CARGO_TARGET_DIR)/release/tandem cargo test -p tandem-tests --test soak -- --nocapture

# Us beside Prosody, ejabberd, Kamailio and coturn; the ratios are read, not asserted. BENCH=xmpp, sip or turn measures a part.
bench: build-tools
	@for p in prosody lua-dbi-sqlite3 ejabberd kamailio coturn curl; do dpkg -s $$p >/dev/null 2>&1 || { apt-get update && apt-get install -y --no-install-recommends $$p; } || exit 1; done
	cargo build --release -p tandem-gateway -p tandem-tests
	TANDEM_BIN=$(CARGO_TARGET_DIR)/release/tandem $(CARGO_TARGET_DIR)/release/bench $(BENCH)

lint:
	bash .ci/lint

# A C compiler for SQLite, ring and mimalloc is all that a build needs beside Rust.
build-tools:
	@command -v cargo >/dev/null || { echo "Rust is missing: install rustup's stable toolchain"; exit 1; }
	@command -v cc >/dev/null || { apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev; }
