# Everything here works on a machine that has only make and Python 3.11 or newer with venv.

SHELL := /bin/sh
VENV := .venv
OLDEST := .venv-oldest
TORCH := .venv-transformers

# Named python3 or by its version: whatever is new enough and can make a virtual environment.
FIND_PYTHON := found=; for p in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if [ -n "$$p" ] && "$$p" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	    >/dev/null 2>&1; then found="$$p"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "error: no Python 3.11 or newer with venv was found (on Debian and Ubuntu: python3-venv);" \
	    "name one with: make PYTHON=/path/to/python" >&2; exit 1; \
	fi

# The dev group as lines for `pip install -r`: only pip 25.1 and newer know --group.
DEV_GROUP := import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")
# The lower bound of langchain-core in pyproject.toml, as a requirement of just that version.
OLDEST_CORE := import re, tomllib; \
	bounds = " ".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]); \
	print("langchain-core==" + re.search(r"langchain-core\s*>=\s*([\d.]+)", bounds)[1])
# One tested version of torch, and chat templates of real models out of a package of files.
TORCH_VERSION := torch==2.13.0
TEMPLATES := trl==1.16.0
# Fetched before the tests: a slow download must not look like a slow test.
FETCH_MODEL := from langchain_wrap.models.weights import DEFAULT, resolve; resolve(DEFAULT)

.PHONY: help demo test test-oldest test-transformers test-larger soak lint format bench check-models contract clean

help: ## Show this text
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | sort

# $(call make-venv,FOLDER,CODE): a fresh environment; CODE prints a further requirement.
define make-venv
@$(FIND_PYTHON); set -e; echo "making $(1) with $$found"; \
rm -rf $(1); "$$found" -m venv $(1); \
$(1)/bin/python -c '$(DEV_GROUP)' > $(1)/requirements.txt; \
$(if $(2),$(1)/bin/python -c '$(2)' >> $(1)/requirements.txt;) \
$(1)/bin/python -m pip install --quiet -e '.[demo]' -r $(1)/requirements.txt; \
touch $(1)/ready
endef

$(VENV)/ready: pyproject.toml
	$(call make-venv,$(VENV))

$(OLDEST)/ready: pyproject.toml
	$(call make-venv,$(OLDEST),$(OLDEST_CORE))

# In steps: all of this at once is more than the resolver of older pips can sort out.
$(TORCH)/ready: pyproject.toml
	@$(FIND_PYTHON); set -e; echo "making $(TORCH) with $$found"; \
	rm -rf $(TORCH); "$$found" -m venv $(TORCH); \
	$(TORCH)/bin/python -c '$(DEV_GROUP)' > $(TORCH)/requirements.txt; \
	$(TORCH)/bin/python -m pip install --quiet '$(TORCH_VERSION)'; \
	$(TORCH)/bin/python -m pip install --quiet -e '.[transformers,demo]'; \
	$(TORCH)/bin/python -m pip install --quiet -r $(TORCH)/requirements.txt 'langchain-huggingface>=1.2'; \
	$(TORCH)/bin/python -m pip install --quiet --no-deps '$(TEMPLATES)'; \
	touch $(TORCH)/ready

demo: $(VENV)/ready ## See the package at work with a small real model
	@$(VENV)/bin/langchain-wrap demo

test: $(VENV)/ready ## Run the tests
	@$(VENV)/bin/python -c '$(FETCH_MODEL)'
	$(VENV)/bin/python -m pytest $(ARGS)

test-oldest: $(OLDEST)/ready ## Run the tests on the oldest langchain-core that is supported
	@$(OLDEST)/bin/python -c '$(FETCH_MODEL)'
	@$(OLDEST)/bin/python -m pip list 2>/dev/null | grep '^langchain-core '
	$(OLDEST)/bin/python -m pytest $(ARGS)

test-transformers: $(TORCH)/ready ## Run the tests of Transformers, which need torch
	@$(TORCH)/bin/python -c 'import torch, transformers as t; print(torch.__version__, t.__version__)'
	@$(TORCH)/bin/python -c '$(FETCH_MODEL)'
	$(TORCH)/bin/python -m pytest tests/torch_models "tests/test_docs.py::test_page[transformers]" $(ARGS)

test-larger: $(VENV)/ready ## Run the tests of chat that need a model with some wit (fetches 1.1 GB)
	@set -e; model="$$($(VENV)/bin/python tests/qwen.py)"; echo "with $$model"; \
	LANGCHAIN_WRAP_LARGER="$$model" $(VENV)/bin/python -m pytest tests/chat/test_chat_larger.py $(ARGS)

soak: $(VENV)/ready ## Check right models again and again under load: make soak COUNT=200
	$(VENV)/bin/python tests/soak.py $(or $(COUNT),200) $(ARGS)

lint: $(VENV)/ready ## Check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/ready ## Put the source into shape
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(TORCH)/ready ## Run the benchmarks and write docs/benchmarks.md
	@$(TORCH)/bin/python -c '$(FETCH_MODEL)'
	@set -e; model="$$($(TORCH)/bin/python tests/qwen.py)"; echo "with $$model"; \
	LANGCHAIN_WRAP_LARGER="$$model" $(TORCH)/bin/python -m benchmarks $(ARGS)

check-models: $(TORCH)/ready ## Check every model, other people's too, and write docs/compliance.md
	@$(TORCH)/bin/python -c '$(FETCH_MODEL)'
	$(TORCH)/bin/python tests/compliance.py $(ARGS)

contract: $(VENV)/ready ## Write docs/contract.md from the clauses
	$(VENV)/bin/python -m langchain_wrap.checks.reports.document docs/contract.md

clean: ## Remove the virtual environments and what tools have left behind
	rm -rf $(VENV) $(OLDEST) $(TORCH) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
