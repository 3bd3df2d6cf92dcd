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

figures: setup  ## tables and figures anew from what the runs wrote (train first; those of a clone are committed)
	python3 report/digit_results.py
	python3 report/digit_figures.py dann
	python3 report/digit_figures.py uda
	python3 report/adaptation_digits.py
	python3 report/score_tables.py
	python3 report/vae_figures.py --then runs/vae_prior_seed0/log.jsonl
	python3 report/gan_figures.py
	python3 report/sagan_figures.py
	python3 report/stylegan2_figures.py
	python3 report/acgan_figures.py
	python3 report/cifar_cnn_results.py
	python3 report/cs7643_results.py
	python3 report/cs7643_overfit.py
	python3 report/autoencoder_figures.py
	python3 report/flowers_figures.py
	python3 report/assignments.py
	python3 report/overview.py
	python3 report/make_page.py

report: setup  ## the PDFs that the courses collect (make report STUDENT_ID=…)
	python3 report/make_report.py --id $(STUDENT_ID)

gradescope: setup  ## the autograder's zip; DATA=hw3_data puts the test data into it
	python3 -m grader.bundle gradescope.zip $(if $(DATA),--data $(DATA))

lint: setup
	ruff check .
	ruff format --check .
	mypy
