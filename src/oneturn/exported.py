"""Recorded runs as files: one JSON object a line, readable for people, in a hash chain.

The first line says which run it is, how many rows follow and how the last one's hash is; then comes each
event with its hash, made as in the journal. So a line that was changed, added, moved or cut off shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import JournalCorrupt, JournalError
from .journal.chain import first_bad, seal, start_of
from .journal.events import Event, decode, encode
from .journal.rows import Row, RunRow

_FORMAT = 1
_BODY = ',"body":'  # the last key of a line: what follows is hashed as it is written


def exported(row: RunRow, events: Sequence[Event]) -> Iterator[str]:
    """The lines of a run's file, without their ends.

    Values kept beside the events are put back into them, and what is encrypted is not in the file. So
    the chain is the file's own; where there was neither, it is the journal's, and `head` equals `journal`.
    """
    rows: list[Row] = []
    head = start_of(row.id)
    for event in events:
        rows.append(seal(head, row.id, event.n, event.kind, event.at, encode(event.body)))
        head = rows[-1].hash
    yield json.dumps(
        {
            "oneturn_run": row.id,
            "format": _FORMAT,
            "rows": len(rows),
            "head": head.hex(),
            "journal": row.head.hex(),
        }
    )
    for each in rows:
        start = json.dumps({"n": each.n, "kind": each.kind, "at": each.at, "hash": each.hash.hex()})
        yield f"{start[:-1]}{_BODY}{each.body.decode()}}}"


def imported(path: str | Path) -> tuple[str, list[Event]]:
    """The id and the events of a run in a file.

    Raises:
        JournalError: The file cannot be read, or is no exported run.
        JournalCorrupt: It was changed since it was written; the message names the first bad row.
    """
    try:
        lines = Path(path).read_bytes().decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
        said = json.loads(lines[0])
        run, form = str(said["oneturn_run"]), said["format"]
        claimed = _claimed(run, said["rows"], bytes.fromhex(said["head"]))
    except OSError as error:
        raise JournalError(f"The recorded run {path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise JournalError(f"{path} is no recorded run; `oneturn runs export` writes one.") from None
    if form != _FORMAT:
        raise JournalError(f"{path} was written by another version of oneturn; export the run again.")
    try:
        rows = [_row(run, line) for line in lines[1:]]
        bad = first_bad(claimed, rows)
        if bad is not None:
            raise JournalCorrupt(f"{path} was changed after it was written. {bad}.")
        return run, [Event(row.n, row.kind, row.at, decode(row.body)) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise JournalCorrupt(
            f"{path} was changed after it was written: a line cannot be read ({type(error).__name__})."
        ) from None


def _claimed(run: str, rows: int, head: bytes) -> RunRow:
    return RunRow(run, "", "running", 0.0, None, 0, "", 0.0, rows, head, b"", "")


def _row(run: str, line: str) -> Row:
    start, _, body = line.partition(_BODY)
    said = json.loads(start + "}")
    kind, at, digest = str(said["kind"]), float(said["at"]), bytes.fromhex(said["hash"])
    return Row(run, said["n"], kind, at, body.removesuffix("}").encode(), digest)
