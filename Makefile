# Two commands are enough on a fresh machine with Rust: `make run` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help run test verify fix bench drill sim setup

NODES ?= 3
ROUNDS ?= 10

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

setup: ## install the Debian packages that are missing
	@.ci/setup test

run: ## build, and bring up a cluster of three nodes on this machine
	@.ci/setup run
	cargo build --release --locked --bin jarvis
	./target/release/jarvis up --nodes $(NODES)

test: ## all tests
	@.ci/setup test
	cargo nextest run --workspace --locked
	cargo test --workspace --doc --locked --quiet

verify: ## format, lints, layers, licences, advisories; writes nothing
	@.ci/setup verify
	.ci/verify

fix: ## format and apply the lints' suggestions
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

bench: ## throughput, latency, idle cost, sockets, over three real processes
	@.ci/setup run
	cargo build --release --locked --bin jarvis --bin jarvis-load
	./target/release/jarvis-load all --jarvis ./target/release/jarvis --report reports/bench

drill: ## kill owner, leader and gateway of a cluster of its own, with reports
	@.ci/setup run
	cargo build --release --locked --bin jarvis --bin jarvis-load
	./target/release/jarvis-load drills --jarvis ./target/release/jarvis --rounds $(ROUNDS) --report reports/drill

sim: ## the laws, checked against clusters of real processes under random kills
	@.ci/setup test
	cargo nextest run --locked -p jarvis-chaos
