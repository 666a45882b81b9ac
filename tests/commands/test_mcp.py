"""The MCP server: what each tool answers, that nothing else is read, and a client in another process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from explorer import asked, serving
from pet_runs import write_run
from processes import quiet_environment
from weakspot import Findings, Scan
from weakspot.app.mcp_tools import McpTools
from weakspot.findings.json_schema import json_schema


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: of a model that fails in fog and snow, and of one that fails in snow and sun."""
    folder = tmp_path_factory.mktemp("served") / "outputs"
    for name, fails in (("old", [0, 1]), ("new", [1, 2])):
        write_run(folder, name, fails, Scan(n_slices=3))
    return folder


@pytest.fixture(scope="module")
def tools(outputs: Path) -> McpTools:
    return McpTools([outputs])


def named(tools: McpTools) -> dict[str, str]:
    """The name of each run, by the name of its folder."""
    return {Path(run["folder"]).name: run["run"] for run in tools.list_runs()["runs"]}


def test_runs_and_their_findings(outputs: Path, tools: McpTools) -> None:
    assert set(named(tools)) == {"old", "new"}
    findings = Findings.load(outputs / "discover" / "old")
    said = tools.get_findings(named(tools)["old"])
    assert said["title"] == findings.title
    assert [one["sentence"] for one in said["findings"]] == [one.sentence for one in findings.findings]
    assert said["whole"]["n"] == findings.whole.n
    assert not any("portrait" in one for one in said["findings"])
    first = tools.get_finding(named(tools)["old"], 1)
    assert first["portrait"]["size"] == findings.findings[0].portrait.size
    json.dumps([said, first])  # plain values


def test_examples_of_a_finding_with_their_attributes(outputs: Path, tools: McpTools) -> None:
    findings = Findings.load(outputs / "discover" / "old")
    said = tools.examples(named(tools)["old"], 1, limit=5)
    assert [one["id"] for one in said["examples"]] == list(findings.findings[0].top_examples[:5])
    assert {one["attributes"]["weather"] for one in said["examples"]} <= {"fog", "snow", "sun", "rain"}
    table = findings.memberships.to_pylist()
    mine = [row for row in table if (row["group"], row["number"]) == ("finding", 1) and row["weight"] > 0]
    assert said["members"] == len(mine)
    assert tools.examples(named(tools)["old"], 1, limit=0)["examples"] == []


def test_two_runs_are_compared(tools: McpTools) -> None:
    said = tools.compare(named(tools)["old"], named(tools)["new"])
    statuses = {one["name"]: one["status"] for one in said["slices"]}
    assert set(statuses.values()) >= {"fixed", "new"}


def test_unknown_runs_and_findings_are_refused_with_a_reason(tools: McpTools) -> None:
    old = named(tools)["old"]
    with pytest.raises(ValueError, match=r"There is no run '\.\./old'; list_runs returns"):
        tools.get_findings("../old")
    with pytest.raises(ValueError, match="There is no finding 99; its numbers are: 1"):
        tools.get_finding(old, 99)
    with pytest.raises(ValueError, match="Both are the same run"):
        tools.compare(old, old)


def test_nothing_outside_the_folders_is_read(outputs: Path, tmp_path: Path) -> None:
    inside = tmp_path / "outputs" / "discover"
    (inside / "linked").mkdir(parents=True)
    for file in (outputs / "discover" / "old").glob("*.*"):
        (inside / "linked" / file.name).write_bytes(file.read_bytes())
    (inside / "linked" / "memberships.parquet").unlink()
    (inside / "linked" / "memberships.parquet").symlink_to(outputs / "discover/old/memberships.parquet")
    (inside / "folder").symlink_to(outputs / "discover" / "old")
    tools = McpTools([tmp_path / "outputs"])
    assert set(named(tools)) == {"linked"}
    with pytest.raises(ValueError, match="leads out of the run's folder, so it is not read"):
        tools.get_findings(named(tools)["linked"])


def test_rows_that_do_not_exist_are_refused_with_a_reason(outputs: Path, tmp_path: Path) -> None:
    place = tmp_path / "outputs" / "crafted"
    place.mkdir(parents=True)
    (place / "report.html").write_text("a page")
    for table in ("memberships.parquet", "map.parquet"):
        (place / table).write_bytes((outputs / "discover" / "old" / table).read_bytes())
    findings = json.loads((outputs / "discover" / "old" / "findings.json").read_text())
    del findings["seal"], findings["checksums"]
    findings["findings"][0]["portrait"]["top"][0] = 10**6
    (place / "findings.json").write_text(json.dumps(findings))
    tools = McpTools([place])
    with pytest.raises(ValueError, match=r"findings\.json shows row 1000000 but does not describe it"):
        tools.examples(named(tools)["crafted"], 1)


@pytest.mark.parametrize("said", [{"title": "\ud800"}, {"method": "\udcff"}, {"command": "\ud800"}])
def test_invalid_unicode_in_one_run_does_not_hide_the_others(
    said: dict[str, str], outputs: Path, tmp_path: Path
) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/outputs/b\xff"))
    for folder, more in ((place / "torn", said), (place / "whole", {})):
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("a page")
        findings = json.loads((outputs / "discover" / "old" / "findings.json").read_text())
        del findings["seal"], findings["checksums"]
        (folder / "findings.json").write_text(json.dumps(findings | more))
    runs = McpTools([place]).list_runs()
    assert {Path(run["folder"]).name: bool(run["damage"]) for run in runs["runs"]} == {
        "torn": True,
        "whole": False,
    }
    json.dumps(runs, ensure_ascii=False).encode()
    with serving(place) as server:
        status, _, page = asked(server, "/")
    assert status == 200
    assert all(run["run"] in page for run in runs["runs"])


@pytest.mark.slow
def test_a_client_over_standard_input(outputs: Path, tmp_path: Path) -> None:
    """A session of the protocol with the server in its own process."""
    anyio, mcp = pytest.importorskip("anyio"), pytest.importorskip("mcp")
    program = "import sys; from weakspot.commands.mcp import main; sys.exit(main(sys.argv[1:]))"
    started = mcp.StdioServerParameters(
        command=sys.executable, args=["-c", program, str(outputs)], env=quiet_environment(), cwd=tmp_path
    )
    said: dict[str, Any] = {}

    async def talk() -> None:
        async with mcp.Client(mcp.stdio_client(started)) as client:
            listed = (await client.list_tools()).tools
            said["tools"] = {tool.name: tool.annotations.read_only_hint for tool in listed}
            runs = (await client.call_tool("list_runs", {})).structured_content["runs"]
            run = next(run["run"] for run in runs if run["folder"].endswith("old"))
            for name, words in {
                "get_findings": {"run": run},
                "get_finding": {"run": run, "number": 1},
                "examples": {"run": run, "number": 1, "limit": 3},
                "schema": {},
            }.items():
                said[name] = (await client.call_tool(name, words)).structured_content
            said["refused"] = await client.call_tool("get_findings", {"run": "/etc/passwd"})

    anyio.run(talk)
    names = {"list_runs", "get_findings", "get_finding", "examples", "compare", "schema"}
    assert said["tools"] == dict.fromkeys(names, True)
    findings = Findings.load(outputs / "discover" / "old")
    assert said["get_findings"]["title"] == findings.title
    assert said["get_finding"]["sentence"] == findings.findings[0].sentence
    assert len(said["examples"]["examples"]) == 3
    assert said["schema"] == json_schema()
    assert said["refused"].is_error
    assert "There is no run '/etc/passwd'" in said["refused"].content[0].text
    assert list(tmp_path.iterdir()) == []  # the server writes nothing
