"""`oneturn tools learn`: calls what only reads, once, and says what results look like."""

import json

import pytest

APP = '''
from pathlib import Path
from typing import Annotated

from pydantic import Field

from oneturn import CodeMode

app = CodeMode(allow=["*"], state="state")
stateless = CodeMode(allow=["*"])
incurious = CodeMode(allow=["*"], learn=False)


def called(name):
    with Path("called").open("a") as file:
        file.write(name + "\\n")


@incurious.tool(effect="read")
@stateless.tool(effect="read")
@app.tool(effect="read", namespace="shop")
def status():
    """How the shop is."""
    called("status")
    return {"open": True, "orders": [{"id": 1, "note": "do not show me"}]}


@app.tool(effect="read", namespace="shop")
def find(name: str):
    called("find")
    return {"name": name}


@app.tool(effect="read", namespace="shop")
def page(number: Annotated[int, Field(examples=[3])], size: int = 10):
    called(f"page {number} {size}")
    return [{"number": number}]


@app.tool(effect="read", namespace="shop")
def count() -> int:
    called("count")
    return 1


@app.tool(effect="read", namespace="shop")
def broken():
    raise ValueError("out of order")


@app.tool(effect="write", namespace="shop")
def rename():
    called("rename")
    return {"done": True}


@app.tool(namespace="shop")
def wipe():
    called("wipe")
    return {"done": True}
'''


@pytest.fixture
def shop(project):
    project.write("shop.py", APP)
    return project


def called(shop):
    path = shop.folder / "called"
    return path.read_text().splitlines() if path.exists() else []


def learn(shop, *args, app="shop:app"):
    return shop.run("tools", "learn", *args, "--app", app)


def test_all_calls_what_only_reads_and_declares_nothing_once(shop):
    ran = learn(shop, "--all")
    assert ran.code == 0
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in ran.out.splitlines()}
    assert rows == {
        "shop.page": ["list[{number: int}]", "1"],
        "shop.status": ["{open: bool, orders: list[{id: int, note: str}]}", "1"],
    }
    assert sorted(called(shop)) == ["page 3 10", "status"]
    assert "skipped shop.find: it needs arguments; give them with --args" in ran.err
    assert "await tools.shop.find(name: str)" in ran.err
    assert "failed shop.broken" in ran.err
    assert "out of order" in ran.err


def test_what_is_learned_is_kept_and_holds_no_value(shop):
    assert learn(shop, "shop.status").code == 0
    text = (shop.folder / "state" / "shapes.json").read_text()
    assert '"orders"' in text
    assert "do not show me" not in text
    assert learn(shop, "shop.status").out.rstrip().endswith("\t2")


def test_arguments_are_given_for_one_tool(shop):
    ran = learn(shop, "shop.find", "--args", '{"name": "ann"}', "--json")
    assert ran.code == 0
    (found,) = ran.data["learned"]
    assert (found["name"], found["shape"], found["calls"]) == ("shop.find", "{name: str}", 1)
    assert found["schema"]["required"] == ["name"]
    assert ran.data["skipped"] == ran.data["failed"] == []
    assert called(shop) == ["find"]


@pytest.mark.parametrize("name", ["shop.rename", "shop.wipe"])
def test_what_may_change_something_is_never_called_even_when_named(shop, name):
    ran = learn(shop, name, "--args", "{}")
    assert ran.code == 1
    assert f"skipped {name}: its effect is " in ran.err
    assert "only tools that read are called" in ran.err
    assert "Nothing was learned." in ran.err
    assert called(shop) == []


def test_what_declares_its_result_is_not_called(shop):
    ran = learn(shop, "shop.count", "--json")
    assert (ran.code, ran.data["learned"]) == (1, [])
    assert ran.data["skipped"][0]["reason"] == "it declares what its result looks like"
    assert called(shop) == []


def test_a_tool_out_of_scope_is_not_called_and_it_says_how_to_allow_it(shop):
    ran = learn(shop, "shop.status", "--allow", "shop.find")
    assert ran.code == 1
    assert "skipped shop.status: it is not allowed; --allow 'shop.status'" in ran.err
    assert called(shop) == []


def test_a_tool_that_is_not_there(shop):
    ran = learn(shop, "shop.statsu", "shop.status")
    assert ran.code == 0
    assert "skipped shop.statsu: there is no such tool; did you mean shop.status" in ran.err


def test_a_tool_that_fails_teaches_nothing(shop):
    ran = learn(shop, "shop.broken", "--json")
    assert ran.code == 1
    assert "out of order" in ran.data["failed"][0]["error"]


def test_arguments_go_through_the_gate(shop):
    ran = learn(shop, "shop.find", "--args", json.dumps({"nam": "ann"}))
    assert ran.code == 1
    assert "failed shop.find" in ran.err
    assert called(shop) == []


def test_without_state_it_says_that_nothing_is_kept(shop):
    ran = learn(shop, "status", app="shop:stateless")
    assert ran.code == 0
    assert "keeps no state on disk" in ran.err


def test_an_app_told_not_to_learn_is_not_called(shop):
    ran = learn(shop, "--all", app="shop:incurious")
    assert (ran.code, called(shop)) == (2, [])
    assert "told not to learn" in ran.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "--all; one of the two"),
        (("shop.find", "--all"), "--all; one of the two"),
        (("--all", "--args", "{}"), "name exactly one"),
        (("shop.find", "shop.page", "--args", "{}"), "name exactly one"),
        (("shop.find", "--args", "{name}"), "--args is not JSON"),
        (("shop.find", "--args", "[1]"), "must be a JSON object"),
    ],
)
def test_wrong_usage(shop, args, message):
    ran = learn(shop, *args)
    assert ran.code == 2
    assert message in ran.err
    assert called(shop) == []
