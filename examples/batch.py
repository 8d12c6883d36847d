"""Batch: change many things, go on past failures, report exactly what happened.

Run it with `python examples/batch.py`.
"""

from __future__ import annotations

import sqlite3

from oneturn import CodeMode, ToolError

app = CodeMode(allow=["crm.*"])
database = sqlite3.connect(":memory:", check_same_thread=False)
database.execute("CREATE TABLE contact (email TEXT PRIMARY KEY, name TEXT, plan TEXT)")
database.executemany(
    "INSERT INTO contact VALUES (?, ?, ?)",
    [
        ("ada@example.com", "Ada", "free"),
        ("bob@example.com", "Bob", "free"),
        ("cy@example.com", "Cy", "team"),
    ],
)


@app.tool(namespace="crm", effect="read")
async def find_contacts(plan: str) -> list[dict[str, str]]:
    """Contacts on a plan.

    Args:
        plan: "free" or "team".
    """
    rows = database.execute("SELECT email, name FROM contact WHERE plan = ?", (plan,))
    return [{"email": email, "name": name} for email, name in rows]


@app.tool(namespace="crm", effect="write")
async def set_plan(email: str, plan: str) -> None:
    """Put a contact on another plan.

    Args:
        email: Whose plan to change.
        plan: "free" or "team".
    """
    changed = database.execute("UPDATE contact SET plan = ? WHERE email = ?", (plan, email)).rowcount
    if not changed:
        raise ToolError(f"no contact has the address {email}")


SCRIPT = """
done, failed = [], []
emails = [contact["email"] for contact in await crm.find_contacts("free")] + ["nobody@example.com"]
for email in emails:
    try:
        await crm.set_plan(email, plan="team")
        done.append(email)
    except ToolError as error:
        failed.append(f"{email}: {error}")
return {"done": done, "failed": failed, "on team now": len(await crm.find_contacts(plan="team"))}
"""

if __name__ == "__main__":
    with app:
        outcome = app.execute_sync(SCRIPT)
        print(outcome.value)
        for call in outcome.calls:
            print(f"  {call.tool} ({call.effect}): {call.status}")
