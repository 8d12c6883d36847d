"""From an OpenAPI document to tools: what scripts see, what requests need, what strangers may write."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oneturn.errors import SourceError
from oneturn.gate.schemas import Schema
from oneturn.tools.catalog import Catalog
from oneturn.tools.openapi.document import load_document
from oneturn.tools.openapi.operations import ApiDocument, Operation
from oneturn.tools.openapi.reading import read_operations
from oneturn.tools.signature import signature

HERE = Path(__file__).parent / "openapi"


def read(name: str, namespace: str = "lib") -> ApiDocument:
    return read_operations(load_document(HERE / name), namespace)


@pytest.fixture(scope="module")
def library() -> ApiDocument:
    return read("library.yaml")


@pytest.fixture(scope="module")
def pets() -> ApiDocument:
    return read("pets.json", "zoo")


def named(document: ApiDocument, name: str) -> Operation:
    return next(each for each in document.operations if each.tool.name == name)


def minimal(paths: Any, **more: Any) -> dict[str, Any]:
    return {"openapi": "3.0.0", "info": {"title": "t", "version": "1"}, "paths": paths, **more}


def only(operation: dict[str, Any], path: str = "/x", method: str = "post", **more: Any) -> Operation:
    [found] = read_operations(minimal({path: {method: operation}}, **more), "api").operations
    return found


def json_body(schema: Any, **more: Any) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}, **more}}


def answer(schema: Any) -> dict[str, Any]:
    return {"responses": {"200": {"description": "", "content": {"application/json": {"schema": schema}}}}}


class TestDocument:
    def test_yaml_is_read_as_openapi_means_it(self) -> None:
        text = """
        openapi: 3.1.0
        x: &shared {200: a, 2020-01-01: 2020-01-02, country: no, on: true, port: 0755, ratio: 1e3,
          none: ~, h: 0x1F}
        y: {<<: *shared, country: se}
        z: *shared
        q: "200"
        """
        document = load_document(text)
        assert document["x"] == {
            "200": "a",
            "2020-01-01": "2020-01-02",
            "country": "no",
            "on": True,
            "port": "0755",
            "ratio": 1000.0,
            "none": None,
            "h": 31,
        }
        assert document["y"] == {**document["x"], "country": "se"}
        assert document["z"] == document["x"]
        assert document["q"] == "200"

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('{"swagger": "2.0"}', "convert it to 3.0"),
            ("swagger: '2.0'", "convert it to 3.0"),
            ("openapi: 4.0.0", "'4.0.0'"),
            ("<!doctype html>", "web page"),
            ("", "empty"),
            ("[1, 2]", "not an object"),
            ("a: [", "neither JSON nor YAML"),
            ("a: &a {b: *a}", "alias"),
            ("openapi: 3.0.0\nx: " + "[" * 100_000, "nested deeper"),
            ("- " * 100_000, "nested deeper"),
            ('{"openapi": "3.0.0", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "too deep"),
        ],
    )
    def test_anything_else_is_refused_with_a_sentence(self, text: str, says: str) -> None:
        with pytest.raises(SourceError, match=says) as caught:
            load_document(text)
        assert str(caught.value).endswith(".")
        assert len(str(caught.value)) < 600

    @pytest.mark.parametrize("line", ["{next}: &{next} [{ten}]", "{next}: &{next} {{<<: [{ten}]}}"])
    def test_aliases_cannot_grow_without_bound(self, line: str) -> None:
        text = "openapi: 3.0.0\na: &a {x: 1}\n"
        for first, following in zip("abcdefghijklm", "bcdefghijklmn", strict=True):
            text += line.format(next=following, ten=", ".join([f"*{first}"] * 10)) + "\n"
        with pytest.raises(SourceError, match="aliases repeat too much"):
            load_document(text)

    def test_a_file_that_is_not_there_is_a_source_error(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="cannot be read"):
            load_document(tmp_path / "none.json")

    def test_a_yaml_tag_makes_no_object(self) -> None:
        document = load_document("openapi: 3.0.0\nx: !!python/object/apply:os.getcwd []")
        assert document["x"] == []


class TestNames:
    def test_they_come_from_tag_and_operation_without_saying_a_thing_twice(
        self, library: ApiDocument
    ) -> None:
        assert [each.tool.name for each in library.operations] == [
            "lib.books.list_books",
            "lib.books.create",
            "lib.books.get_book",
            "lib.books.replace_book",
            "lib.books.class_",
            "lib.books.put_books_cover",
            "lib.search",
            "lib.upload",
            "lib.post_broken",
        ]
        assert [each.tool.original for each in library.operations][:2] == ["GET /books", "POST /books"]

    def test_they_are_valid_unique_and_no_namespace(self, pets: ApiDocument) -> None:
        assert {each.tool.original: each.tool.name for each in pets.operations} == {
            "GET /pets": "zoo.pets.list_pets",
            "POST /pets": "zoo.pets.list_pets_post",
            "GET /pets/{petId}": "zoo.get_pets_by_pet_id",
            "PATCH /pets/{petId}": "zoo.tools_",
            "DELETE /pets/": "zoo.pets_delete",
        }

    @pytest.mark.parametrize(
        ("tag", "operation_id", "name"),
        [
            ("issues", "issues/list-for-repo", "api.issues.list_for_repo"),
            ("core_v1", "listCoreV1NamespacedPod", "api.core_v1.list_namespaced_pod"),
            ("firewallPolicies", "compute.firewallPolicies.list", "api.firewall_policies.list"),
            ("VPCs", "listVPCs", "api.vpcs.list_vpcs"),
            ("pets", "pets", "api.pets.pets"),
            ("2fa", "2fa", "api._2fa._2fa"),
            ("日本", "取得", "api.日本.取得"),
            ("", "---", "api.get_x"),
        ],
    )
    def test_spellings(self, tag: str, operation_id: str, name: str) -> None:
        assert only({"tags": [tag], "operationId": operation_id}, method="get").tool.name == name

    def test_another_operation_does_not_rename_those_that_were_there(self) -> None:
        paths: dict[str, Any] = {f"/{i}": {"get": {"operationId": "same", "tags": ["t"]}} for i in range(5)}
        before = {e.path: e.tool.name for e in read_operations(minimal(paths), "api").operations}
        paths["/new"] = {"get": {"operationId": "same", "tags": ["t"]}}
        after = {e.path: e.tool.name for e in read_operations(minimal(paths), "api").operations}
        assert len(set(after.values())) == 6
        assert before == {path: after[path] for path in before}

    def test_every_tool_gets_into_a_catalog(self, library: ApiDocument, pets: ApiDocument) -> None:
        catalog = Catalog()
        catalog.replace("lib", [each.tool for each in library.operations])
        catalog.replace("zoo", [each.tool for each in pets.operations])
        assert catalog.dropped == {}
        assert len(catalog.tools) == 14


class TestParameters:
    def test_required_ones_of_the_path_first_then_in_the_documents_order(self, library: ApiDocument) -> None:
        found = named(library, "lib.books.get_book")
        assert list(found.tool.input_schema["properties"]) == ["id", "verbose"]
        assert found.tool.input_schema["required"] == ["id"]
        assert found.tool.input_schema["properties"]["id"]["description"] == "Its number."
        verbose = found.tool.input_schema["properties"]["verbose"]
        assert verbose == {
            "type": "boolean",
            "description": "Say more.",
        }  # the operation's own; no odd default

    def test_what_the_transport_and_auth_supply_is_not_the_scripts_to_give(
        self, library: ApiDocument
    ) -> None:
        found = named(library, "lib.books.list_books")
        assert [each.name for each in found.parameters] == ["tag", "filter", "X-Trace", "near"]

    def test_how_each_is_written(self, library: ApiDocument) -> None:
        tag, filters, trace, near = named(library, "lib.books.list_books").parameters
        assert (tag.style, tag.explode) == ("form", False)
        assert (filters.style, filters.explode) == ("deepObject", True)
        assert (trace.place, trace.style, trace.explode) == ("header", "simple", False)
        assert near.content_type == "application/json"

    def test_two_of_one_name_get_two_arguments(self, library: ApiDocument) -> None:
        found = named(library, "lib.books.replace_book")
        assert [(each.name, each.place, each.argument) for each in found.parameters] == [
            ("id", "path", "id"),
            ("verbose", "query", "verbose"),
            ("id", "query", "id_query"),
        ]

    def test_a_path_gets_what_its_template_asks_for(self, library: ApiDocument) -> None:
        found = named(library, "lib.upload")
        assert [each.name for each in found.parameters] == ["path+"]
        assert "path+" in found.tool.input_schema["required"]
        declared = only(
            {"parameters": [{"name": "path", "in": "path"}, {"name": "not-there", "in": "path"}]},
            "/raw/{path+}",
        )
        assert declared.path == "/raw/{path}"
        assert [each.name for each in declared.parameters] == ["path"]

    def test_a_query_in_the_path_is_told_apart(self) -> None:
        found = only({"parameters": [{"name": "Action", "in": "query", "required": True}]}, "/?Action=List#x")
        assert (found.path, found.query, found.parameters) == ("/", (("Action", "List"),), ())

    def test_a_reference_to_a_plain_type_is_replaced_by_it(self) -> None:
        schemas: dict[str, Any] = {
            "components": {"schemas": {"Id": {"type": "integer", "description": "A number."}}}
        }
        reference = {"$ref": "#/components/schemas/Id"}
        found = only({"parameters": [{"name": "id", "in": "query", "schema": reference}]}, **schemas)
        assert found.tool.input_schema["properties"] == {
            "id": {"type": "integer", "description": "A number."}
        }
        assert "$defs" not in found.tool.input_schema


class TestBodies:
    def test_properties_become_parameters(self, library: ApiDocument) -> None:
        found = named(library, "lib.books.create")
        assert found.body is not None
        assert found.body.media_type == "application/json; charset=utf-8"
        assert found.body.flattened == {name: name for name in ("title", "secret", "author", "kind", "year")}
        assert signature(found.tool).startswith(
            "await tools.lib.books.create(title: str, secret: str | None = None, author: "
        )

    def test_read_only_parts_are_not_sent_and_write_only_ones_do_not_come_back(
        self, library: ApiDocument
    ) -> None:
        sent = named(library, "lib.books.create").tool.input_schema
        assert "id" not in sent["properties"]
        assert sent["required"] == ["title"]
        back = named(library, "lib.books.list_books").tool.output_schema
        assert back is not None
        book = back["$defs"]["Book"]["allOf"][1]
        assert "secret" not in book["properties"]
        assert book["required"] == ["title", "id"]

    def test_a_name_that_would_mean_two_things_keeps_the_body_whole(self) -> None:
        body = json_body({"type": "object", "properties": {"id": {}, "x": {}}})
        found = only({"parameters": [{"name": "id", "in": "query"}], **body})
        assert found.body is not None
        assert found.body.argument == "body"
        assert list(found.tool.input_schema["properties"]) == ["body", "id"]
        taken = only({"parameters": [{"name": "body", "in": "query"}], **json_body({"type": "string"})})
        assert taken.body is not None
        assert taken.body.argument == "request_body"

    def test_a_choice_of_shapes_keeps_the_body_whole_and_optional(self, library: ApiDocument) -> None:
        found = named(library, "lib.books.replace_book")
        assert found.body is not None
        assert (found.body.argument, found.body.required) == ("body", False)
        assert "body" not in found.tool.input_schema["required"]

    def test_multipart(self, library: ApiDocument) -> None:
        found = named(library, "lib.books.put_books_cover")
        assert found.body is not None
        assert found.body.media_type == "multipart/form-data"
        assert found.body.parts["image"].binary
        assert found.body.parts["image"].content_type == "image/png"
        assert found.body.parts["pages"].binary  # bytes cross one at a time
        assert not found.body.parts["meta"].binary
        image = found.tool.input_schema["properties"]["image"]
        assert image == {"type": "string", "format": "binary", "description": "The picture."}

    def test_a_form_with_further_properties_is_open(self, library: ApiDocument) -> None:
        found = named(library, "lib.search")
        assert found.body is not None
        assert found.body.open
        assert found.tool.input_schema["additionalProperties"] == {"type": "string"}
        properties = found.tool.input_schema["properties"]
        assert properties["country"]["enum"] == ["no", "on", "yes"]
        assert properties["since"]["default"] == "2020-01-01"
        assert "pattern" not in properties["q"]  # \K is not of this world

    def test_bytes(self, library: ApiDocument) -> None:
        found = named(library, "lib.upload")
        assert found.body is not None
        assert (found.body.media_type, found.body.argument) == ("image/png", "body")
        assert found.tool.input_schema["properties"]["body"] == {"type": "string", "format": "binary"}

    def test_of_patches_the_merge_is_preferred(self, pets: ApiDocument) -> None:
        body = named(pets, "zoo.tools_").body
        assert body is not None
        assert body.media_type == "application/merge-patch+json"

    def test_an_optional_body_without_anything_is_none(self) -> None:
        content = {"application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": {}}}}
        assert only({"requestBody": {"content": content}}).body is None


class TestSchemas:
    def test_words_of_openapi_3_0(self) -> None:
        schema = {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "nullable": True, "enum": [1, 2], "example": 1, "xml": {}},
                "b": {"type": "number", "minimum": 1, "exclusiveMinimum": True, "maximum": 5},
                "c": {"nullable": True, "allOf": [{"type": "object"}], "description": "C."},
                "d": {"type": "file"},
            },
        }
        assert only(json_body(schema)).tool.input_schema["properties"] == {
            "a": {"type": ["integer", "null"], "enum": [1, 2, None]},
            "b": {"type": "number", "exclusiveMinimum": 1, "maximum": 5},
            "c": {"description": "C.", "anyOf": [{"allOf": [{"type": "object"}]}, {"type": "null"}]},
            "d": {"type": "string", "format": "binary"},
        }

    def test_words_of_openapi_3_1(self, pets: ApiDocument) -> None:
        assert named(pets, "zoo.pets.list_pets_post").tool.input_schema["properties"] == {
            "name": {"type": ["string", "null"]},
            "age": {"type": "integer", "exclusiveMinimum": 0},
            "photo": {"type": "string", "contentEncoding": "base64"},
            "origin": {"const": "web"},
            "size": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}]},
            "mood": {"type": "string", "enum": ["good", "bad"], "description": "How it feels."},
        }

    def test_nonsense_is_left_out_and_the_rest_kept(self) -> None:
        schema = {
            "type": "object",
            "required": "name",
            "properties": {
                "a": {"type": "int", "default": 5},
                "b": {"type": "string", "enum": "x", "pattern": "(", "minLength": -1, "maxLength": "9"},
                "c": {"type": ["string", 5], "minimum": float("nan"), "multipleOf": 0},
                "d": {"type": "integer", "default": "x", "enum": ["1"]},
                "e": 5,
                "f": {"type": "array", "items": [1], "required": [1, "x"]},
            },
        }
        assert only(json_body(schema)).tool.input_schema["properties"] == {
            "a": {"default": 5},
            "b": {"type": "string"},
            "c": {},
            "d": {"enum": ["1"]},
            "e": {},
            "f": {"type": "array", "required": ["x"]},
        }

    def test_references_are_followed_inside_the_document_only(self, library: ApiDocument) -> None:
        output = named(library, "lib.search").tool.output_schema
        assert output is not None
        node = output["$defs"]["Node"]["properties"]
        assert node["children"] == {"type": "array", "items": {"$ref": "#/$defs/Node"}}
        assert node["elsewhere"] == {
            "description": "(cut: nothing usable at https://evil.example/schema.json#/X)"
        }
        assert "$ref" not in node["nowhere"]
        assert "$ref" not in node["circle"]
        [name] = [key for key in output["$defs"] if key != "Node"]
        assert node["inline"] == {"$ref": f"#/$defs/{name}"}
        assert output["$defs"][name]["items"] == {"type": "string"}

    def test_a_circle_at_one_place_is_opened_where_it_accepts_more(self, pets: ApiDocument) -> None:
        output = named(pets, "zoo.pets.list_pets").tool.output_schema
        assert output is not None
        schema = Schema(output)
        assert schema.accepts([{"kind": "cat", "lives": 9}, {"kind": "dog"}])
        assert not schema.accepts([{"kind": "fish"}])

    def test_a_closed_part_of_a_whole_does_not_refuse_the_rest(self, library: ApiDocument) -> None:
        output = named(library, "lib.books.list_books").tool.output_schema
        assert output is not None
        assert Schema(output).accepts([{"id": 1, "title": "Emma", "kind": "novel"}])
        filters = named(library, "lib.books.list_books").tool.input_schema
        assert not Schema(filters).accepts({"filter": {"writer": "x"}})  # where it stands alone it counts

    def test_every_schema_can_be_compiled_by_the_gate(self, library: ApiDocument, pets: ApiDocument) -> None:
        for each in (*library.operations, *pets.operations):
            Schema(each.tool.input_schema)
            if each.tool.output_schema is not None:
                Schema(each.tool.output_schema)

    def test_definitions_are_shared_and_bounded(self) -> None:
        schemas = {
            f"S{i}": {
                "type": "object",
                "description": "x" * 500,
                "properties": {
                    f"p{j}": {"$ref": f"#/components/schemas/S{(i * 7 + j) % 2_000}"} for j in range(8)
                },
            }
            for i in range(2_000)
        }
        paths = {f"/{i}": {"get": answer({"$ref": f"#/components/schemas/S{i % 50}"})} for i in range(1_000)}
        found = read_operations(minimal(paths, components={"schemas": schemas}), "api").operations
        outputs = [each.tool.output_schema or {} for each in found]
        assert all(len(json.dumps(each)) < 100_000 for each in outputs)
        whole: dict[str, set[int]] = {}
        for each in outputs:
            for name, schema in each["$defs"].items():
                if "properties" in schema:
                    whole.setdefault(name, set()).add(id(schema))
        assert all(len(objects) == 1 for objects in whole.values())
        assert outputs[0]["$defs"] is outputs[50]["$defs"]
        cut = next(s for s in outputs[0]["$defs"].values() if "properties" not in s)
        assert set(cut) == {"description"}
        Schema(outputs[0])


class TestAnswers:
    def test_several_answers_are_a_union(self, library: ApiDocument) -> None:
        found = named(library, "lib.books.create")
        output = found.tool.output_schema
        assert output is not None
        assert output["anyOf"][0] == {"$ref": "#/$defs/Book"}
        assert output["anyOf"][2] == {"type": "null"}
        assert not found.tool.holds_output

    def test_what_is_not_json_has_no_shape(self, library: ApiDocument) -> None:
        for name in ("lib.books.put_books_cover", "lib.books.class_", "lib.upload", "lib.books.replace_book"):
            assert named(library, name).tool.output_schema is None
        assert named(library, "lib.books.put_books_cover").response_types == ("text/plain",)

    def test_json_is_asked_for_first(self, library: ApiDocument) -> None:
        found = named(library, "lib.books.list_books")
        assert found.response_types == ("application/json", "application/xml")
        assert found.response_headers == ("link",)


class TestTheRest:
    def test_effects_follow_the_method(self, library: ApiDocument) -> None:
        effects = {each.method: (each.tool.effect, each.tool.effect_from) for each in library.operations}
        assert effects == {
            "GET": ("read", "method"),
            "POST": ("write", "method"),
            "PUT": ("write", "method"),
            "DELETE": ("destructive", "method"),
        }

    def test_what_may_be_repeated_follows_the_method(self, library: ApiDocument) -> None:
        found = {each.method for each in library.operations if each.tool.idempotent}
        assert found == {"PUT", "DELETE"}  # a read needs nobody's word for it

    def test_texts_labels_and_notes(self, library: ApiDocument) -> None:
        assert named(library, "lib.books.list_books").tool.description == "List books\n\nNewest first."
        assert named(library, "lib.books.create").tool.labels == ("Books", "Admin")
        assert named(library, "lib.books.replace_book").tool.notes == (
            "Deprecated: the API may take it away.",
        )

    def test_security(self, library: ApiDocument) -> None:
        assert set(library.security_schemes) == {"key", "login"}
        key, login = library.security_schemes["key"], library.security_schemes["login"]
        assert (key.type, key.place, key.name) == ("apiKey", "header", "X-API-Key")
        assert (login.type, login.place) == ("oauth2", None)
        assert named(library, "lib.books.list_books").security == ({"key": ()},)
        assert named(library, "lib.books.class_").security == ({}, {"login": ("write",)})

    def test_servers(self, library: ApiDocument, pets: ApiDocument) -> None:
        assert library.servers == ("https://eu.library.example/v2/",)
        assert named(library, "lib.search").server_path == "/v2"
        cover = named(library, "lib.books.put_books_cover")
        assert (cover.server_path, cover.own_server) == ("/upload", "https://files.library.example/upload")
        assert named(pets, "zoo.pets_delete").server_path == "/api/v3"

    def test_what_cannot_be_used_is_skipped_with_a_reason(self, library: ApiDocument) -> None:
        assert set(library.skipped) == {"GET /broken", "TRACE /broken", "no-slash"}
        assert all(reason.endswith(".") for reason in library.skipped.values())


class TestStrangers:
    def test_a_hundred_thousand_operations(self) -> None:
        paths = {f"/p{i}": {"get": {"operationId": "same"}} for i in range(100_000)}
        document = read_operations(minimal(paths), "api")
        assert len(document.operations) == 50_000
        assert "50,000" in document.skipped["paths"]
        assert len({each.tool.name for each in document.operations}) == 50_000

    def test_huge_texts_are_cut(self) -> None:
        huge = "x" * 10_000_000
        schema = {
            "type": "object",
            "description": huge,
            "properties": {"a": {"description": huge, "enum": [huge]}},
        }
        found = only(
            {"summary": huge, "description": huge, "tags": [huge], "operationId": huge, **json_body(schema)}
        )
        assert len(found.tool.name) < 200
        assert len(found.tool.description) < 5_000
        assert len(json.dumps(found.tool.input_schema)) < 5_000

    def test_deep_and_wide_schemas_are_cut(self) -> None:
        deep: dict[str, Any] = {"type": "string"}
        for _ in range(300):
            deep = {"type": "object", "properties": {"x": deep}}
        wide = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(50_000)}}
        for schema in (deep, wide):
            catalog = Catalog()
            catalog.replace("api", [only({**json_body(schema), **answer(schema)}).tool])
            assert catalog.dropped == {}

    def test_a_long_chain_and_many_circles_of_references(self) -> None:
        def refer(i: int) -> dict[str, Any]:
            return {"$ref": f"#/components/schemas/S{i % 3_000}"}

        schemas = {
            f"S{i}": {"allOf": [refer(i + 1), refer(i * 3)], "anyOf": [refer(i + 5)]} for i in range(3_000)
        }
        aliases = {f"A{i}": {"$ref": f"#/components/schemas/A{i + 1}"} for i in range(100)}
        paths = {f"/{i}": {"post": {**json_body(refer(i)), **answer(refer(i))}} for i in range(300)}
        paths["/alias"] = {"post": json_body({"$ref": "#/components/schemas/A0"})}
        document = read_operations(minimal(paths, components={"schemas": {**schemas, **aliases}}), "api")
        assert len(document.operations) == 301
        for each in document.operations[::50]:
            Schema(each.tool.input_schema)

    @pytest.mark.parametrize("junk", [None, 5, "x", [], [1], {}, {"$ref": 5}, {"$ref": "#/paths"}, True])
    def test_junk_anywhere_spoils_nothing_else(self, junk: Any) -> None:
        good = {"get": {"operationId": "good"}}
        names = ("parameters", "requestBody", "responses", "tags", "security", "servers", "operationId")
        paths: dict[Any, Any] = {f"/{name}": {"post": {name: junk}} for name in names}
        paths |= {
            "/good": good,
            "/junk": junk,
            5: junk,
            "/keys": {5: junk, "get": {5: junk, "responses": {5: junk}}},
        }
        paths["/p"] = {
            "get": {
                "parameters": [junk, {"name": junk, "in": junk}, {"name": "a", "in": "query", "schema": junk}]
            }
        }
        paths["/b"] = {
            "post": {"requestBody": {"content": {"application/json": {"schema": junk, "encoding": junk}}}}
        }
        found = read_operations(minimal(paths, components=junk, servers=junk, security=junk), "api")
        assert "api.good" in {each.tool.name for each in found.operations}
        assert read_operations(minimal(junk), "api").operations == ()

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def test_a_damaged_document_never_crashes_and_its_tools_stay_usable(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(["library.yaml", "pets.json"]))
        document = copy.deepcopy(dict(load_document(HERE / name)))
        for _ in range(data.draw(st.integers(1, 6))):
            _damage(document, data)
        document["openapi"] = "3.0.0"
        found = read_operations(document, "api")
        catalog = Catalog()
        catalog.replace("api", [each.tool for each in found.operations])
        for tool in catalog.tools:
            Schema(tool.input_schema)
            signature(tool)

    @settings(max_examples=100, deadline=None)
    @given(
        text=st.text(max_size=200)
        | st.text(alphabet="{}[]:,&*!|>-?#'\"\n ab<~1", max_size=200).map(
            lambda text: f"openapi: 3.0.0\n{text}"
        )
    )
    def test_any_text_is_a_document_or_a_source_error(self, text: str) -> None:
        try:
            document = load_document(text)
        except SourceError:
            return
        read_operations(document, "api")


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just({"$ref": "#"}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _damage(document: dict[str, Any], data: st.DataObject) -> None:
    """Replace, drop, move or rename something somewhere."""
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [document]
    seen: set[int] = set()
    while waiting:
        part = waiting.pop()
        if id(part) not in seen and isinstance(part, dict | list):
            seen.add(id(part))
            for key in list(part) if isinstance(part, dict) else range(len(part)):
                places.append((part, key))
                waiting.append(part[key])
    if not places:
        return
    outer, key = data.draw(st.sampled_from(places))
    how = data.draw(st.sampled_from(["junk", "drop", "move", "reference"]))
    if how == "drop":
        del outer[key]
    elif how == "junk":
        outer[key] = data.draw(_JUNK)
    elif how == "move":
        other, at = data.draw(st.sampled_from(places))
        outer[key] = copy.deepcopy(other[at]) if at in other or isinstance(other, list) else None
    else:
        names = ("Book", "Node", "Pet", "Cat", "Circle", "Missing", "Book/allOf/1/properties/author")
        outer[key] = {"$ref": f"#/components/schemas/{data.draw(st.sampled_from(names))}"}
