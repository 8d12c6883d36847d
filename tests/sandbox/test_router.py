"""Where scripts are sent, and that nothing weaker than what was asked for is ever used."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oneturn.errors import SandboxBusy, SandboxUnavailable
from oneturn.sandbox.base import Sandbox, SandboxRun
from oneturn.sandbox.router import Router
from oneturn.testing import FakeSandbox
from oneturn.types import IsolationLevel, Limits, TierName


class Place(FakeSandbox):
    """A sandbox of any name and level, which may be missing on this machine."""

    def __init__(self, name: TierName, isolation: IsolationLevel, missing: Exception | None = None) -> None:
        super().__init__(lambda run: iter(()))
        self.name = name
        self.isolation = isolation
        self.missing = missing
        self.opened = 0

    def open(self, limits: Limits, seed: int, *, caller: str = "") -> SandboxRun:
        self.opened += 1
        if self.missing is not None:
            raise self.missing
        return super().open(limits, seed, caller=caller)


def places(**changes: Sandbox) -> dict[TierName, Callable[[], Sandbox]]:
    made: dict[str, Sandbox] = {
        "monty": Place("monty", "interpreter"),
        "cpython": Place("cpython", "jailed"),
        "container": Place("container", "container"),
        **changes,
    }
    return {name: (lambda each=each: each) for name, each in made.items()}


NEED = "Line 3 uses a generator, which Monty does not have"


class TestAuto:
    def test_what_monty_runs_exactly_goes_to_monty(self) -> None:
        route = Router(places()).route(None)
        assert (route.sandbox.name, route.warning) == ("monty", "")
        assert not route.full_python

    def test_anything_else_goes_to_full_python_and_says_why(self) -> None:
        route = Router(places()).route(NEED)
        assert (route.sandbox.name, route.why, route.warning) == ("cpython", NEED, "")
        assert route.full_python

    def test_without_full_python_the_caller_is_warned(self) -> None:
        missing = SandboxUnavailable("User namespaces are switched off here.")
        router = Router(places(cpython=Place("cpython", "jailed", missing)))
        route = router.route(NEED)
        assert route.sandbox.name == "monty"
        assert NEED in route.warning
        assert "User namespaces are switched off" in route.warning

    def test_what_is_missing_is_tried_once(self) -> None:
        place = Place("cpython", "jailed", SandboxUnavailable("No."))
        router = Router(places(cpython=place))
        for _ in range(3):
            router.route(NEED)
        assert place.opened == 1

    def test_a_busy_tier_is_not_a_missing_one(self) -> None:
        router = Router(places(cpython=Place("cpython", "jailed", SandboxBusy("Every place is taken."))))
        assert router.route(NEED).sandbox.name == "cpython"

    def test_a_session_gets_full_python(self) -> None:
        assert Router(places()).for_session().sandbox.name == "cpython"


class TestNamed:
    def test_a_tier_that_is_named_is_used(self) -> None:
        router = Router(places())
        assert router.route(None, "cpython").sandbox.name == "cpython"
        assert router.route(None, "container").sandbox.name == "container"

    def test_the_apps_choice_holds_unless_a_run_chooses(self) -> None:
        router = Router(places(), choice="cpython")
        assert router.route(None).sandbox.name == "cpython"
        assert router.route(None, "auto").sandbox.name == "monty"

    def test_monty_by_name_warns_where_it_may_differ(self) -> None:
        route = Router(places(), choice="monty").route(NEED)
        assert route.sandbox.name == "monty"
        assert NEED in route.warning

    def test_a_tier_the_app_does_not_have(self) -> None:
        with pytest.raises(SandboxUnavailable, match="no remote sandbox"):
            Router(places()).route(None, "remote")


class TestIsolation:
    def test_a_weaker_tier_is_refused_and_not_replaced(self) -> None:
        router = Router(places(), least="jailed")
        with pytest.raises(SandboxUnavailable, match="interpreter"):
            router.route(None, "monty")

    def test_auto_goes_to_a_stronger_tier_when_monty_is_too_weak(self) -> None:
        route = Router(places(), least="jailed").route(None)
        assert route.sandbox.name == "cpython"
        assert "isolates at the level interpreter" in route.why

    def test_a_stronger_tier_will_do(self) -> None:
        assert Router(places(), least="jailed").route(NEED).sandbox.name == "cpython"

    def test_a_container_is_used_when_one_is_asked_for(self) -> None:
        assert Router(places(), least="container").route(None).sandbox.name == "container"

    def test_a_container_is_no_gvisor(self) -> None:
        with pytest.raises(SandboxUnavailable, match="gvisor"):
            Router(places(), least="gvisor").route(None)

    def test_a_run_cannot_choose_its_way_below_the_apps_level(self) -> None:
        router = Router(places(), least="container")
        with pytest.raises(SandboxUnavailable):
            router.route(None, "cpython")
        with pytest.raises(SandboxUnavailable):
            router.route(None, "monty")


def test_every_sandbox_that_was_made_is_closed() -> None:
    monty, cpython = Place("monty", "interpreter"), Place("cpython", "jailed")
    router = Router(places(monty=monty, cpython=cpython))
    router.route(None)
    router.close()
    router.close()
    assert (monty.closed, cpython.closed) == (True, False)
