"""The JSON Schema of findings.json: the committed file is up to date, and what runs write conforms to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from paths import ROOT
from report_pages import planted
from weakspot import Findings, cli
from weakspot.findings.from_tree import from_tree
from weakspot.findings.json_schema import json_schema, json_schema_text
from weakspot.findings.record import FILE, SCHEMA
from weakspot.interop.udis_tree import read
from weakspot.interop.udis_tree_record import record_of, slices_of

BED = ROOT / "tests" / "fixtures" / "seed_tree_bed.json"
COMMITTED = ROOT / "docs" / "findings.schema.json"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(COMMITTED.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("run")
    predictions, slices = planted()
    Findings.build(predictions, slices).save(folder)
    return dict(json.loads((folder / FILE).read_text(encoding="utf-8")))


def test_the_committed_schema_is_up_to_date(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["weakspot", "schema"])
    cli.main()
    assert capsys.readouterr().out == json_schema_text()
    assert json_schema_text() == COMMITTED.read_text(encoding="utf-8"), (
        "run: weakspot schema > docs/findings.schema.json; and raise SCHEMA in weakspot/findings/record.py where a "
        "field was removed, renamed or got another meaning"
    )


def test_written_findings_conform_to_the_schema(
    validator: jsonschema.Draft202012Validator, written: dict[str, Any]
) -> None:
    validator.validate(written)
    assert written["schema"] == SCHEMA
    assert set(written) == set(json_schema()["properties"])  # all fields are described, but not the tables


def test_findings_of_a_cluster_tree_conform_to_the_schema(
    validator: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    tree = read(BED)
    record = record_of(tree)
    from_tree(record, slices_of(tree, record)).save(tmp_path)
    said = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert said["clusters"]
    validator.validate(said)


@pytest.mark.parametrize(
    "changed",
    [{"schema": SCHEMA + 1}, {"findings": [{}]}, {"whole": None}, {"seeks": "either"}, {"seal": "none"}],
    ids=str,
)
def test_invalid_findings_do_not_conform_to_the_schema(
    changed: dict[str, Any], validator: jsonschema.Draft202012Validator, written: dict[str, Any]
) -> None:
    assert not validator.is_valid(written | changed)


def test_a_field_of_a_later_version_is_allowed(
    validator: jsonschema.Draft202012Validator, written: dict[str, Any]
) -> None:
    validator.validate(written | {"added": 1})
