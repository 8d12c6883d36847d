"""Map-reduce: read many documents at once, keep one number of each, return one line.

The model never sees the documents. Run it with `python examples/map_reduce.py`.
"""

from __future__ import annotations

from pathlib import Path

from oneturn import CodeMode

DOCS = Path(__file__).parent.parent / "docs"

app = CodeMode(allow=["docs.*"])


@app.tool(namespace="docs", effect="read")
def list_pages() -> list[str]:
    """The names of all pages of the manual."""
    return sorted(path.name for path in DOCS.glob("*.md"))


@app.tool(namespace="docs", effect="read")
def read_page(name: str) -> str:
    """The text of one page.

    Args:
        name: A name from `list_pages`.
    """
    path = (DOCS / name).resolve()
    if path.parent != DOCS.resolve():
        raise PermissionError(f"{name} is not a page")
    return path.read_text(encoding="utf-8")


SCRIPT = """
import asyncio

names = await docs.list_pages()
texts = await asyncio.gather(*[docs.read_page(name) for name in names])      # map, all at once

words = {name: len(text.split()) for name, text in zip(names, texts)}        # reduce, in the sandbox
longest = max(words, key=lambda name: words[name])
return {"pages": len(words), "words": sum(words.values()), "longest": longest}
"""

if __name__ == "__main__":
    with app:
        outcome = app.execute_sync(SCRIPT)
        print(outcome.value)
        print(f"{len(outcome.calls)} calls, one turn, {outcome.seconds:.2f} s")
