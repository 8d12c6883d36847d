"""Pins, the lock file, and which tools are held."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import stat
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from oneturn.errors import ConfigError
from oneturn.tools import pins as pins_module
from oneturn.tools.catalog import Catalog
from oneturn.tools.definition_store import FILE_NAME, DefinitionStore
from oneturn.tools.pins import Pins
from oneturn.types import Tool

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"to": {"type": "string", "title": "To"}, "amount": {"type": "integer"}},
    "required": ["to"],
}
PAY = Tool("pay", "Send money.", SCHEMA, effect="write", effect_from="annotations")


def changed(**more: Any) -> Tool:
    return dataclasses.replace(PAY, **more)


def listed(catalog: Catalog, *tools: Tool, source: str = "bank") -> Catalog:
    catalog.replace(source, tools, source)
    return catalog


# --- the pin


@pytest.mark.parametrize(
    "other",
    [
        changed(description="Send money!"),
        changed(description="Send money.\u200b"),
        changed(input_schema={**SCHEMA, "required": []}),
        changed(input_schema={**SCHEMA, "properties": dict(reversed(SCHEMA["properties"].items()))}),
        changed(output_schema={}),
        changed(effect="read"),
        changed(effect_from="default"),
        changed(notes=("slow",)),
        changed(examples=("await pay()",)),
        changed(labels=("money",)),
        changed(idempotent=True),
        changed(name="PAY"),
    ],
)
def test_whatever_a_model_or_an_operator_relies_on_changes_the_pin(other: Tool) -> None:
    assert other.pin != PAY.pin


@pytest.mark.parametrize(
    "other",
    [
        changed(input_schema=dict(reversed(SCHEMA.items()))),
        changed(
            input_schema={
                **SCHEMA,
                "properties": {k: dict(reversed(v.items())) for k, v in SCHEMA["properties"].items()},
            }
        ),
        changed(input_schema=MappingProxyType(SCHEMA)),
        changed(timeout=3.0, results="text", source="elsewhere"),
    ],
)
def test_what_has_no_meaning_does_not(other: Tool) -> None:
    assert other.pin == PAY.pin


def test_an_effect_counts_only_when_the_source_says_it() -> None:
    default = changed(effect="destructive", effect_from="default")
    assert default.pin == changed(effect="read", effect_from="default").pin
    assert default.pin == changed(effect="read", effect_from="configuration").pin
    assert changed(effect_from="method").pin == PAY.pin


def test_the_order_behind_a_reference_counts() -> None:
    def behind(*names: str) -> Tool:
        properties = {name: {} for name in names}
        return Tool("x", input_schema={"$ref": "#/$defs/X", "$defs": {"X": {"properties": properties}}})

    assert behind("a", "b").pin != behind("b", "a").pin


def test_definitions_as_yaml_has_them_have_a_pin_too() -> None:
    odd = {"properties": {1: {}, "a": {}}, "enum": {"b", "a"}, "default": date(2020, 1, 1)}
    odd[date(2020, 1, 1)] = b"x"  # type: ignore[index]
    assert len(Tool("x", input_schema=odd).pin) == 64  # type: ignore[arg-type]


def test_the_pin_is_the_same_in_every_process() -> None:
    code = (
        "from oneturn.types import Tool; print(Tool('x', 'é \\ud800', "
        "{'properties': {'b': {}, 'a': {}}, 'enum': {'q', 'w', 'e', 'r', 't', 'y'}}, labels=('l',)).pin)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


# --- trust on first use


def test_an_operators_settings_are_no_part_of_what_is_pinned(tmp_path: Path) -> None:
    lock = tmp_path / "oneturn.lock"
    plain = listed(Catalog(pins=Pins(lock)), PAY)
    plain.lock()
    settings = Catalog(effects={"*": "read"}, notes={"*": ["careful"]}, pins=Pins(lock))
    listed(settings, PAY)
    assert settings.held == {}
    assert settings.pin("bank.pay") == plain.pin("bank.pay")
    assert settings.tools[0].notes == ("careful",)


def test_a_held_tool_tells_what_was_accepted_and_keeps_its_name() -> None:
    catalog = listed(Catalog(), PAY)
    listed(catalog, changed(description="Steal."))
    held = catalog.held["bank.pay"]
    assert (held.reason, held.old_pin, held.pin) == ("changed", PAY.pin, changed(description="Steal.").pin)
    assert held.old == PAY.definition
    assert catalog.get("bank.pay") is None
    with pytest.raises(ConfigError, match=r"'bank\.pay'"):
        catalog.replace("other", [PAY], "bank")
    listed(catalog, changed(description="Steal."), Tool("more"))
    assert catalog.held["bank.pay"].since == held.since


def test_another_source_cannot_take_over_a_name_that_was_given_up() -> None:
    catalog = Catalog()
    catalog.replace("bank", [PAY], "money")
    catalog.replace("bank", [], "money")
    catalog.replace("thief", [PAY], "money")
    held = catalog.held["money.pay"]
    assert (held.tool.source, held.old_source, catalog.tools) == ("thief", "bank", ())
    catalog.accept(["money.pay"])
    catalog.replace("thief", [], "money")
    catalog.replace("bank", [PAY], "money")
    assert list(catalog.held) == ["money.pay"]


def test_the_apps_own_functions_are_never_held(tmp_path: Path) -> None:
    catalog = Catalog(pins=Pins(tmp_path / "oneturn.lock"))
    catalog.replace("python", [PAY])
    catalog.replace("python", [changed(description="Better.")])
    assert catalog.held == {}
    assert listed(catalog, Tool("x")).lock().new == ("bank.x",)
    assert "pay" not in (tmp_path / "oneturn.lock").read_text()


def test_complete_names_without_a_namespace_are_held_like_others() -> None:
    catalog = Catalog()
    catalog.replace("api", [Tool("api.users.get", "Get.", effect="read", effect_from="method")])
    catalog.replace("api", [Tool("api.users.get", "Get.", effect="write", effect_from="method")])
    assert list(catalog.held) == ["api.users.get"]


def test_names_without_end_do_not_make_a_known_one_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins_module, "MOST_GONE", 50)
    catalog = listed(Catalog(), PAY)
    for turn in range(10):
        listed(catalog, *(Tool(f"t{turn}_{number}") for number in range(20)))
    assert {held.reason for held in catalog.held.values()} == {"new"}
    listed(catalog, changed(description="Steal."))
    assert catalog.held["bank.pay"].reason == "changed"
    listed(catalog, PAY)
    assert catalog.held == {}


def test_accepting_what_is_not_held_is_refused() -> None:
    catalog = listed(Catalog(), PAY, Tool("x"))
    listed(catalog, changed(description="Steal."), Tool("x"))
    with pytest.raises(ConfigError, match=r"bank\.x is not held"):
        catalog.accept(["bank.pay", "bank.x"])
    assert list(catalog.held) == ["bank.pay"]


# --- the lock file


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "oneturn.lock"


def test_the_lock_has_one_line_for_each_tool_in_order(lock: Path) -> None:
    catalog = listed(Catalog(pins=Pins(lock)), PAY, Tool("balance"))
    listed(catalog, Tool("x"), source='odd "source"\n')
    found = catalog.lock()
    assert (len(found.new), found.new[:2]) == (3, ("bank.balance", "bank.pay"))
    lines = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
    assert lines[:4] == [
        "version = 1",
        "",
        '[sources."bank"]',
        f'"bank.balance" = "{catalog.pin("bank.balance")}"',
    ]
    assert Pins(lock).locked == {"bank", 'odd "source"\n'}
    assert stat.S_IMODE(lock.stat().st_mode) == 0o644
    assert [path.name for path in lock.parent.iterdir()] == ["oneturn.lock"]


def test_sources_may_be_called_like_anything_in_the_file(lock: Path) -> None:
    catalog = Catalog(pins=Pins(lock))
    for source in ("version", "sources", "ünï.cödé"):
        catalog.replace(source, [PAY], source.replace(".", "_"))
    catalog.lock()
    assert Pins(lock).locked == {"version", "sources", "ünï.cödé"}


def test_pinning_again_adds_what_is_new_and_leaves_what_differs(lock: Path) -> None:
    listed(Catalog(pins=Pins(lock)), PAY, Tool("old")).lock()
    catalog = listed(Catalog(pins=Pins(lock)), changed(description="Steal."), Tool("more"))
    assert {name: held.reason for name, held in catalog.held.items()} == {
        "bank.pay": "changed",
        "bank.more": "new",
    }
    found = catalog.lock()
    assert (found.new, found.same, found.changed, found.gone) == (
        ("bank.more",),
        (),
        ("bank.pay",),
        ("bank.old",),
    )
    assert list(catalog.held) == ["bank.pay"]
    assert PAY.pin in lock.read_text()


def test_what_changed_in_this_session_is_not_pinned_as_it_is_now(lock: Path) -> None:
    catalog = listed(Catalog(pins=Pins(lock)), PAY)
    listed(catalog, changed(description="Steal."))
    assert catalog.lock().changed == ("bank.pay",)
    assert catalog.held["bank.pay"].tool.description == "Steal."
    assert changed(description="Steal.").pin not in lock.read_text()


def test_a_source_that_the_lock_does_not_name_is_trusted_as_first_seen(lock: Path) -> None:
    listed(Catalog(pins=Pins(lock)), PAY).lock()
    catalog = listed(Catalog(pins=Pins(lock)), PAY)
    listed(catalog, Tool("x", "One."), source="shop")
    assert catalog.held == {}
    listed(catalog, Tool("x", "Two."), source="shop")
    assert list(catalog.held) == ["shop.x"]
    before = lock.read_text()
    catalog.accept(["shop.x"])
    assert (catalog.held, lock.read_text()) == ({}, before)


def test_accepting_writes_the_lock_and_keeps_what_others_wrote_meanwhile(lock: Path) -> None:
    listed(listed(Catalog(pins=Pins(lock)), PAY), Tool("x"), source="shop").lock()
    one = listed(Catalog(pins=Pins(lock)), changed(description="One."))
    two = listed(Catalog(pins=Pins(lock)), Tool("x", "Two."), source="shop")
    one.accept(["bank.pay"])
    two.accept(["shop.x"])
    fresh = listed(
        listed(Catalog(pins=Pins(lock)), changed(description="One.")), Tool("x", "Two."), source="shop"
    )
    assert fresh.held == {}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "version = 2",
        "version = 1\n[sources.a]\nx = 'short'",
        "version = 1\n[sources]\na = 5",
        "version = 1\n[a]\n",
        "version = 1\nsources = 3",
        "<<<<<<< HEAD\nversion = 1",
        "\x00",
        "a = " + "[" * 10_000,
        'version = 1\n[sources.a]\nx = "{0}"\n[sources.b]\nx = "{0}"'.format("0" * 64),
    ],
)
def test_a_damaged_lock_is_refused_with_what_to_do(lock: Path, content: str) -> None:
    lock.write_text(content)
    with pytest.raises(
        ConfigError, match=r"oneturn\.lock cannot be used: .* Bring back the version you committed"
    ):
        Pins(lock)


def test_a_lock_that_cannot_be_written_accepts_nothing(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(Catalog(pins=Pins(lock)), PAY).lock()
    catalog = listed(Catalog(pins=Pins(lock)), changed(description="New."))
    before = lock.read_text()

    def full(*_args: Any, **_more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left"):
        catalog.accept(["bank.pay"])
    assert (list(catalog.held), lock.read_text()) == (["bank.pay"], before)
    assert [path.name for path in lock.parent.iterdir()] == ["oneturn.lock"]


def test_a_link_stays_a_link(lock: Path) -> None:
    (lock.parent / "real").mkdir()
    lock.symlink_to("real/pins")
    listed(Catalog(pins=Pins(lock)), PAY).lock()
    assert lock.is_symlink()
    assert (lock.parent / "real" / "pins").is_file()


def test_without_a_place_there_is_no_lock() -> None:
    with pytest.raises(ConfigError, match=r"no place for oneturn\.lock"):
        listed(Catalog(), PAY).lock()
    with pytest.raises(ConfigError, match="no source 'shop'"):
        listed(Catalog(), PAY).lock(["shop"])


# --- old definitions


def locked_change(lock: Path, state: Path | None) -> str | None:
    found = listed(Catalog(pins=Pins(lock, state)), changed(description="New."))
    return found.held["bank.pay"].old


def test_the_accepted_definition_is_there_in_the_next_process(lock: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    listed(Catalog(pins=Pins(lock, state)), PAY).lock()
    assert locked_change(lock, state) == PAY.definition
    assert locked_change(lock, None) is None


def test_it_is_kept_by_everybody_who_starts_with_the_lock(lock: Path, tmp_path: Path) -> None:
    listed(Catalog(pins=Pins(lock, tmp_path / "mine")), PAY).lock()
    theirs = Pins(lock, tmp_path / "theirs")
    listed(Catalog(pins=theirs), PAY)
    theirs.save()
    assert locked_change(lock, tmp_path / "theirs") == PAY.definition


@pytest.mark.parametrize("damage", ["garbage", "forged", "folder"])
def test_damage_costs_the_old_definition_and_nothing_else(lock: Path, tmp_path: Path, damage: str) -> None:
    state = tmp_path / "state"
    listed(Catalog(pins=Pins(lock, state)), PAY).lock()
    file = state / FILE_NAME
    if damage == "garbage":
        file.write_bytes(b"garbage" * 1_000)
    elif damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        with sqlite3.connect(file) as database:
            database.execute("UPDATE definitions SET body = ?", (b"x\x9c",))
    assert locked_change(lock, state) is None
    catalog = listed(Catalog(pins=Pins(lock, state)), changed(description="New."))
    catalog.accept(["bank.pay"])
    assert catalog.held == {}
    if damage == "garbage":
        assert DefinitionStore(state).get(changed(description="New.").pin) is not None


def test_old_definitions_in_memory_are_bounded() -> None:
    store = DefinitionStore(None)
    for number in range(200):
        store.keep(str(number), os.urandom(200_000).hex())
    kept = [number for number in range(200) if str(number) in store._memory]
    assert kept
    assert kept[0] > 0
    assert sum(map(len, store._memory.values())) <= 16 * 1024 * 1024


def test_a_lock_that_goes_away_meanwhile_opens_nothing(lock: Path) -> None:
    catalog = Catalog(pins=Pins(lock))
    catalog.replace("bank", [Tool("pay")], "bank")
    catalog.lock()
    lock.unlink()
    assert not catalog.pins.reread()
    catalog.replace("bank", [Tool("pay", "Other."), Tool("steal")], "bank")
    assert sorted(catalog.held) == ["bank.pay", "bank.steal"]
    with pytest.raises(ConfigError, match="is gone"):
        catalog.accept(["bank.pay"])
    assert catalog.pins.locked == {"bank"}
    assert not lock.exists()
