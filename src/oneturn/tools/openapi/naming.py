"""What the operations of a document are called: `github.issues.list_for_repo`.

A name is made of the operation alone (its first tag and its operationId, or its method and path), so an
operation keeps it whatever else is added to the document. Only when several want one name do the later
ones get something to tell them apart, and that is again made of the operation alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...errors import ToolDefinitionError
from ..names import RESERVED, identifier

_MAX_NAME = 80  # characters of an operation's own name, and of a tag
_HUMPS = re.compile(  # `listVPCs` is `list vpcs`: a plural s belongs to the capitals before it
    r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z](?!s(?![a-z]))[a-z])"
)
_NO_WORD = re.compile(r"[\W_]+")
_SEPARATORS = re.compile(r"[/.:#|]+")
_READ = 400  # characters of a tag, operationId or path that are looked at


@dataclass(frozen=True, slots=True)
class Naming:
    """What a name is made of."""

    method: str
    path: str
    tag: str = ""
    operation_id: str = ""


def words(text: str) -> list[str]:
    """The words of a name in lower case: `listIssues`, `list-issues` and `list_issues` give the same."""
    return [word.lower() for word in _NO_WORD.split(_HUMPS.sub("_", text[:_READ])) if word]


def tool_names(namespace: str, operations: Sequence[Naming]) -> list[str]:
    """The full names of the operations' tools, in their order; each one is unique and valid."""
    spaces = [_space(namespace, each.tag) for each in operations]
    taken = {namespace, *spaces}  # a tool cannot be called like a namespace
    names: list[str] = [""] * len(operations)
    late: list[int] = []
    for index, (space, operation) in enumerate(zip(spaces, operations, strict=True)):
        name = f"{space}.{_joined(_own_words(namespace, operation))}"
        if name in taken:
            late.append(index)
        else:
            taken.add(name)
            names[index] = name
    for index in late:
        wanted = _told_apart(namespace, operations[index])
        name = next(full for own in wanted if (full := f"{spaces[index]}.{own}") not in taken)
        taken.add(name)
        names[index] = name
    return names


def _space(namespace: str, tag: str) -> str:
    own = words(tag)
    return f"{namespace}.{_joined(own)}" if own else namespace


def _own_words(namespace: str, operation: Naming) -> list[str]:
    if not operation.operation_id:
        return _path_words(operation, every=False)
    return _without_repetition(operation.operation_id, words(operation.tag), words(namespace)) or _path_words(
        operation, every=False
    )


def _without_repetition(operation_id: str, tag: list[str], namespace: list[str]) -> list[str]:
    """The words of an operationId, without those that only repeat where the tool is found.

    `issues/list-for-repo` in `issues` is `list for repo`; `listCoreV1NamespacedPod` in `core_v1` is
    `list namespaced pod`; `listPets` in `pets` stays as it is, since one word in the middle means something.
    """
    segments = [words(part) for part in _SEPARATORS.split(operation_id[:_READ])]
    for index, segment in enumerate(segments[:-1]):
        if tag and segment == tag and any(segments[index + 1 :]):
            return [word for part in segments[index + 1 :] for word in part]
    found = [word for part in segments for word in part]
    for prefix in (namespace, tag):
        if prefix and found[: len(prefix)] == prefix and len(found) > len(prefix):
            found = found[len(prefix) :]
    if len(tag) > 1:
        for start in range(1, len(found) - len(tag) + 1):
            if found[start : start + len(tag)] == tag:
                return found[:start] + found[start + len(tag) :]
    return found


def _path_words(operation: Naming, *, every: bool) -> list[str]:
    """`get /users/{id}` as `get users by id`; of the parameters only the last, or `every` one."""
    steps = [step for step in operation.path[:_READ].split("/") if step]
    found = [operation.method.lower()]
    for index, step in enumerate(steps):
        if "{" not in step:
            found += words(step)
        elif every or index == len(steps) - 1:
            found += ["by", *words(step)]
    return found


def _told_apart(namespace: str, operation: Naming) -> Iterator[str]:
    own = _own_words(namespace, operation)
    if operation.operation_id and own[:1] != [operation.method.lower()]:
        yield _joined([*own, operation.method.lower()])
    yield _joined(_path_words(operation, every=True))
    for count in range(1_000_000):
        spelled = f"{operation.method} {operation.path} {count or ''}"
        yield _joined([*own, digest(spelled)])


def _joined(parts: Iterable[str]) -> str:
    """Words as one identifier, shortened if need be with something that keeps it unique."""
    spelled = "_".join(parts)
    if len(spelled) > _MAX_NAME:
        spelled = f"{spelled[: _MAX_NAME - 7].rstrip('_')}_{digest(spelled)}"
    try:
        name = identifier(spelled)
    except ToolDefinitionError:
        return "operation"
    return f"{name}_" if name in RESERVED else name


def digest(text: str) -> str:
    """Six letters that tell texts apart, the same in every process."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
