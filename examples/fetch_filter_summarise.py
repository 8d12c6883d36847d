"""Fetch, filter, summarise: page through a slow API and return only what was asked.

Run it with `python examples/fetch_filter_summarise.py`.
"""

from __future__ import annotations

import asyncio

from typing_extensions import TypedDict

from oneturn import CodeMode

app = CodeMode(allow=["shop.*"])


class Order(TypedDict):
    """One order as the shop's API returns it."""

    id: int
    customer: str
    total: float
    status: str


class Page(TypedDict):
    """A page of orders; `next` is None on the last one."""

    orders: list[Order]
    next: int | None


ORDERS: list[Order] = [
    {
        "id": number,
        "customer": f"customer-{number * 7 % 40}",
        "total": round(number * 13.7 % 250, 2),
        "status": ("paid", "open", "overdue")[number % 3],
    }
    for number in range(500)
]


@app.tool(namespace="shop", effect="read")
async def list_orders(page: int = 0) -> Page:
    """A page of 50 orders.

    Args:
        page: The page to read, from 0.
    """
    await asyncio.sleep(0.01)  # the network
    start = page * 50
    return {"orders": ORDERS[start : start + 50], "next": page + 1 if start + 50 < len(ORDERS) else None}


SCRIPT = """
overdue = []
page = 0
while page is not None:
    result = await shop.list_orders(page=page)
    overdue += [order for order in result["orders"] if order["status"] == "overdue"]
    page = result["next"]

owed = {}
for order in overdue:
    owed[order["customer"]] = round(owed.get(order["customer"], 0) + order["total"], 2)
worst = sorted(owed.items(), key=lambda item: -item[1])[:3]

print(f"looked at all pages, {len(overdue)} orders are overdue")
return {"customers": len(owed), "total": round(sum(owed.values()), 2), "worst": worst}
"""

if __name__ == "__main__":
    with app:
        outcome = app.execute_sync(SCRIPT)
        print(outcome.prints, end="")
        print(outcome.value)
        print(f"{len(outcome.calls)} calls, one turn, {outcome.seconds:.2f} s")
