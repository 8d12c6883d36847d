"""Checked, never run: mistakes a type checker must point at."""

from oneturn import CodeMode, Limits

app = CodeMode(effects={"shop.*": "readonly"})  # wrong: dict-item


@app.tool
def kept(a: int) -> int:
    return a


kept("1")  # wrong: arg-type
app.tool(effect="safe")  # wrong: call-overload
Limits(timeout="10")  # wrong: arg-type
Limits().timeout = 3  # wrong: misc
app.execute_sync("1").values  # wrong: attr-defined
