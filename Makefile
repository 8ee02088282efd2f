# Thin: each target is a plain command that anyone can type (README.md, "Plain commands").
PYTHON ?= python3
BIN := .venv/bin

.PHONY: book test soak chapters assignments widgets slides lab address colab machines bench bench-long check clean

book: .venv/installed
	$(BIN)/jupyter-book build . -W -n --keep-going
	@echo "Open file://$(CURDIR)/_build/html/index.html"

test: .venv/installed
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# what takes minutes: kills at every moment, torchrun, real limits of memory
soak: .venv/installed
	$(BIN)/python -m pytest tests -m soak

chapters: .venv/installed
	$(BIN)/python book/rerun.py book/*.ipynb chapters/*.ipynb

# what students are given, from chapters/assignments
assignments: .venv/installed
	$(BIN)/python -m d2lmini release

# after a change to a widget's script alone
widgets: .venv/installed
	$(BIN)/python tests/saved_widgets.py book/*.ipynb chapters/*.ipynb

# a lecture of each chapter, one HTML file each, in _build/slides
slides: .venv/installed
	$(BIN)/jupyter nbconvert --to slides --config book/slides/config.py chapters/*.ipynb

# in a fork, after its address was put into _config.yml
address: .venv/installed
	$(BIN)/python book/address.py
	$(BIN)/python -m d2lmini release

# all chapters under Colab's versions, in an environment of their own
colab: .venv/installed
	$(BIN)/python tests/colab.py

# unit tests and a chapter under the oldest versions that pyproject.toml admits
machines: .venv/installed
	$(BIN)/python tests/machines.py --oldest

bench: .venv/installed
	$(BIN)/python benchmarks/run.py

bench-long: .venv/installed
	$(BIN)/python benchmarks/run.py --long

lab: .venv/installed
	$(BIN)/jupyter lab chapters

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python -m pytest -q tests/site/test_site.py -k links

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache *.egg-info

# rebuilt whenever the requirements or the package's own metadata change
.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@
