"""A person's word as it comes from outside, over HTTP or from the command line, checked."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import ConfigError
from ..gate.schemas import Schema
from ..types import Decision, Grant

_MISTAKES = 5  # told at once


class GrantWord(BaseModel):
    """Leave for `calls` more calls whose arguments fit the JSON Schema `arguments`."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    calls: int = Field(ge=1, le=1_000)
    arguments: dict[str, Any]

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        try:
            Schema(self.arguments)
        except Exception as error:
            raise ValueError(f"no usable JSON Schema: {str(error).partition(chr(10))[0][:200]}") from None
        return self


class Word(BaseModel):
    """What somebody says about one approval."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    approved: bool
    reason: str = Field("", max_length=2_000)
    arguments: dict[str, Any] | None = None
    grant: GrantWord | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.approved and (self.arguments is not None or self.grant is not None):
            raise ValueError("only an approval takes arguments or a grant")
        return self

    def decision(self, by: str) -> Decision:
        """The decision of `by`."""
        grant = None if self.grant is None else Grant(self.grant.calls, self.grant.arguments)
        return Decision(self.approved, by, self.reason, self.arguments, grant)


class SignedWord(Word):
    """What a webhook's receiver sends back: which approval it is about, and who decided."""

    type: Literal["approval.decided"]
    approval: str = Field(min_length=1, max_length=200)
    by: str = Field(min_length=1, max_length=200)


def checked(kind: type[Word], data: bytes | str) -> Word:
    """A word from JSON. Raises ConfigError with all that is wrong with it."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[:_MISTAKES]
    raise ConfigError(
        "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'decision'}: {each['msg'].removeprefix('Value error, ')}"
            for each in wrong
        )
    )
