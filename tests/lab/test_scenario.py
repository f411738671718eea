from __future__ import annotations

from pathlib import Path

import pytest

from lab.flows.table import FLOWS
from lab.scenario import FOLDER, Defaults, Scenario, ScenarioError, load, names

GOOD = """
name = "mine"
title = "Mine"
flow = "pingpong"
"""
PROGRAM = """
name = "mine"
title = "Mine"
page = "Of my own."
[program]
server = "cat {size}"
client = "cat {server_address}"
[arguments]
size = 3
"""
PAGE = 'page = "Of my own."\n'
TABLES = "[defaults]\nfamily = 6\nmtu = 4096\n[arguments]\nsize = 9\n"


@pytest.mark.parametrize("name", names())
def test_every_scenario_loads_and_is_named_as_its_file(name: str) -> None:
    scenario = load(name)
    assert scenario.name == name
    assert bool(scenario.program) is not bool(scenario.flow)
    assert scenario.flow == "" or scenario.page == FLOWS[scenario.flow].page
    for heading in ("Teaches:", "On the wire:", "Look at:"):
        assert heading in scenario.page
    assert load(str(FOLDER / f"{name}.toml")) == scenario


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + PAGE + TABLES)
    assert load(str(path)) == Scenario(
        name="mine",
        title="Mine",
        flow="pingpong",
        page="Of my own.",
        file=path,
        defaults=Defaults(clients=1, family=6, mtu=4096),
        arguments={"size": 9},
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "extra = 1\n", "expected only the keys .* found extra"),
        (GOOD.replace('flow = "pingpong"\n', ""), "flow: expected one of secure-flow.* found .."),
        (GOOD.replace('"Mine"', "7"), "title: expected text; found 7"),
        (GOOD.replace('"Mine"', '" "'), "title: expected text"),
        (GOOD + "page = 3\n", "page: expected text; found 3"),
        (GOOD.replace('"pingpong"', '"pong"'), "flow: expected one of secure-flow.* found 'pong'"),
        (GOOD + "[arguments]\nsizes = 3\n", "expected only the keys iterations, size; found sizes"),
        (GOOD + "[arguments]\nsize = 'big'\n", "size: expected a number .* found 'big'"),
        (GOOD + "defaults = 3\n", "defaults: expected a table; found 3"),
        (GOOD + "[defaults]\nmtu = 1500\n", "mtu: expected 256, 512, 1024, 2048, 4096; found 1500"),
        (GOOD + "[defaults]\nmtu = '1024'\n", "mtu: expected .* found '1024'"),
        (GOOD + "[defaults]\nclients = true\n", "clients: expected 1 to 10000; found True"),
        (GOOD + "[defaults]\nclients = 0\n", "clients: expected 1 to 10000; found 0"),
        (GOOD + "[defaults]\nfamily = 5\n", "family: expected 4, 6; found 5"),
        (GOOD + "[defaults]\nmtus = 1024\n", "expected only the keys clients, family, mtu"),
        ("name = ", "expected TOML"),
        (PROGRAM.replace("{size}", "{sizes}"), "program, server: expected one of address.*{sizes}"),
        (PROGRAM.replace("client", "clients"), "expected only the keys server, client; found cl"),
        (PROGRAM.replace('"cat {size}"', "3"), "program, server: expected a command; found 3"),
        (PROGRAM.replace("page", "flow"), "expected a flow or a .program.; found both"),
        (PROGRAM.replace("Of my own.", ""), "page: expected text beside a .program.; found none"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=message) as caught:
        load(str(path))
    assert str(path) in str(caught.value)


def test_a_file_with_programs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PROGRAM)
    scenario = load(str(path))
    assert scenario.program == {"server": "cat {size}", "client": "cat {server_address}"}
    assert scenario.with_arguments(["size=5"]).arguments == {"size": 5}
    with pytest.raises(ScenarioError, match="expected only the keys size; found rounds"):
        scenario.with_arguments(["rounds=1"])


def test_arguments_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + TABLES)
    scenario = load(str(path))
    assert scenario.with_arguments(["iterations=5"]).arguments == {"size": 9, "iterations": 5}
    assert scenario.with_arguments(["size=1", "size=2"]).arguments == {"size": 2}


@pytest.mark.parametrize("setting", ["size", "size=", "size=x", "size=-1", "size=0", "rounds=1"])
def test_arguments_that_are_none(setting: str) -> None:
    with pytest.raises(ScenarioError, match="--set: "):
        load("pingpong").with_arguments([setting])


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ScenarioError, match="expected TOML in UTF-8"):
        load(str(path))


@pytest.mark.parametrize("name", ["nope", "../secure-flow", "missing.toml", ""])
def test_what_is_no_scenario(name: str) -> None:
    with pytest.raises(ScenarioError):
        load(name)
