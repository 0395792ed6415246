# CI runs `make ci`. Each target also works on its own. `make test` needs only Rust.

CARGO ?= cargo
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
export CARGO_TERM_COLOR ?= auto
# The tests that `cargo test` leaves out: they need more than Rust.
REAL := --test real --test stack --test planted

.PHONY: ci fmt lint test test-real doc package deny demo stack bench fuzz soak

# More rounds than a developer wants to wait for.
ci: export CRASH_ROUNDS ?= 200
ci: export HISTORIES ?= 5000
ci: export SOAK_SECONDS := 5
ci: fmt lint test test-real doc package deny

fmt:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked $(REAL) -- -D warnings
	$(CARGO) clippy --locked --all-targets --no-default-features -- -D warnings
	$(CARGO) clippy --locked $(REAL) --no-default-features -- -D warnings

# More threads than cores: many tests wait for a timer or for the disk.
test: export RUST_TEST_THREADS ?= 8
test:
	$(CARGO) test --locked

# Runs the tests that need Go (LiveKit's server and clients, a collector, Prometheus, Jaeger, Helm), Java with
# Maven (Kafka), Node with Chromium (the page), Python with venv and Node (LiveKit's agents), Python with openssl
# (planted faults), Redis (SIP calls), or systemd (the unit). A test prints what it does not find; REQUIRE_REAL=1 makes
# that a failure. The first run builds for about 25 minutes.
test-real:
	$(CARGO) test --locked $(REAL)

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# Packs each member as for a registry. Not built from its package here: that takes as long as a clean build.
package:
	$(CARGO) package --locked --workspace --no-verify --allow-dirty --quiet

# Advisories need a database from the network. Without it they are not checked, which is printed but no error.
deny: | cargo-deny
	$(CARGO) deny --all-features check licenses bans sources
	@if $(CARGO) deny fetch db >/dev/null 2>&1; then \
		$(CARGO) deny --all-features check advisories; \
	else \
		echo "advisories: not checked, the database can't be reached"; \
	fi

.PHONY: cargo-deny
cargo-deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || \
		$(CARGO) install --locked --version $(CARGO_DENY_VERSION) cargo-deny

demo:
	$(CARGO) run --release -- demo

# Builds the real programs once, with Go, and runs calls through them. KEEP=1 leaves everything running
# until Ctrl-C. LIVEKIT_OTEL_PARTS is a folder for the builds, which several checkouts can share.
stack:
	$(CARGO) test --locked --test stack -- $(if $(KEEP),--keep)

# Compares this program with LiveKit's own service, the OpenTelemetry SDK and a real collector, in tables of
# ratios. What is written in Go is built only if Go is installed. BENCHMARKS.md explains the results. Takes
# about 25 minutes.
OTELCOL ?= $(CURDIR)/target/bench/otelcol
OTELCOL_OTLP ?= $(CURDIR)/target/bench/otlp/otelcol
OCB := go.opentelemetry.io/collector/cmd/builder

bench: export OTELCOL := $(OTELCOL)
bench: export OTELCOL_OTLP := $(OTELCOL_OTLP)
bench: | target/bench/otelcol target/bench/otlp/otelcol
	$(CARGO) bench --locked --bench telemetry
	$(CARGO) bench --locked --bench metrics
	$(CARGO) bench --locked --bench durable
	$(CARGO) bench --locked --bench sessions
	$(CARGO) bench --locked --bench foreign
	$(CARGO) bench --locked --bench agents
	$(CARGO) bench --locked -p livekit-otel-agents --bench read

target/bench/otelcol: benches/otelcol/builder.yaml
target/bench/otelcol: OCB_VERSION := v0.156.0
target/bench/otlp/otelcol: tests/real/collector/builder.yaml
target/bench/otlp/otelcol: OCB_VERSION := v0.158.0

target/bench/otelcol target/bench/otlp/otelcol:
	@mkdir -p $(@D)
	@if command -v go >/dev/null; then \
		cd $(@D) && GOBIN=$$PWD go install $(OCB)@$(OCB_VERSION) && ./builder --config $(CURDIR)/$<; \
	else \
		echo "!!! Go is not installed: the benches run without a collector"; \
	fi

# Kills the program SOAK_ROUNDS times, about 4 rounds a second, and for SOAK_SECONDS under a simulated load.
# Then runs a load for SOAK_MINUTES without a kill, on a 256 MiB volume if it may mount one. Checks that
# nothing is lost or sent twice, and that the process stops growing after a third of that time.
SOAK_ROUNDS ?= 5000
SOAK_SECONDS ?= 300
SOAK_MINUTES ?= 30

soak:
	CRASH_ROUNDS=$(SOAK_ROUNDS) SOAK_SECONDS=$(SOAK_SECONDS) SOAK_MINUTES=$(SOAK_MINUTES) $(CARGO) test --locked --test crash -- --nocapture

# Runs each target for FUZZ_SECONDS, from the corpus and earlier findings. Needs the nightly toolchain; installs
# cargo-fuzz. New inputs go to fuzz/found, failing ones to fuzz/artifacts.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= webhook capture analytics config journal json multipart upload

fuzz: | cargo-fuzz
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/found/$$target; \
		$(CARGO) +nightly fuzz run $$target fuzz/found/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 || exit; \
	done

.PHONY: cargo-fuzz
cargo-fuzz:
	@$(CARGO) fuzz --version >/dev/null 2>&1 || \
		$(CARGO) +nightly install --locked --version $(CARGO_FUZZ_VERSION) cargo-fuzz
