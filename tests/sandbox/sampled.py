"""The part of the sandbox contract that a way of starting guests decides, rather than the guest.

All of the contract runs on the warm process. On other ways to the same guest this is enough: sessions,
limits, ends, what is shared, and that calls and answers come through.
"""

from __future__ import annotations

from oneturn.testing.contracts import SandboxContract
from oneturn.testing.session_contract import SessionContract


class SampledContract(SessionContract):
    """To be subclassed as the whole contract is."""

    test_arguments_arrive_as_written = SandboxContract.test_arguments_arrive_as_written
    test_answers_come_in_any_order_and_any_subset = (
        SandboxContract.test_answers_come_in_any_order_and_any_subset
    )
    test_close_is_idempotent_and_final = SandboxContract.test_close_is_idempotent_and_final
    test_cpu_limit = SandboxContract.test_cpu_limit
    test_gather_overlaps = SandboxContract.test_gather_overlaps
    test_kill_before_start = SandboxContract.test_kill_before_start
    test_kill_while_computing = SandboxContract.test_kill_while_computing
    test_kill_while_waiting = SandboxContract.test_kill_while_waiting
    test_memory_limit = SandboxContract.test_memory_limit
    test_prints_survive_an_error = SandboxContract.test_prints_survive_an_error
    test_random_follows_the_seed = SandboxContract.test_random_follows_the_seed
    test_recursion_limit = SandboxContract.test_recursion_limit
    test_the_sandbox_can_be_closed_twice = SandboxContract.test_the_sandbox_can_be_closed_twice
    test_twenty_runs_at_once = SandboxContract.test_twenty_runs_at_once
    test_two_runs_share_nothing = SandboxContract.test_two_runs_share_nothing
