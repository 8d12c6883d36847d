"""The tools the corpus is written for: small, typed, and without a world behind them."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict  # noqa: UP035  Pydantic wants these before 3.12

from oneturn import CodeMode, ToolError


class Customer(TypedDict):
    name: str
    email: str | None


class Order(TypedDict):
    number: int
    status: str
    customer: Customer
    items: list[str]
    total: float
    note: NotRequired[str]


class NewOrder(TypedDict):
    customer: str
    items: list[str]
    rush: NotRequired[bool]


class Message(TypedDict):
    id: int
    subject: str
    sender: str


ALLOW = ("shop.*", "mail.*", "docs.*", "add", "upload")


def order(number: int) -> Order:
    """An order; every second one has a customer without an address."""
    return {
        "number": number,
        "status": "open" if number % 3 else "shipped",
        "customer": {"name": f"Ada {number}", "email": None if number % 2 else f"ada{number}@example.org"},
        "items": ["pen", "ink"][: number % 2 + 1],
        "total": number * 2.5,
    }


def app() -> CodeMode:
    """An app with the catalog. `admin.wipe` is in it and not allowed."""
    made = CodeMode(allow=ALLOW)

    @made.tool(namespace="shop", effect="read")
    def list_orders(status: Literal["open", "shipped"] = "open", limit: int = 10) -> list[Order]:
        return [each for each in map(order, range(1, 8)) if each["status"] == status][:limit]

    @made.tool(namespace="shop", effect="read")
    def get_order(number: int) -> Order:
        if number > 100:
            raise ToolError(f"no order {number}")
        return order(number)

    @made.tool(namespace="shop", effect="read")
    def find_order(number: int) -> Order | None:
        return order(number) if number < 100 else None

    @made.tool(namespace="shop", effect="write")
    def add_note(number: int, text: str, tags: list[str] | None = None) -> str:
        return f"{number}: {text} {tags or []}"

    @made.tool(namespace="shop", effect="read")
    def price(number: int, discount: float = 0.0) -> float:
        return number * (1 - discount)

    @made.tool(namespace="shop", effect="write")
    def make_order(order: NewOrder) -> int:
        return len(order["items"])

    @made.tool(namespace="shop", effect="write")
    def schedule(number: int, when: dt.datetime, day: dt.date | None = None) -> str:
        return f"{number} {when.isoformat()}"

    @made.tool(namespace="shop", effect="read")
    def totals() -> dict[str, float]:
        return {"open": 12.5, "shipped": 7.0}

    @made.tool(namespace="mail", effect="write")
    def send(to: list[str], subject: str, body: str = "") -> bool:
        return bool(to)

    @made.tool(namespace="mail", effect="read")
    def search(query: str, limit: int = 5) -> list[Message]:
        return [{"id": n, "subject": f"{query} {n}", "sender": "ada@example.org"} for n in range(limit)]

    @made.tool(namespace="docs", effect="read")
    def fetch(path: str) -> Any:
        return {"path": path, "pages": [{"title": "one"}, {"title": "two"}], "json": '{"a": [1, 2]}'}

    @made.tool(effect="read")
    def add(a: int, b: int) -> int:
        return a + b

    @made.tool(effect="write")
    def upload(data: bytes) -> int:
        return len(data)

    @made.tool(namespace="admin")
    def wipe(everything: bool) -> None:
        raise AssertionError("never called")

    return made
