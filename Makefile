# Two commands are enough on a fresh machine with Rust: `make run` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help run test verify fix bench drill stress soak sim kills fuzz setup

NODES ?= 3
ROUNDS ?= 10
MINUTES ?= 30
# One seed with its trace, or seeds for so long, or so many of them.
SIM = $(if $(SEED),--seed $(SEED) --trace,$(if $(filter file,$(origin MINUTES)),--seeds $(or $(SEEDS),1000),\
	--minutes $(MINUTES) $(if $(SEEDS),--seeds $(SEEDS))) $(if $(FROM),--from $(FROM)) --keep-going) $(if $(BITE),--bite $(BITE)) $(if $(FAULTS_MS),--faults-ms $(FAULTS_MS))
LOAD = ./target/release/jarvis-load --jarvis ./target/release/jarvis

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

bench: ## throughput, latency, idle cost, memory, sockets, failover with 3,000 sessions, over three real processes
	@.ci/setup run
	cargo build --release --locked --bin jarvis --bin jarvis-load
	$(LOAD) all --report reports/bench
	$(LOAD) memory --report reports/bench
	$(LOAD) failover --rounds $(ROUNDS) --report reports/bench
	$(LOAD) takeover --report reports/bench
	cargo bench --locked -p jarvis-rules --bench rules
	cargo bench --locked -p jarvis-devices --bench messages

drill: ## kills, rolling restarts, machines that vanish, splits, on clusters of its own, with reports
	@.ci/setup drill
	cargo build --release --locked --bin jarvis --bin jarvis-load
	$(LOAD) drills --rounds $(ROUNDS) --report reports/drill
	$(LOAD) rolling --report reports/drill
	$(LOAD) failover --victim vanish-owner,vanish-leader --rounds $(ROUNDS) --report reports/drill
	$(LOAD) netsplit --report reports/drill

stress: ## a busy machine and 5 % loss for MINUTES (30): nothing may fail over
	@.ci/setup drill
	cargo build --release --locked --bin jarvis --bin jarvis-load
	$(LOAD) stress --minutes $(MINUTES) --report reports/stress

soak: ## faults at random on real processes, chat and a home, for MINUTES (30), NODES=3 or 5; SEED=… repeats a schedule
	@.ci/setup drill
	cargo build --release --locked --bin jarvis --bin jarvis-load
	$(LOAD) soak --minutes $(MINUTES) --nodes $(NODES) $(if $(SEED),--seed $(SEED)) --report reports/soak

sim: ## whole clusters on virtual time, faults by seed: SEEDS=1000, MINUTES=…, or SEED=… with its whole trace
	@.ci/setup run
	cargo build $(if $(filter dev,$(PROFILE)),,--release) --locked -p jarvis-simulation
	./target/$(if $(filter dev,$(PROFILE)),debug,release)/jarvis-sim $(SIM)

kills: ## the laws, checked against clusters of real processes under random kills
	@.ci/setup test
	cargo nextest run --locked -p jarvis-chaos

fuzz: ## hostile bytes for everything that reads some, for MINUTES (5); what is found is kept as a test
	@.ci/setup test
	.ci/fuzz $(if $(filter file,$(origin MINUTES)),5,$(MINUTES))
