from oneturn.tools.schema import properties, required, resolve, types


def test_a_reference_is_followed_and_the_words_beside_it_stay() -> None:
    root = {"$defs": {"a/b": {"$ref": "#/$defs/Real"}, "Real": {"type": "string", "description": "inner"}}}
    found = resolve({"$ref": "#/$defs/a~1b", "description": "outer"}, root)
    assert found == {"type": "string", "description": "outer"}


def test_what_cannot_be_followed_means_anything() -> None:
    loop = {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}
    assert resolve({"$ref": "#/$defs/A"}, loop) == {}
    assert resolve({"$ref": "https://example.com/schema.json"}, {}) == {}
    assert resolve({"$ref": "#/nowhere/0"}, {}) == {}
    assert resolve(True, {}) == {}
    assert resolve("nonsense", {}) == {}


def test_a_place_in_a_list_can_be_meant() -> None:
    assert resolve({"$ref": "#/anyOf/1"}, {"anyOf": [{}, {"type": "null"}]}) == {"type": "null"}


def test_the_root_itself_may_be_a_reference() -> None:
    schema = {"$ref": "#/$defs/In", "$defs": {"In": {"properties": {"a": {}}, "required": ["a"]}}}
    assert properties(schema) == {"a": {}}
    assert required(schema) == {"a"}


def test_odd_schemas_are_read_as_empty() -> None:
    assert properties({"properties": ["a"]}) == {}
    assert required({"required": "a"}) == frozenset()
    assert types({"type": 5}) == ()
    assert types({"properties": {}}) == ("object",)
    assert types({"type": ["string", "null"]}) == ("string", "null")


def test_a_reference_longer_than_any_real_one_means_anything() -> None:
    root = {"a": {"type": "string"}}
    assert resolve({"$ref": "#/a"}, root) == {"type": "string"}
    assert resolve({"$ref": "#/a" + "/" * 1_000}, root) == {}
