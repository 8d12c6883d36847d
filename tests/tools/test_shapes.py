"""Learned shapes: what results look like, and never what was in them."""

import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for

from oneturn.tools.shapes import Shapes
from oneturn.tools.shapes.learning import MAX_SCHEMA
from oneturn.tools.shapes.names import is_field_name
from oneturn.types import Tool

TOOL = Tool("crm.find", "Find a customer.", original="find")


def learned(*values, tool=TOOL):
    shapes = Shapes()
    for value in values:
        shapes.observe(tool, value)
    return shapes.get(tool).schema


def fields(schema):
    return list(schema.get("properties", {}))


class TestKinds:
    @pytest.mark.parametrize(
        ("value", "schema"),
        [
            ("x", {"type": "string"}),
            (1, {"type": "integer"}),
            (1.5, {"type": "number"}),
            (True, {"type": "boolean"}),
            (None, {"type": "null"}),
            (b"x", {"type": "string", "format": "binary"}),
            ([], {"type": "array"}),
            ({}, {"type": "object"}),
            (["a", "b"], {"type": "array", "items": {"type": "string"}}),
            (
                {"id": 1, "tags": []},
                {
                    "type": "object",
                    "properties": {"id": {"type": "integer"}, "tags": {"type": "array"}},
                    "required": ["id", "tags"],
                },
            ),
        ],
    )
    def test_one_value(self, value, schema):
        assert learned(value) == schema

    def test_integers_and_other_numbers_are_numbers(self):
        assert learned(1, 1.5) == {"type": "number"}

    def test_null_makes_nullable(self):
        assert learned({"a": "x"}, {"a": None})["properties"]["a"] == {"type": ["string", "null"]}
        assert learned([1], None) == {
            "anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]
        }

    def test_an_empty_list_says_nothing_about_items(self):
        assert learned([], ["x"], []) == {"type": "array", "items": {"type": "string"}}

    def test_different_kinds_are_alternatives(self):
        assert learned({"a": 1}, [1], "x") == {
            "anyOf": [
                {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"type": "array", "items": {"type": "integer"}},
                {"type": "string"},
            ]
        }

    def test_every_kind_at_once_is_anything(self):
        assert learned("x", 1, True, [], {}) == {}

    def test_the_middle_and_the_end_of_a_list_count(self):
        assert learned([1, 1, "x", 1, 1])["items"] == {"type": ["string", "integer"]}
        assert learned([1, 1, 1, 1, None])["items"] == {"type": ["integer", "null"]}


class TestRequired:
    def test_what_every_object_had(self):
        assert learned({"a": 1, "b": 1}, {"b": 2})["required"] == ["b"]

    def test_a_field_that_came_later_is_not(self):
        schema = learned({"a": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1})
        assert (fields(schema), schema["required"]) == (["a", "b"], ["a"])

    def test_an_empty_object_has_none(self):
        assert "required" not in learned({"a": 1}, {})
        assert "required" not in learned({}, {"a": 1})

    def test_objects_of_one_list_count_each(self):
        assert learned([{"a": 1, "b": 1}, {"a": 1}])["items"]["required"] == ["a"]


class TestMaps:
    @pytest.mark.parametrize(
        "value",
        [
            {"ann@example.com": 1, "bob@example.com": 2},
            {"1": "x", "2": "y"},
            {"2024-01-31": 1.0, "2024-02-01": 2.0},
            {"src/main.py": 1, "README.md": 2},
            {"Ann Smith": 1},
            {"3f2a9c1b7d6e4f50": {"a": 1}},
            {"cus_9s6XKzkNRiz8i3": 1},
            {"x" * 41: 1},
            {f"key_{letter}{other}": 1 for letter in "abcdefgh" for other in "abcdefgh"},
            {"alice": {"age": 1}, "bob": {"age": 2}, "carol": {"age": 3}, "dave": {"age": 4}},
            {
                "alice": {"age": 1, "mail": "x"},
                "bob": {"age": 2},
                "carol": {"age": 3, "mail": "y"},
                "dave": {"age": 4, "mail": "z"},
            },
        ],
        ids=lambda value: next(iter(value))[:20],
    )
    def test_keys_that_are_data_are_not_kept(self, value):
        schema = learned(value)
        assert fields(schema) == []
        assert validator_for(schema["additionalProperties"]).is_valid(next(iter(value.values())))

    def test_the_values_of_a_map_have_one_shape(self):
        assert learned({"a@b.c": {"age": 1}, "d@e.f": {"age": None}}) == {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"age": {"type": ["integer", "null"]}},
                "required": ["age"],
            },
        }

    def test_what_was_a_map_once_remains_one(self):
        schema = learned({"alice": 1, "bob": 2}, {"ann@example.com": 1}, {"carol": 1})
        assert schema == {"type": "object", "additionalProperties": {"type": "integer"}}

    def test_what_waits_to_be_looked_at_is_not_lost_when_its_record_becomes_a_map(self):
        assert learned([{"id": {}}, {"id": {"a": 1}, "a@b.c": None}]) == {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": {
                    "anyOf": [
                        {"type": "object", "properties": {"a": {"type": "integer"}}},
                        {"type": "null"},
                    ]
                },
            },
        }

    def test_one_odd_key_does_not_make_a_record_a_map(self):
        schema = learned({"id": 1, "name": "x", "url": "y", "ann@example.com": True})
        assert fields(schema) == ["id", "name", "url"]
        assert schema["additionalProperties"] == {"type": "boolean"}

    def test_a_key_of_one_call_only_is_dropped_after_five(self):
        calls = [{"id": 1}] * 4
        assert fields(learned({"id": 1, "alice": 1}, *calls[:3])) == ["id", "alice"]
        schema = learned({"id": 1, "alice": 1}, *calls)
        assert (fields(schema), schema["additionalProperties"]) == (["id"], {"type": "integer"})

    def test_a_new_key_after_that_waits_for_a_second_call(self):
        calls = [{"id": 1}] * 6
        once = [[{"id": 1, "late": "x"}, {"id": 1, "late": "x"}]]
        assert fields(learned(*[[call] for call in calls], *once)["items"]) == ["id"]
        schema = learned(*[[call] for call in calls], *once, *once)["items"]
        assert (fields(schema), schema["required"]) == (["id", "late"], ["id"])

    def test_keys_that_keep_being_new_make_a_map(self):
        people = ["ann", "bob", "cem", "dora", "eve", "fred", "gil", "hans", "ida", "jan", "kim", "lou"]
        schema = learned(*[{one: 1, other: 2} for one, other in pairwise(people)])
        assert schema == {"type": "object", "additionalProperties": {"type": "integer"}}

    def test_fields_every_object_had_survive_keys_that_keep_being_new(self):
        people = ["ann", "bob", "cem", "dora", "eve", "fred", "gil", "hans", "ida"]
        schema = learned(*[{"total": 1, one: "x"} for one in people])
        assert schema == {
            "type": "object",
            "properties": {"total": {"type": "integer"}},
            "required": ["total"],
            "additionalProperties": {"type": "string"},
        }

    @pytest.mark.parametrize(
        "key",
        [
            *(
                "id",
                "userName",
                "created_at",
                "HTMLUrl",
                "_id",
                "__typename",
                "$ref",
                "content-type",
                "sha256",
            ),
            *("address_line_1", "ipv4", "x1", "Größe", "oauth2AccessToken", "iso8601", "名称", "line2"),
            "enableSigningOrderSettingsForAccount",
        ],
    )
    def test_names_of_fields(self, key):
        assert is_field_name(key)

    @pytest.mark.parametrize(
        "key",
        [
            *("12", "2024", "a@b.c", "user_123456", "deadbeef01", "d_2024-01", "8f3k2j", "a.b", "a/b", "a:b"),
            *("AKIAIOSFODNN7EXAMPLE", "1st"),
            *("", "two words", "a\u200bb", "a\nb", "ghp_" + "aB3" * 11, "x" * 41, "abcdefghij" * 3),
            *("550e8400-e29b-41d4-a716-446655440000", 7, None),
        ],
    )
    def test_no_names_of_fields(self, key):
        assert not is_field_name(key)


SECRETS = st.text(alphabet="ΩΨΦ", min_size=3, max_size=12)  # letters no word of ours has
ODD_KEYS = st.one_of(
    SECRETS.map(lambda text: f"{text}@example.com"),
    SECRETS.map(lambda text: f"{text} {text}"),
    SECRETS.map(lambda text: f"{text}_123456"),
    SECRETS.map(lambda text: f"{text}.txt"),
    SECRETS.map(lambda text: (text * 40)[:41]),
)
NAMES = st.sampled_from(["id", "name", "items", "owner", "createdAt", "is_open", "url", "next_page"])
LEAVES = st.one_of(
    SECRETS,
    st.none(),
    st.booleans(),
    st.integers(10**6, 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(NAMES, inner, max_size=6),
        st.dictionaries(st.one_of(NAMES, ODD_KEYS), inner, max_size=6),
    ),
    max_leaves=30,
)


def sizes(value):
    """Whether a value is small enough that every part of it is looked at."""
    if isinstance(value, dict):
        return all(map(sizes, value.values()))
    return not isinstance(value, list) or (len(value) <= 3 and all(map(sizes, value)))


class TestNeverValues:
    @settings(max_examples=100, deadline=None)
    @given(values=st.lists(VALUES, min_size=1, max_size=8))
    def test_no_text_number_or_odd_key_of_a_result_is_in_the_file(self, values, tmp_path_factory):
        folder = tmp_path_factory.mktemp("state")
        shapes = Shapes(folder)
        for value in values:
            shapes.observe(TOOL, value)
        shapes.close()
        text = (folder / "shapes.json").read_text()
        kept = json.loads(text)["tools"][TOOL.name]["shape"]
        spelled = json.dumps(kept, ensure_ascii=False)
        assert not set(spelled) & set("ΩΨΦ")
        assert not any(
            len(digits) > 5 for digits in "".join(c if c.isdigit() else " " for c in spelled).split()
        )
        assert "example" not in spelled

    @settings(max_examples=100, deadline=None)
    @given(values=st.lists(VALUES.filter(sizes), min_size=1, max_size=4))
    def test_every_value_seen_is_of_the_shape(self, values):
        schema = learned(*values)
        check = validator_for(schema)
        assert all(check.is_valid(value) for value in values)
        words = set(json.dumps(schema).replace('"', " ").split())
        assert not words & {"enum", "const", "default", "examples", "title", "$defs"}

    @example(one=[{}, {}, {}, {}, {"id": None}], two=[{"id": "x"}, {"id": "x"}])
    @example(one=[{"id": "x"}, {"id": "x"}], two=[{}, {}, {}, {}, {"id": None}])
    @settings(max_examples=40, deadline=None)
    @given(one=st.lists(VALUES, min_size=1, max_size=6), two=st.lists(VALUES, min_size=1, max_size=6))
    def test_two_processes_that_learn_at_once_know_both(self, one, two, tmp_path_factory):
        folder = tmp_path_factory.mktemp("state")
        first, second = Shapes(folder), Shapes(folder)
        for shapes, values in ((first, one), (second, two)):
            for value in values:
                shapes.observe(TOOL, value)
        first.close()
        second.close()
        seen = Shapes(folder).get(TOOL)
        assert seen.calls == len(one) + len(two)
        assert seen == second.get(TOOL)
        check = validator_for(seen.schema)
        assert all(check.is_valid(value) for value in [*one, *two] if sizes(value))


class TestBounds:
    def test_what_is_deeper_than_eight_containers_is_left_open(self):
        value = "x"
        for _ in range(12):
            value = {"a": value}
        schema, depth = learned(value), 0
        while "properties" in schema:
            schema, depth = schema["properties"]["a"], depth + 1
        assert (schema, depth) == ({"type": "object"}, 8)

    def test_a_schema_stays_small_whatever_comes(self):
        shapes = Shapes()
        letters = "abcdefghijklmnopqrst"
        for call in letters:
            wide = {f"field_{call}_{a}": {f"inner_{call}_{b}": {"x": 1} for b in letters} for a in letters}
            shapes.observe(TOOL, {"data": wide, "again": [wide], "call": 1})
        schema = shapes.get(TOOL).schema
        assert len(json.dumps(schema)) <= MAX_SCHEMA
        assert schema["required"] == ["data", "again", "call"]

    def test_a_huge_list_is_looked_at_in_three_places(self):
        items = [{"a": 1}] * 100_000
        items[50_000] = {"a": None}
        assert learned(items)["items"]["properties"]["a"] == {"type": ["integer", "null"]}

    def test_a_huge_map_with_long_keys_is_taken(self):
        schema = learned({f"{number}:{'x' * 1_000}": number for number in range(20_000)})
        assert schema == {"type": "object", "additionalProperties": {"type": "integer"}}

    def test_what_is_no_plain_data_is_anything(self):
        assert learned({"a": object(), 3: "x", "b": 1, "c": 2})["properties"]["a"] == {}


class TestDefinition:
    def test_nothing_is_known_before_the_first_result(self):
        assert Shapes().get(TOOL) is None

    @pytest.mark.parametrize("change", [{"description": "Other."}, {"results": "text"}])
    def test_a_shape_goes_when_the_definition_changes(self, change, tmp_path):
        shapes = Shapes(tmp_path)
        shapes.observe(TOOL, {"a": 1})
        changed = replace(TOOL, **change)
        assert shapes.get(changed) is None
        shapes.save()
        shapes.observe(changed, "x")
        shapes.close()
        assert Shapes(tmp_path).get(changed).schema == {"type": "string"}
        assert Shapes(tmp_path).get(TOOL) is None

    def test_an_equal_definition_is_the_same(self):
        shapes = Shapes()
        shapes.observe(TOOL, 1)
        assert shapes.get(replace(TOOL)).calls == 1

    def test_two_tools_of_one_definition_are_kept_apart(self, tmp_path):
        shapes = Shapes(tmp_path)
        shapes.observe(TOOL, 1)
        shapes.observe(replace(TOOL, name="other.find"), "x")
        shapes.close()
        again = Shapes(tmp_path)
        assert again.get(TOOL).schema == {"type": "integer"}
        assert again.get(replace(TOOL, name="other.find")).schema == {"type": "string"}

    def test_the_schema_is_the_same_object_until_there_is_news(self):
        shapes = Shapes()
        shapes.observe(TOOL, {"a": 1})
        first = shapes.get(TOOL)
        shapes.observe(TOOL, {"a": 2})
        second = shapes.get(TOOL)
        assert second.schema is first.schema
        assert (first.calls, second.calls) == (1, 2)

    def test_a_result_that_changes_late_is_noticed(self):
        shapes = Shapes()
        for _ in range(200):
            shapes.observe(TOOL, {"a": 1})
        for _ in range(40):
            shapes.observe(TOOL, {"a": None})
        assert shapes.get(TOOL).schema["properties"]["a"] == {"type": ["integer", "null"]}
        assert shapes.get(TOOL).calls == 240


class TestFile:
    def test_shapes_survive_a_restart(self, tmp_path):
        shapes = Shapes(tmp_path / "state")
        values = [{"id": 1, "a": [{"x@y.z": b""}]}, {"id": 1.5, "b": None}, [], None]
        for value in values:
            shapes.observe(TOOL, value)
        shapes.close()
        assert Shapes(tmp_path / "state").get(TOOL) == shapes.get(TOOL)
        again = Shapes(tmp_path / "state")
        again.observe(TOOL, {})
        assert again.get(TOOL).calls == 5

    def test_a_key_met_before_and_after_a_restart_was_met_twice(self, tmp_path):
        for _ in range(2):
            shapes = Shapes(tmp_path)
            shapes.observe(TOOL, {"id": 1, "rare": 1})
            shapes.close()
        for _ in range(6):
            shapes.observe(TOOL, {"id": 1})
        assert fields(shapes.get(TOOL).schema) == ["id", "rare"]

    def test_a_key_dropped_is_dropped_from_the_file(self, tmp_path):
        shapes = Shapes(tmp_path)
        shapes.observe(TOOL, {"id": 1, "alice": 1})
        shapes.save()
        assert "alice" in (tmp_path / "shapes.json").read_text()
        for _ in range(5):
            shapes.observe(TOOL, {"id": 1})
        shapes.save()
        assert "alice" not in (tmp_path / "shapes.json").read_text()

    def test_saving_twice_counts_calls_once(self, tmp_path):
        shapes = Shapes(tmp_path)
        shapes.observe(TOOL, 1)
        shapes.save()
        shapes.save()
        shapes.observe(TOOL, 1)
        shapes.close()
        shapes.close()
        assert Shapes(tmp_path).get(TOOL).calls == shapes.get(TOOL).calls == 2

    def test_news_is_written_after_a_while_without_being_asked(self, tmp_path, monkeypatch):
        monkeypatch.setattr("oneturn.tools.shapes.learning._WRITE_AFTER", 0.01)
        shapes = Shapes(tmp_path)
        for value in (1, "x"):
            shapes.observe(TOOL, value)
            while (seen := Shapes(tmp_path).get(TOOL)) != shapes.get(TOOL):
                time.sleep(0.01)
        assert seen.schema == {"type": ["string", "integer"]}
        shapes.close()

    def test_without_a_path_nothing_is_written(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        shapes = Shapes()
        shapes.observe(TOOL, 1)
        shapes.close()
        assert shapes.file is None
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("one", "two", "words"),
        [
            ([{"a": 1, "b": 1}], [{"a": 1}, {"a": 1}], {"required": ["a"]}),
            ([{"a": 1}, {"a": 1}], [{"a": 1, "b": 1}], {"required": ["a"]}),
            ([{"a": 1}, {}], [{"a": 1}], {"properties": {"a": {"type": "integer"}}}),
            ([{"a": 1}], [{"a": 1}, {}], {"properties": {"a": {"type": "integer"}}}),
            (
                [{"ann@example.com": 1}],
                [{"alice": "x"}],
                {"additionalProperties": {"type": ["string", "integer"]}},
            ),
            (
                [{"alice": "x"}],
                [{"ann@example.com": 1}],
                {"additionalProperties": {"type": ["string", "integer"]}},
            ),
        ],
    )
    def test_what_two_processes_saw_is_laid_together(self, tmp_path, one, two, words):
        for shapes, values in ((first := Shapes(tmp_path), one), (second := Shapes(tmp_path), two)):
            shapes.get(TOOL)
            for value in values:
                shapes.observe(TOOL, value)
        first.save()
        second.save()
        first.observe(TOOL, {"later@example.com": 1} if "additionalProperties" in words else {"a": 1})
        first.close()
        for shapes in (first, second, Shapes(tmp_path)):
            schema = shapes.get(TOOL).schema
            assert {word: schema.get(word) for word in words} == words
            assert ("required" in schema) == ("required" in words)
            assert ("properties" in schema) != ("additionalProperties" in words)

    def test_the_later_definition_of_a_tool_is_kept(self, tmp_path, monkeypatch):
        clock = iter(range(100))
        monkeypatch.setattr("oneturn.tools.shapes.learning.time.time", lambda: next(clock))
        changed = replace(TOOL, description="Other.")
        old, new = Shapes(tmp_path), Shapes(tmp_path)
        old.observe(TOOL, 1)
        new.observe(changed, "x")
        new.close()
        old.close()
        assert Shapes(tmp_path).get(changed).schema == {"type": "string"}

    def test_nothing_learned_writes_nothing(self, tmp_path):
        shapes = Shapes(tmp_path / "state")
        assert shapes.get(TOOL) is None
        shapes.close()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
    def test_only_its_owner_can_read_it(self, tmp_path):
        (tmp_path / "shapes.json.new").write_text("left over")
        shapes = Shapes(tmp_path)
        shapes.observe(TOOL, 1)
        shapes.close()
        assert stat.S_IMODE((tmp_path / "shapes.json").stat().st_mode) == 0o600
        assert not (tmp_path / "shapes.json.new").exists()

    @pytest.mark.parametrize(
        "text",
        [
            *("", "{", "[]", '{"version": "x"}', '{"version": 1, "tools": []}', "[" * 100_000, "\x00\xff"),
            '{"version": 1, "tools": {"crm.find": 1}}',
        ],
    )
    def test_a_damaged_file_is_set_aside(self, tmp_path, text, caplog):
        (tmp_path / "shapes.json").write_text(text)
        shapes = Shapes(tmp_path)
        with caplog.at_level(logging.WARNING, "oneturn.shapes"):
            assert shapes.get(TOOL) is None
            shapes.observe(TOOL, 1)
            shapes.close()
        assert "damaged" in caplog.text
        assert (tmp_path / "shapes.json.damaged").read_text() == text
        assert Shapes(tmp_path).get(TOOL).calls == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
    def test_it_writes_through_no_link(self, tmp_path):
        other = tmp_path / "other"
        other.write_text("kept")
        folder = tmp_path / "state"
        folder.mkdir()
        (folder / "shapes.json").symlink_to(other)
        (folder / "shapes.json.new").symlink_to(other)
        shapes = Shapes(folder)
        shapes.observe(TOOL, 1)
        shapes.close()
        assert other.read_text() == "kept"
        assert Shapes(folder).get(TOOL).calls == 1

    @pytest.mark.parametrize(
        "change",
        [
            *({"shape": 1}, {"calls": "x"}, {"key": None}, {"shape": {"is": ["x"]}}),
            {"shape": {"is": ["object"], "fields": {"ann@example.com": {}}}},
        ],
    )
    def test_one_damaged_tool_costs_no_other(self, tmp_path, change, caplog):
        other = replace(TOOL, name="other")
        shapes = Shapes(tmp_path)
        shapes.observe(TOOL, 1)
        shapes.observe(other, "x")
        shapes.close()
        data = json.loads((tmp_path / "shapes.json").read_text())
        data["tools"][TOOL.name] |= change
        (tmp_path / "shapes.json").write_text(json.dumps(data))
        again = Shapes(tmp_path)
        with caplog.at_level(logging.WARNING, "oneturn.shapes"):
            assert again.get(TOOL) is None
        assert "cannot be used" in caplog.text
        assert again.get(other).calls == 1
        again.observe(TOOL, 1)
        again.close()
        assert Shapes(tmp_path).get(TOOL).calls == 1

    def test_a_newer_format_is_left_alone(self, tmp_path, caplog):
        text = '{"version": 2, "tools": {"x": "of the future"}}'
        (tmp_path / "shapes.json").write_text(text)
        shapes = Shapes(tmp_path)
        with caplog.at_level(logging.WARNING, "oneturn.shapes"):
            shapes.observe(TOOL, 1)
            shapes.close()
        assert "written by a newer oneturn" in caplog.text
        assert (tmp_path / "shapes.json").read_text() == text
        assert shapes.get(TOOL).calls == 1

    def test_a_folder_that_cannot_be_written_costs_nothing_but_a_warning(self, tmp_path, caplog):
        (tmp_path / "state").write_text("a file where the folder should be")
        shapes = Shapes(tmp_path / "state")
        with caplog.at_level(logging.WARNING, "oneturn.shapes"):
            shapes.observe(TOOL, 1)
            shapes.close()
        assert "cannot be kept" in caplog.text
        assert shapes.get(TOOL).calls == 1

    def test_the_tools_used_least_recently_go_first(self, tmp_path, monkeypatch):
        monkeypatch.setattr("oneturn.tools.shapes.learning._MAX_TOOLS", 3)
        clock = iter(range(100))
        monkeypatch.setattr("oneturn.tools.shapes.learning.time.time", lambda: next(clock))
        for name in ("a", "b", "c", "a", "d"):
            shapes = Shapes(tmp_path)
            shapes.observe(Tool(name), 1)
            shapes.close()
        assert sorted(json.loads((tmp_path / "shapes.json").read_text())["tools"]) == ["a", "c", "d"]


LEARNER = """
import sys
from pathlib import Path
from oneturn.tools.shapes import Shapes
from oneturn.types import Tool
shapes = Shapes(Path(sys.argv[1]))
for number in range(20):
    shapes.observe(Tool(f"{sys.argv[2]}.t{number}"), {"id": 1})
    shapes.observe(Tool("shared"), {sys.argv[2]: 1})
    shapes.save()
"""


def test_processes_that_write_at_once_lose_nothing_of_each_other(tmp_path):
    names = ["left", "middle", "right"]
    running = [subprocess.Popen([sys.executable, "-c", LEARNER, str(tmp_path), name]) for name in names]
    assert [process.wait() for process in running] == [0, 0, 0]
    shapes = Shapes(tmp_path)
    assert all(shapes.get(Tool(f"{name}.t{number}")).calls == 1 for name in names for number in range(20))
    seen = shapes.get(Tool("shared"))
    assert seen.calls == 60
    assert sorted(fields(seen.schema)) == names
    assert "required" not in seen.schema


def test_threads_that_learn_and_save_at_once_count_every_call(tmp_path):
    shapes = Shapes(tmp_path)
    tools = [Tool(f"t{number}") for number in range(4)]

    def work():
        for number in range(100):
            shapes.observe(tools[number % 4], {"id": number, "rows": [{"x": 1}]})
            shapes.get(tools[0])
            if number % 25 == 0:
                shapes.save()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shapes.close()
    assert [Shapes(tmp_path).get(tool).calls for tool in tools] == [150] * 4
