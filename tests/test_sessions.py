"""Whose variables are kept, for how long, and what a script after the first one may count on."""

from __future__ import annotations

import pytest

from oneturn.errors import SandboxBusy, SandboxUnavailable, SessionLost
from oneturn.program import Program, parse
from oneturn.sandbox.base import SandboxRun
from oneturn.sandbox.router import Route
from oneturn.sessions import Held, Sessions, binds, with_bound
from oneturn.testing import FakeSandbox
from oneturn.types import Limits, SandboxChoice


class Kept:
    """A session that keeps nothing, and that a test can take away."""

    def __init__(self) -> None:
        self.lost = ""
        self.closed = False

    def open(self, limits: Limits, seed: int) -> SandboxRun:
        raise AssertionError("No script is run here.")

    def close(self) -> None:
        self.closed = True


class Place(FakeSandbox):
    """Makes such sessions, and remembers them."""

    def __init__(self) -> None:
        super().__init__(lambda run: iter(()))
        self.sessions: list[Kept] = []

    def session(self, *, caller: str = "") -> Kept:
        self.sessions.append(Kept())
        return self.sessions[-1]


def kept_in(place: Place, most: int = 64, idle: float = 1_000.0) -> Sessions:
    def find(choice: SandboxChoice | None) -> Route:
        return Route(place, "a test")

    return Sessions(find, most=most, idle=idle)


def taken(sessions: Sessions, caller: str, name: str) -> Held:
    held = sessions.take(caller, name, None)
    sessions.give_back(caller, name)
    return held


def program(source: str) -> Program:
    found = parse(source)
    assert isinstance(found, Program)
    return found


class TestWhoseItIs:
    def test_a_name_means_the_same_session_again(self) -> None:
        sessions = kept_in(Place())
        assert taken(sessions, "ann", "work") is taken(sessions, "ann", "work")

    def test_another_caller_has_a_session_of_its_own(self) -> None:
        sessions = kept_in(Place())
        assert taken(sessions, "ann", "work") is not taken(sessions, "bob", "work")

    def test_one_script_at_a_time(self) -> None:
        sessions = kept_in(Place())
        sessions.take("ann", "work", None)
        with pytest.raises(SandboxBusy, match="work is running a script"):
            sessions.take("ann", "work", None)
        with pytest.raises(SandboxBusy):
            sessions.end("ann", "work")
        sessions.give_back("ann", "work")
        sessions.take("ann", "work", None)

    def test_it_stays_where_it_is(self) -> None:
        place = Place()
        sessions = kept_in(place)
        taken(sessions, "ann", "work")
        for same in (None, "auto", place.name):
            sessions.take("ann", "work", same)
            sessions.give_back("ann", "work")
        with pytest.raises(SandboxUnavailable, match=f"work is kept in the {place.name} sandbox"):
            sessions.take("ann", "work", "container")
        assert taken(sessions, "ann", "work").session is place.sessions[0]

    def test_there_is_a_bound_on_how_many(self) -> None:
        sessions = kept_in(Place(), most=2)
        taken(sessions, "ann", "one")
        taken(sessions, "ann", "two")
        with pytest.raises(SandboxBusy, match="2 sessions"):
            sessions.take("ann", "three", None)
        assert sessions.end("ann", "one")
        taken(sessions, "ann", "three")


class TestTheEnd:
    def test_a_lost_session_is_refused_until_it_is_ended(self) -> None:
        place = Place()
        sessions = kept_in(place)
        taken(sessions, "ann", "work")
        place.sessions[0].lost = "a script computed for too long"
        for _ in range(2):
            with pytest.raises(SessionLost, match="a script computed for too long"):
                sessions.take("ann", "work", None)
        assert sessions.end("ann", "work")
        assert taken(sessions, "ann", "work").session is place.sessions[1]

    def test_the_run_that_lost_it_is_told(self) -> None:
        place = Place()
        sessions = kept_in(place)
        sessions.take("ann", "work", None)
        place.sessions[0].lost = "it was killed"
        assert sessions.give_back("ann", "work") == "it was killed"

    def test_an_idle_session_is_given_up_and_one_in_use_is_not(self) -> None:
        place = Place()
        sessions = kept_in(place, idle=0.0)
        taken(sessions, "ann", "old")
        sessions.take("ann", "busy", None)
        sessions.sweep()
        assert [each.closed for each in place.sessions] == [True, False]
        assert len(sessions) == 1

    def test_closing_closes_them_all(self) -> None:
        place = Place()
        sessions = kept_in(place)
        taken(sessions, "ann", "one")
        taken(sessions, "bob", "two")
        sessions.close()
        assert all(each.closed for each in place.sessions)

    def test_ending_one_that_is_not_there(self) -> None:
        assert not kept_in(Place()).end("ann", "work")

    def test_a_place_that_cannot_be_had_leaves_nothing_behind(self) -> None:
        def nowhere(choice: SandboxChoice | None) -> Route:
            raise SandboxBusy("Every place is taken.")

        sessions = Sessions(nowhere)
        for _ in range(2):
            with pytest.raises(SandboxBusy, match="Every place"):
                sessions.take("ann", "work", None)
        assert len(sessions) == 0


class TestNames:
    @pytest.mark.parametrize(
        ("source", "names"),
        [
            ("x = 1", {"x"}),
            ("import json as j\nfrom re import sub", {"j", "sub"}),
            ("def f(a):\n    b = a\n    return b", {"f"}),
            ("class C:\n    y = 1", {"C"}),
            ("def f():\n    global g\n    g = 1", {"f", "g"}),
            ("[i for i in range(3)]", set()),
            ("[last := i for i in range(3)]", {"last"}),
            ("for i in range(3):\n    with_it = i", {"i", "with_it"}),
            ("try:\n    pass\nexcept Exception as e:\n    pass", {"e"}),
            ("lambda z: z", set()),
        ],
    )
    def test_what_a_script_leaves_to_the_next(self, source: str, names: set[str]) -> None:
        assert binds(program(source)) == names

    def test_a_bound_name_means_nothing_else(self) -> None:
        known = with_bound(program("github.create_issue(title)"), frozenset({"github"}))
        assert "github" not in known.free
        assert "github" in known.bindings
        assert ("github", "create_issue") not in known.paths
        assert "title" in known.free
