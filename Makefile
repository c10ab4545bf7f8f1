# Hawser's commands. `make demo` shows the mesh, `make test` proves it.

# One profile for everything: the demo and the tests use the same binaries, so nothing is compiled twice.
BIN := target/debug
LAB := .hawser

.PHONY: demo test bench setup build down clean fmt golden

## Two clusters and a mesh of both on this machine, until Ctrl-C.
demo: setup build
	$(BIN)/hawser lab up --dir $(LAB)

## Everything that can be checked, on this machine.
test: setup-test build
	scripts/test

## Measurements, printed as a table (docs/performance.md keeps them).
bench: setup
	scripts/bench

setup:
	scripts/setup

setup-test:
	scripts/setup --test

build:
	cargo build --locked --package hawser --package hawser-bookinfo

## Stops a lab that was left running, and cleans up after a killed one.
down: build
	$(BIN)/hawser lab down --dir $(LAB)

## Writes the golden files and generated files anew.
golden:
	HAWSER_GOLDEN=write cargo test --locked --workspace --lib --quiet

fmt:
	cargo fmt --all
