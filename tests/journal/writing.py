"""Another process that uses a journal: `python -m tests.journal.writing WHAT WHERE NAME`."""

from __future__ import annotations

import sys

from oneturn.errors import RunBusy
from oneturn.journal.rows import Row, RunRow
from oneturn.journal.sqlite import SqliteStore
from oneturn.journal.store import Store
from oneturn.testing.store_contract import FAR, append_of, new_run, rows_after


def open_store(where: str) -> Store:
    if where.startswith("postgresql:"):
        from oneturn.journal.postgres import PostgresStore

        return PostgresStore(where)
    return SqliteStore(where, wait=30.0)


def append(store: Store, name: str) -> None:
    """Rows of a run of this process's own without end, each said once it is durable."""
    new = new_run(name)
    last: RunRow | Row = new
    while True:
        rows = rows_after(last, b"one" * 100, b"two")
        assert not store.append([append_of(name, rows, new=new if last is new else None)])
        last = rows[-1]
        print(last.n, flush=True)


def append_some(store: Store, name: str) -> None:
    new = new_run(name)
    last: RunRow | Row = new
    for _ in range(100):
        rows = rows_after(last, b"one", b"two")
        assert not store.append([append_of(name, rows, new=new if last is new else None)])
        last = rows[-1]


def take(store: Store, name: str) -> None:
    """Try for every run there is; the ones got are said."""
    input()
    for run, _, _ in store.heads():
        try:
            store.lease(run, name, 2 * FAR, now=FAR, dead=lambda _: False)
        except RunBusy:
            continue
        print(run, flush=True)


if __name__ == "__main__":
    what, where, name = sys.argv[1:]
    store = open_store(where)
    print("ready", flush=True)
    {"append": append, "append_some": append_some, "take": take}[what](store, name)
