# Set-up happens by itself: the first command creates .venv from the pinned constraints.
# PYTHON=/path/to/python uses an environment that already has everything, and installs nothing.

SUITE_FROM := $(origin SUITE)
BASE_FROM := $(origin BASE)
SALT_FROM := $(origin SALT)
SUITE ?= mini
RUNS ?= runs
BASE ?= HEAD~1
PY_ABSOLUTE = $(if $(PYTHON),$(shell command -v $(PYTHON)),$(CURDIR)/.venv/bin/python)
COMPARED := tests/benchmarks/test_parts.py
PYTHON ?=
GUARD := .guard

# What the user says reaches commands as text: neither make nor the shell reads it.
SAID := METHOD SAMPLE SUBJECTS REVIEW FILES HEAD OUT NAME TRACK SUITE RUNS PRESET ISOLATION JOBS JUDGE BASE SALT
$(foreach name,$(SAID),$(eval override $(name) := $$(value $(name))))
export $(SAID)

# Harness and worker take turns on the same cores: threads that spin while they wait would take them from each other.
export OMP_WAIT_POLICY ?= PASSIVE
# Freed memory stays with the process: the next batch's tensors would fault the same pages in again.
export MALLOC_TRIM_THRESHOLD_ ?= 1073741824
export MALLOC_MMAP_THRESHOLD_ ?= 33554432

ifeq ($(PYTHON),)
  PY := .venv/bin/python
  SETUP := .venv/.installed
else
  PY := $(PYTHON)
  SETUP :=
endif
BASE_PYTHON := $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)

.PHONY: help bench new check plan test review try comment verify verify-reviewed publish leaderboard site benchmark benchmark-compare validate-statistics

help:
	@echo "make bench METHOD=topk_sae [SUITE=mini] [PRESET=...]   fit and score a method, print its verdict (mini: five minutes)"
	@echo "  METHOD=\"topk_sae mine path/to/other\", METHOD=all     several methods share every forward pass; ALL=1: print everything"
	@echo "  METHOD=floors                                         methods that learn nothing, which a claim must lead"
	@echo "  SALT=...                                              repeat a row's draws by the salt of its record; SALT= for none"
	@echo "  JUDGE=local-chat-completions:model=...,base_url=...   any model of lm-eval's registry as judge; REPLAY=1: from transcripts"
	@echo "make new NAME=mine [TRACK=probes]                   submissions/mine/ from a template: it runs as it stands"
	@echo "make check METHOD=mine                              does it keep the contract? a minute, no network"
	@echo "make plan METHOD=topk_sae [SUITE=mini]                 cells of a run, and which are done"
	@echo "make test                                           lint, types, tests, smoke bench, its numbers against the expected ones"
	@echo "make publish METHOD=topk_sae [SUITE=...]            your whole rows to leaderboard/results/, small files each"
	@echo "make review BASE=origin/main                        may this branch be a pull request with a method? (what CI asks)"
	@echo "make verify METHOD=mine SAMPLE=4 [SUITE=...]        compute some published cells again, drawn by a fresh key"
	@echo "  FRESH=1                                               ... with seeds, draws and nulls that nobody knew"
	@echo "  FRESH=1 SUBJECTS=folder                               ... and on networks that nobody else has (docs/trust.md)"
	@echo "make site                                           pages of your results and the published ones, which open from disk"
	@echo "make leaderboard                                    render the boards"
	@echo "make validate-statistics                            simulate what the statistic promises, minutes"
	@echo "make benchmark                                      speed and memory, beside other libraries, long"
	@echo "make benchmark-compare BASE=...                     speed of this tree against another commit, in one job"

bench: $(SETUP)
	@$(PY) -m benchmark run "$$METHOD" --suite "$$SUITE" --runs "$$RUNS" $(if $(PRESET),--preset "$$PRESET") $(if $(ISOLATION),--isolation "$$ISOLATION") $(if $(filter command,$(SALT_FROM)),--salt "$$SALT") $(if $(JOBS),--jobs "$$JOBS") $(if $(JUDGE),--judge "$$JUDGE") $(if $(REPLAY),--replay) $(if $(ALL),--all)

new: $(SETUP)
	@$(PY) -m benchmark new "$$NAME" $(if $(TRACK),--track "$$TRACK")

check: $(SETUP)
	@$(PY) -m benchmark check "$$METHOD" --runs "$$RUNS"

plan: $(SETUP)
	@$(PY) -m benchmark plan "$$METHOD" --suite "$$SUITE" --runs "$$RUNS" $(if $(PRESET),--preset "$$PRESET") $(if $(filter command,$(SALT_FROM)),--salt "$$SALT") $(if $(JOBS),--jobs "$$JOBS") $(if $(JUDGE),--judge "$$JUDGE")

test: $(SETUP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -n logical --maxprocesses 4 --dist loadscope --no-loadscope-reorder
	@rm -rf "$(GUARD)"
	$(PY) -m benchmark run "topk_sae logistic_probe" --suite smoke --runs "$(GUARD)"
	$(PY) -m benchmark guard topk_sae --runs "$(GUARD)"
	$(PY) -m benchmark guard logistic_probe --runs "$(GUARD)"

review: $(SETUP)
	@$(PY) -m benchmark review $(if $(filter command environment,$(BASE_FROM)),--base "$$BASE") $(if $(OUT),--out "$$OUT")

# What a review found: a method is checked and run on a small suite, or some of its cells are computed again.
try: $(SETUP)
	@method="$$($(PY) -m benchmark reviewed "$$REVIEW")" && if [ -n "$$method" ]; then \
	  $(PY) -m benchmark check "$$method" --runs "$$RUNS" && $(PY) -m benchmark run "$$method" --suite smoke --runs "$$RUNS"; fi

verify-reviewed: $(SETUP)
	@method="$$($(PY) -m benchmark reviewed "$$REVIEW")" && if [ -n "$$method" ]; then \
	  $(PY) -m benchmark verify "$$method" --sample "$${SAMPLE:-4}" --runs "$$RUNS" $(if $(FRESH),--fresh); else echo "no method to verify"; exit 1; fi

comment: $(SETUP)
	@$(PY) -m benchmark comment "$$REVIEW" $(if $(FILES),--files "$$FILES") $(if $(HEAD),--head "$$HEAD") $(if $(OUT),--out "$$OUT")

verify: $(SETUP)
	@$(PY) -m benchmark verify "$$METHOD" --sample "$${SAMPLE:-4}" $(if $(filter command environment,$(SUITE_FROM)),--suite "$$SUITE") --runs "$$RUNS" $(if $(FRESH),--fresh) $(if $(SUBJECTS),--subjects "$$SUBJECTS") $(if $(MARK),--mark)

publish: $(SETUP)
	@$(PY) -m benchmark publish "$$METHOD" --runs "$$RUNS" $(if $(filter command,$(SUITE_FROM)),--suite "$$SUITE")

site: $(SETUP)
	@$(PY) -m benchmark site --runs "$$RUNS"

leaderboard: $(SETUP)
	@$(PY) -m benchmark render --runs "$$RUNS"

benchmark: $(SETUP) $(if $(SETUP),.venv/.peers)
	PYTHONPATH=.venv/peers $(PY) -m pytest tests/benchmarks --benchmark-only --benchmark-disable-gc -s

benchmark-compare: $(SETUP)
	@git worktree prune && rm -rf .compare && git worktree add --quiet --force --detach ".compare/base" "$$BASE"
	cd ".compare/base" && "$(PY_ABSOLUTE)" -m pytest $(COMPARED) --benchmark-only --benchmark-json=../base.json
	"$(PY_ABSOLUTE)" -m pytest $(COMPARED) --benchmark-only --benchmark-json=".compare/this.json"
	@git worktree remove --force ".compare/base"
	@$(PY) -m pytest_benchmark compare ".compare/base.json" ".compare/this.json" --group-by=fullname --columns=median,iqr,rounds

validate-statistics: $(SETUP)
	@$(PY) -m benchmark.studies.statistics --write

.venv/.installed: pyproject.toml constraints.txt
	@$(BASE_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, found $$($(BASE_PYTHON) --version): install it or pass PYTHON=/path/to/python" >&2; exit 2; }
	@$(BASE_PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: this Python cannot make virtual environments: install its venv package (Debian: apt-get install python3-venv)" >&2; exit 2; }
	@echo "setting up .venv from constraints.txt: once, a few minutes"
	@$(BASE_PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch .venv/.installed

.venv/.peers: .venv/.installed tests/benchmarks/peers.txt
	@echo "installing the libraries to compare with"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/peers -r tests/benchmarks/peers.txt
	@touch .venv/.peers
