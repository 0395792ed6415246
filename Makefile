# What CI runs is `make ci`; each part runs alone.

CARGO ?= cargo
CARGO_DENY_VERSION := 0.20.2
export CARGO_TERM_COLOR ?= auto

.PHONY: ci fmt lint test doc deny demo bench fuzz soak

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

# Tables of ratios, with LiveKit's own service where Go is at hand, and the collector's webhook receiver
# where OTELCOL_WEBHOOK names one. Takes minutes.
bench:
	$(CARGO) bench --bench telemetry
	$(CARGO) bench --bench durable
	$(CARGO) bench --bench sessions

# Kills the program SOAK_ROUNDS times: about 4 rounds a second.
SOAK_ROUNDS ?= 5000

soak:
	CRASH_ROUNDS=$(SOAK_ROUNDS) $(CARGO) test --locked --test crash -- --nocapture

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
