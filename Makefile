# The entry points; each is a script that can be read and run on its own.
.PHONY: help quickstart test lint unit conformance fuzz example flagship bench

help:
	@echo 'make quickstart         build, prove and publish two real wheels'
	@echo 'make test               all checks and tests, real Docker ones included'
	@echo 'make lint | make unit   the parts of it that need no engine'
	@echo 'make conformance        fatbins of 42 real wheels (5 GB) against cuobjdump'
	@echo 'make fuzz               hostile input for the readers of wheels, FUZZ_SECONDS=300 for each'
	@echo 'make example NAME=...   build one of the larger examples: torch-scatter, causal-conv1d'
	@echo 'make flagship           flash-attn and xformers for one arch each: hours; stop it and go on when you like'
	@echo 'make bench              planning, overhead over docker by hand, the unchanged re-run, fatbins, resolve, indexes, publishing, a night, the cache'

quickstart:
	scripts/setup
	scripts/quickstart

test:
	scripts/setup test
	scripts/test

lint unit:
	scripts/test $@

conformance:
	scripts/setup test
	cargo nextest run --package wheelfarm-core --locked --release --profile conformance

fuzz:
	scripts/setup test
	scripts/fuzz

example:
	@test -f 'examples/$(NAME)/matrix.yaml' || { echo 'usage: make example NAME=torch-scatter|causal-conv1d' >&2; exit 2; }
	scripts/setup
	scripts/quickstart 'examples/$(NAME)/matrix.yaml' 'out/examples/$(NAME)'

flagship:
	scripts/setup
	scripts/quickstart examples/flagship/matrix.yaml out/flagship --resume

bench:
	scripts/setup test
	scripts/bench
