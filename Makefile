# What CI runs is `make ci`; each part runs alone.

CARGO ?= cargo
CARGO_DENY_VERSION := 0.20.2
export CARGO_TERM_COLOR ?= auto

.PHONY: ci fmt lint test doc deny demo stack bench fuzz soak

ci: fmt lint test doc deny

fmt:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --no-default-features -- -D warnings

test:
	$(CARGO) test --locked

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# Advisories need their database, which not every machine reaches: their absence is said, not fatal.
deny: | cargo-deny
	$(CARGO) deny --all-features check licenses bans sources
	@if $(CARGO) deny fetch db >/dev/null 2>&1; then \
		$(CARGO) deny --all-features check advisories; \
	else \
		echo "advisories: the database can't be reached from here, not checked"; \
	fi

.PHONY: cargo-deny
cargo-deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || \
		$(CARGO) install --locked --version $(CARGO_DENY_VERSION) cargo-deny

demo:
	$(CARGO) run --release -- demo

# Builds the real parts once, with Go, and has calls with them. KEEP=1 holds them up until Ctrl-C;
# LIVEKIT_OTEL_PARTS names a folder for the builds, which checkouts may share.
stack:
	$(CARGO) test --locked --test stack -- $(if $(KEEP),--keep)

# Tables of ratios beside LiveKit's own service, the OpenTelemetry SDK and a real collector; what is
# in Go is built where Go is at hand. BENCHMARKS.md says what they show. Takes about 15 minutes.
OTELCOL ?= $(CURDIR)/target/bench/otelcol
OCB := go.opentelemetry.io/collector/cmd/builder@v0.156.0

bench: export OTELCOL := $(OTELCOL)
bench: | target/bench/otelcol
	$(CARGO) bench --locked --bench telemetry
	$(CARGO) bench --locked --bench metrics
	$(CARGO) bench --locked --bench durable
	$(CARGO) bench --locked --bench sessions

target/bench/otelcol: benches/otelcol/builder.yaml
	@mkdir -p $(@D)
	@if command -v go >/dev/null; then \
		cd $(@D) && GOBIN=$$PWD go install $(OCB) && ./builder --config $(CURDIR)/benches/otelcol/builder.yaml; \
	else \
		echo "!!! no Go here: no collector beside the benches"; \
	fi

# Kills the program SOAK_ROUNDS times, about 4 rounds a second, and under a simulated load for
# SOAK_SECONDS. Then a load for SOAK_MINUTES without a kill, on a volume of 256 MiB where this may mount
# one: nothing is lost or sent twice, and after a third of the time the process stops growing.
SOAK_ROUNDS ?= 5000
SOAK_SECONDS ?= 300
SOAK_MINUTES ?= 30

soak:
	CRASH_ROUNDS=$(SOAK_ROUNDS) SOAK_SECONDS=$(SOAK_SECONDS) SOAK_MINUTES=$(SOAK_MINUTES) $(CARGO) test --locked --test crash -- --nocapture

# Each target for FUZZ_SECONDS, with what was found before and the corpus; wants the nightly toolchain
# and cargo-fuzz. What it finds goes to fuzz/found, what fails to fuzz/artifacts.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= webhook capture analytics config journal

fuzz:
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/found/$$target; \
		$(CARGO) +nightly fuzz run $$target fuzz/found/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 || exit; \
	done
