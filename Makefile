# Builds, runs and checks Quorate. `make help` lists the targets; CONTRIBUTING.md says more.
#
# Everything is built in the one profile, release, with the same features, so that RocksDB is compiled once. CARGO_TARGET_DIR
# says where, ./target by default.
#
# Only the last command of `demo` reads stdin. All others get /dev/null, so that a script piped into `make demo` reaches it
# whole.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.PHONY: build planted report caught demo test model check fix bench doc help prepare prepare-lints

export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
export PATH := $(PATH):$(HOME)/.cargo/bin
export RIVAL

BINARY := $(CARGO_TARGET_DIR)/release/quorate
# `make -s` silences cargo too, but for errors.
QUIET := $(if $(findstring s,$(firstword -$(MAKEFLAGS))),--quiet)
# What is tested elsewhere must be what is committed.
LOCKED := $(if $(CI),--locked)

define build-binary
@[[ -e "$(BINARY)" ]] || echo 'quorate: the first build compiles RocksDB, which takes some minutes' >&2
cargo build --release $(LOCKED) $(QUIET) $(1) </dev/null
endef

build: prepare ## build the binary and print its path (the default)
	$(build-binary)
	@echo "$(BINARY)"

# Cargo puts both binaries at the same place: the planted one is moved away, and the sound one put back.
planted: prepare ## build a binary whose nodes can be told to break a rule (--bug NAME), and print its path
	$(call build-binary,--features planted-bugs)
	@rm -f "$(BINARY)-planted"  # it may be the same file, by another name
	@mv "$(BINARY)" "$(BINARY)-planted"
	cargo build --release $(LOCKED) $(QUIET) </dev/null
	@echo "$(BINARY)-planted"

demo: prepare ## run a real cluster with a prompt; ARGS='--nodes 5' and the like are passed on
	$(build-binary)
	@exec "$(BINARY)" demo $(ARGS)

test: prepare ## run all tests
	cargo test --workspace --release $(LOCKED) --no-fail-fast </dev/null

model: ## explore every configuration of the linearizable mode, the large ones too; takes many minutes
	cargo test --release $(LOCKED) --package quorate-protocol --test model -- --include-ignored </dev/null

check: prepare-lints ## check format and lints
	cargo fmt --all --check </dev/null
	cargo clippy --workspace --all-targets --release $(LOCKED) $(QUIET) -- -D warnings </dev/null

fix: prepare-lints ## format, and apply what Clippy can
	cargo clippy --workspace --all-targets --release --fix --allow-dirty --allow-staged $(QUIET) </dev/null
	cargo fmt --all </dev/null

bench: prepare ## measure; RIVAL='command' runs another store's load between our rows and compares
	$(build-binary)
	@"$(BINARY)" bench --suite $${RIVAL:+--rival "$$RIVAL"} </dev/null

report: prepare ## compare three levels under faults, and check the report in a browser; kept in the target directory
	$(build-binary)
	@scripts/prepare --browser </dev/null
	@"$(BINARY)" compare --levels one,r2w2,linearizable --faults slow,partition --seconds 10 --seed 7 --out "$(CARGO_TARGET_DIR)/report" </dev/null
	@scripts/check-report "$(CARGO_TARGET_DIR)/report/report.html" "$(CARGO_TARGET_DIR)/report/pictures" </dev/null

caught: planted ## compare on nodes that read without repair: the linearizable level must be found broken
	@scripts/catch-planted-bug "$(BINARY)-planted" "$(CARGO_TARGET_DIR)/caught" </dev/null

doc: prepare ## build the API documentation, links checked
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' cargo doc --workspace --no-deps --document-private-items --release $(LOCKED) $(QUIET) </dev/null
	@echo "$(CARGO_TARGET_DIR)/doc/quorate/index.html"

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/  \1\t\2/p' Makefile | expand -t 12

prepare:
	@scripts/prepare </dev/null

prepare-lints:
	@scripts/prepare --lints </dev/null
