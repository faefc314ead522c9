# Two commands are enough: `make demo` and `make test`. Both prepare .venv first when needed.
.PHONY: help setup demo test soak check docs model model-offroad clean
.DEFAULT_GOAL := help
BIN := .venv/bin

help:
	@echo "make setup   prepare .venv and the cross tools"
	@echo "make demo    train, compile, verify and report, in about five minutes"
	@echo "make test    static checks and all tests"
	@echo "make soak    what takes hours: random models, killed trainings and searches"
	@echo "make check   static checks alone"
	@echo "make docs    the documents as a site, build/site"
	@echo "make model   train the terrain model in models/ again, about 10 minutes"
	@echo "make model-offroad DATA=FOLDER   train the off-road models again, about 100 minutes"
	@echo "make clean   remove build products (not .venv, not runs/)"

# Ends at once when pyproject.toml and the locks are those that .venv was made from.
setup:
	@scripts/setup

demo:
	@scripts/setup demo
	@$(BIN)/nanou-deploy demo

test: setup
	@scripts/test

soak: setup
	@scripts/soak

check: setup
	@scripts/check

docs: setup
	@scripts/docs

model: setup
	$(BIN)/nanou-deploy train --experiment terrain --seed 0 --output runs/terrain
	$(BIN)/nanou-deploy quantize --run runs/terrain --output models/nano_u_terrain.tflite

# DATA: YCOR as models/README.md describes it.
model-offroad: setup
	$(BIN)/nanou-deploy train --data "$(DATA)" --experiment accurate --seed 0 --output runs/offroad_unpruned
	$(BIN)/nanou-deploy prune --run runs/offroad_unpruned --to 0.5 --cost instructions --board rv32-qemu --output runs/offroad
	$(BIN)/nanou-deploy train --data "$(DATA)" --experiment accurate_nano_u --seed 0 --output runs/offroad_small
	for name in offroad offroad_small; do \
	    $(BIN)/nanou-deploy quantize --run runs/$$name --output models/nano_u_$$name.tflite && \
	    cp runs/$$name/student.keras models/nano_u_$$name.keras || exit 1; \
	done
	scripts/offroad_card "$(DATA)"

clean:
	rm -rf build dist .pio .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find codegen nanou_deploy nanou_train tests -type d -name __pycache__ -prune -exec rm -rf {} +
