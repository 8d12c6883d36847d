"""From a document to its operations and their tools.

Each operation is read by itself: what is wrong with one is a reason in `skipped` and nothing to its
neighbours. Everything is bounded (operations, texts, schemas), since documents come from strangers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from ...types import Effect, Tool
from ..names import identifier
from .bodies import ReadBody, media_kind, media_rank, read_body
from .conversion import cut, shortened
from .definitions import Converted, Definitions
from .document import check_document
from .inputs import Input, ParameterReader
from .naming import Naming, tool_names
from .operations import ApiDocument, Operation, Parameter
from .references import References
from .security import read_requirements, read_schemes
from .servers import first_server, host_of, path_of, server_urls

MAX_OPERATIONS = 50_000
"""Operations read of one document."""

_EFFECTS: Mapping[str, Effect] = {
    "get": "read",
    "head": "read",
    "options": "read",
    "post": "write",
    "put": "write",
    "patch": "write",
    "delete": "destructive",
}
_IDEMPOTENT = frozenset({"put", "delete"})  # of those that change something, as HTTP has it
_MAX_SKIPPED = 1_000
_MAX_TEXT = 4_000  # characters of a description
_MAX_SHOWN = 200  # characters of a path or a label
_MAX_PATH = 2_000
_MAX_LABELS = 10
_MAX_INPUT = 60_000  # characters of all arguments' schemas, without definitions
_MAX_OUTPUT = 60_000  # characters of the schemas of all answers, without definitions
_MAX_RESPONSES = 20
_MAX_ARGUMENTS = 1_000_000  # of all operations of a document


def read_operations(document: Mapping[str, Any], namespace: str) -> ApiDocument:
    """Every operation of a document as a tool under `namespace`, which names the API.

    Raises:
        SourceError: It is not an OpenAPI 3 document.
    """
    check_document(document)
    return _Reading(document, namespace).document()


@dataclass(frozen=True, slots=True)
class _Found:
    """An operation as the document has it."""

    method: str
    path: str
    item: Mapping[str, Any]
    raw: Mapping[str, Any]

    @property
    def place(self) -> str:
        return f"{self.method.upper()} {self.path}"


class _Reading:
    def __init__(self, document: Mapping[str, Any], namespace: str) -> None:
        self._document = document
        self._namespace = namespace
        self._references = References(document)
        self._definitions = Definitions(document, self._references)
        self._schemes = read_schemes(document, self._references)
        supplied = {
            (scheme.place, scheme.name.lower() if scheme.place == "header" else scheme.name)
            for scheme in self._schemes.values()
            if scheme.place
        }
        self._parameters = ParameterReader(self._references, self._definitions, supplied)
        self._security = read_requirements(document.get("security"))
        self._server = first_server(document.get("servers"))
        self._arguments = 0
        self._unlisted = 0
        self._skipped: dict[str, str] = {}

    def document(self) -> ApiDocument:
        found = list(self._operations())
        names = tool_names(
            self._namespace,
            [
                Naming(each.method, each.path, _tag(each.raw), _text(each.raw, "operationId"))
                for each in found
            ],
        )
        operations: list[Operation] = []
        for each, name in zip(found, names, strict=True):
            try:
                operations.append(self._operation(each, name))
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
                self._skip(
                    each.place, f"It cannot be read ({shortened(str(error), 200)}); mend its declaration."
                )
        return ApiDocument(
            operations=tuple(operations),
            security_schemes=self._schemes,
            servers=server_urls(self._document.get("servers")),
            skipped=self._skipped,
        )

    def _skip(self, place: str, reason: str) -> None:
        if len(self._skipped) < _MAX_SKIPPED:
            self._skipped[shortened(place, _MAX_SHOWN)] = reason
        else:
            self._unlisted += 1
            self._skipped["…"] = f"{self._unlisted:,} more cannot be used."

    def _operations(self) -> Iterator[_Found]:
        paths = self._document.get("paths")
        if not isinstance(paths, Mapping):
            self._skip("paths", "The document has no `paths` that could be read; nothing can be called.")
            return
        count = 0
        for path, item in paths.items():
            if not isinstance(path, str) or path.startswith("x-"):
                continue
            shown = shortened(path, _MAX_SHOWN)
            resolved = self._references.resolve(item)
            if resolved is None or not path.startswith("/") or len(path) > _MAX_PATH:
                self._skip(
                    shown, f"It is no path that can be called: `/…`, at most {_MAX_PATH:,} characters."
                )
                continue
            for method, raw in resolved.items():
                if method not in _EFFECTS:
                    if method in ("trace", "connect"):
                        self._skip(f"{method.upper()} {shown}", f"{method.upper()} is not offered.")
                    continue
                if not isinstance(raw, Mapping):
                    self._skip(f"{method.upper()} {shown}", "It is not an object; mend its declaration.")
                    continue
                count += 1
                if count > MAX_OPERATIONS:
                    self._skip("paths", f"Only the first {MAX_OPERATIONS:,} operations are read.")
                    return
                yield _Found(method, path, resolved, raw)

    def _operation(self, found: _Found, name: str) -> Operation:
        if self._arguments > _MAX_ARGUMENTS:
            raise ValueError(f"the operations before it have {_MAX_ARGUMENTS:,} parameters")
        raw = found.raw
        template, fixed = _split(found.path)
        path, parameters = self._parameters.read(
            template, found.item.get("parameters"), raw.get("parameters")
        )
        parameters = [pair for pair in parameters if (pair[0].place, pair[0].name) not in fixed]
        declared = self._references.resolve(raw.get("requestBody"))
        taken = {identifier(each.argument) for _, each in parameters}
        body = read_body(declared, self._references, self._definitions, taken) if declared else None
        answers = self._answers(raw.get("responses"))
        self._arguments += len(parameters) + (len(body.inputs) if body else 0)
        security = self._security if "security" not in raw else read_requirements(raw["security"])
        own = first_server(raw.get("servers")) or first_server(found.item.get("servers"))
        elsewhere = own if own and host_of(own) != host_of(self._server) else ""
        return Operation(
            tool=self._tool(found, name, parameters, body, answers),
            method=found.method.upper(),
            path=path,
            query=tuple((key, value) for (_, key), value in fixed.items()),
            parameters=tuple(parameter for parameter, _ in parameters),
            body=body.body if body else None,
            security=security,
            server_path=path_of(own or self._server),
            own_server=elsewhere,
            response_types=_response_types(answers),
            response_headers=_response_headers(answers),
        )

    def _tool(
        self,
        found: _Found,
        name: str,
        parameters: list[tuple[Parameter, Input]],
        body: ReadBody | None,
        answers: list[tuple[str, Mapping[str, Any]]],
    ) -> Tool:
        raw = found.raw
        inputs = [each for _, each in parameters] + list(body.inputs if body else ())
        inputs.sort(key=lambda each: not each.required)
        summary, description = _text(raw, "summary").strip(), _text(raw, "description").strip()
        said = [summary, description] if summary != description else [summary]
        text = "\n\n".join(filter(None, said)) or _text(found.item, "summary") or found.place
        return Tool(
            name=name,
            description=shortened(text, _MAX_TEXT),
            input_schema=self._input_schema(inputs, body),
            output_schema=self._output_schema(answers),
            effect=_EFFECTS[found.method],
            effect_from="method",
            labels=_labels(raw),
            source=self._namespace,
            original=found.place,
            notes=("Deprecated: the API may take it away.",) if raw.get("deprecated") is True else (),
            holds_output=False,
            idempotent=found.method in _IDEMPOTENT,
        )

    def _input_schema(self, inputs: list[Input], body: ReadBody | None) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "object", "properties": {}}
        references: dict[str, None] = {}
        room = _MAX_INPUT
        others = body.others if body else None
        if others is not None:
            schema["additionalProperties"] = others.schema or True
            references.update(dict.fromkeys(others.references))
        for each in inputs:
            converted = each.schema
            room -= converted.size + len(each.argument)
            if room < 0:
                converted = Converted(cut("too many and too large parameters to describe them all"))
            schema["properties"][each.argument] = converted.schema
            references.update(dict.fromkeys(converted.references))
        required = [each.argument for each in inputs if each.required]
        if required:
            schema["required"] = required
        if references:
            schema["$defs"] = self._definitions.carried(references, "input")
        return schema

    def _answers(self, responses: Any) -> list[tuple[str, Mapping[str, Any]]]:
        """The answers of a success, by status; the default one when there is no other."""
        if not isinstance(responses, Mapping):
            return []
        good = [status for status in responses if str(status).startswith("2")][:_MAX_RESPONSES]
        if not good and "default" in responses:
            good = ["default"]
        found = [(str(status), self._references.resolve(responses[status])) for status in good]
        return [(status, answer) for status, answer in found if answer is not None]

    def _output_schema(self, answers: list[tuple[str, Mapping[str, Any]]]) -> dict[str, Any] | None:
        made: list[Converted] = []
        empty = False
        for status, answer in answers:
            content = answer.get("content")
            media = _media_types(content)
            if not media:
                empty = empty or status in ("204", "205")
                continue
            if not isinstance(content, Mapping) or media_kind(media[0]) != "json":
                return None
            described = self._references.resolve(content[media[0]]) or {}
            if not described.get("schema"):
                return None
            converted = self._definitions.convert(described["schema"], "output")
            if all(converted.schema != other.schema for other in made):
                made.append(converted)
        if not made or sum(each.size for each in made) > _MAX_OUTPUT:
            return None
        several = [each.schema for each in made] + ([{"type": "null"}] if empty else [])
        schema = several[0] if len(several) == 1 else {"anyOf": several}
        references = dict.fromkeys(name for each in made for name in each.references)
        return {**schema, "$defs": self._definitions.carried(references, "output")} if references else schema


def _split(path: str) -> tuple[str, dict[tuple[str, str], str]]:
    """A path's template, and what it says of the query: some write `/?Action=List` or `/#Action=List`."""
    template, _, query = path.partition("#")[0].partition("?")
    pairs = [part.partition("=") for part in query.split("&") if part and "{" not in part]
    stated = pairs[:_MAX_RESPONSES]
    return template or "/", {("query", unquote_plus(name)): unquote_plus(value) for name, _, value in stated}


def _media_types(content: Any) -> list[str]:
    found = [media for media in content if isinstance(media, str)] if isinstance(content, Mapping) else []
    return sorted(found[:_MAX_RESPONSES], key=media_rank)


def _response_types(answers: list[tuple[str, Mapping[str, Any]]]) -> tuple[str, ...]:
    found = [media for _, answer in answers for media in _media_types(answer.get("content"))]
    return tuple(sorted(dict.fromkeys(found), key=media_rank))


def _response_headers(answers: list[tuple[str, Mapping[str, Any]]]) -> tuple[str, ...]:
    declared = [answer.get("headers") for _, answer in answers]
    found = [str(name).lower() for headers in declared if isinstance(headers, Mapping) for name in headers]
    return tuple(dict.fromkeys(found[:100]))


def _labels(raw: Mapping[str, Any]) -> tuple[str, ...]:
    tags = raw.get("tags")
    found = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return tuple(shortened(tag, _MAX_SHOWN) for tag in found[:_MAX_LABELS])


def _tag(raw: Mapping[str, Any]) -> str:
    return next(iter(_labels(raw)), "")


def _text(raw: Mapping[str, Any], word: str) -> str:
    found = raw.get(word)
    return found[: 10 * _MAX_TEXT] if isinstance(found, str) else ""
