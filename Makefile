# The two commands a newcomer needs: make run, make test.
VENV ?= .venv
PYTHON ?= python3
STUDENT_ID ?= studentID
SHELL := /bin/bash
export PATH := $(abspath $(VENV))/bin:$(PATH)

.PHONY: setup run test lint figures report gradescope

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	python3 -m pip install --disable-pip-version-check -q -r requirements.txt
	python3 -m pip install --disable-pip-version-check -q --no-deps -e .
	touch $@

run: setup  ## classifies the bundled 100 SVHN digits as a grader would
	@time -p bash hw3_p3.sh samples/svhn svhn results/sample_predictions.csv
	@python3 inference/evaluate_predictions.py results/sample_predictions.csv samples/svhn.csv
	@echo "predictions: results/sample_predictions.csv"

test: setup  ## on up to four processes; `pytest` alone runs one
	python3 -m pytest -n logical --maxprocesses 4 --dist worksteal

# What `make figures` calls, one after the other.
FIGURES := digit_results.py "digit_figures.py dann" "digit_figures.py uda" adaptation_digits.py \
	score_tables.py performance.py \
	"vae_figures.py --then runs/vae_prior_seed0/log.jsonl" gan_figures.py sagan_figures.py stylegan2_figures.py \
	acgan_figures.py cifar_cnn_results.py cs7643_results.py cs7643_overfit.py autoencoder_figures.py flowers_figures.py \
	assignments.py overview.py make_page.py

figures: setup  ## tables and figures anew from the runs that are there; fails if it could not draw all of them
	@trap 'exit 130' INT; missing=(); log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	for words in $(FIGURES); do \
	    echo "python3 report/$$words"; \
	    python3 report/$$words 2> "$$log" || { last=$$(tail -n 1 "$$log"); missing+=("report/$$words: $${last#*.py: }"); }; \
	    cat "$$log" >&2; \
	done; \
	[ $${#missing[@]} = 0 ] || { printf '%s\n' "" "Not drawn:" "$${missing[@]}" >&2; exit 1; }

report: setup  ## the PDFs that the courses collect (make report STUDENT_ID=…)
	python3 report/make_report.py --id $(STUDENT_ID)

gradescope: setup  ## the autograder's zip; DATA=hw3_data puts the test data into it
	python3 -m grader.bundle gradescope.zip $(if $(DATA),--data $(DATA))

lint: setup
	ruff check .
	ruff format --check .
	mypy
