"""What an OpenAPI document says, as values: each operation, ready to be sent, and its tool.

Reading a document (`reading.py`) makes these; sending a request uses them. Nothing here looks at a
document again, so a request is built from an `Operation` and the arguments of a call alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...types import Tool

Place = Literal["path", "query", "header", "cookie"]
"""Where a parameter goes in a request."""

SecurityType = Literal["apiKey", "http", "oauth2", "openIdConnect", "mutualTLS"]
"""What kind of proof a security scheme asks for."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an operation.

    `name` is as the API spells it, `argument` the property of the tool's input schema that holds
    its value. `style` and `explode` have OpenAPI's defaults filled in: `simple` for path and
    header, `form` for query and cookie. With a `content_type` (usually `application/json`) the
    value is written in that media type instead, and `style` does not count.
    """

    name: str
    argument: str
    place: Place
    style: str
    explode: bool
    content_type: str | None = None
    allow_reserved: bool = False


@dataclass(frozen=True, slots=True)
class BodyPart:
    """How one property of a form or multipart body is written.

    `content_type` is what the document declares, None when it leaves that to the default: text for
    scalars, JSON for objects, `application/octet-stream` for `binary` ones. `is_list` properties
    of a multipart body are sent as one part for each item; a list of files is `binary` and no
    `is_list`, since a script gives one of them.
    """

    content_type: str | None = None
    style: str = "form"
    explode: bool = True
    binary: bool = False
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """The request body of an operation.

    Either `argument` names the one argument that is the whole body, or it is None and `flattened`
    says which argument is which property of the (object) body. With `open`, arguments that are
    neither a parameter nor in `flattened` are properties of the body too, under their own name.
    `parts` is there for form and multipart bodies only, by body property.
    """

    media_type: str
    required: bool = False
    argument: str | None = None
    flattened: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, BodyPart] = field(default_factory=dict)
    open: bool = False


@dataclass(frozen=True, slots=True)
class SecurityScheme:
    """One way to prove who calls.

    `place` and `name` are those of an apiKey. What else a document says of a scheme (its URLs, its
    flows) is not kept: where tokens come from is for the settings alone to say.
    """

    type: SecurityType
    place: Literal["query", "header", "cookie"] | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation and the tool it is offered as.

    `method` is upper case, `path` a template such as `/repos/{owner}`. `server_path` is the path
    that the operation's first server URL carries (`/v1`, without a trailing slash; empty for none).
    It is never sent: the configured base URL stands for all of it, and where the API answers 404 it
    tells what that base may lack.
    `query` are values the path itself states (`/?Action=List`). `own_server` is the server URL that
    the operation or its path declares for itself, if that is on another host than the document's.
    `security` are alternatives, each a mapping of scheme names to scopes; an empty mapping among
    them means that no proof is needed, and no alternative at all means that nothing is declared.
    `response_types` are the media types of successful answers, best first, for `Accept`;
    `response_headers` the headers those answers declare, in lower case (`link` tells of pages).
    """

    tool: Tool
    method: str
    path: str
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    security: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    server_path: str = ""
    own_server: str = ""
    response_types: tuple[str, ...] = ()
    response_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiDocument:
    """All of a document that can be used, and in `skipped` what cannot: where, and why.

    `servers` are the document's own server URLs, with variables at their defaults. They are for
    people to read: requests go to the configured base URL only.
    """

    operations: tuple[Operation, ...]
    security_schemes: Mapping[str, SecurityScheme] = field(default_factory=dict)
    servers: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
