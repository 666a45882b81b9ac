.PHONY: check docs format test

check:  ## lint, types and tests, in the environment at hand
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	deptry src
	pytest -m "not optional"

format:
	ruff check --fix .
	ruff format .

docs:  ## the site, in site/
	mkdocs build --strict

test:
	pytest
