"""The official conformance suite against an oneturn server over HTTP.

Every scenario of the suite stands in one of the two lists below, so a new one is noticed.
"""

import re
from pathlib import Path

import pytest
from running import serving_http

pytestmark = pytest.mark.node
APP = f"{Path(__file__).with_name('conformance_app.py')}:app"

APPLICABLE = {
    "server-initialize",
    "logging-set-level",
    "ping",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-error",
    "json-schema-2020-12",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
    "resources-list",  # empty: artifacts are read by their handles and not listed
    "prompts-list",  # empty: there are none
}

NO_RESOURCES = "oneturn offers tools; its only resources are artifacts of the caller's own runs"
NO_PROMPTS = "oneturn offers tools, no prompts"
NO_WAY_BACK = "a tool behind the gate gives one answer; it has no way to ask the client or to talk to it"
PLAIN_VALUES = "results are plain values, so an embedded resource arrives as the text or bytes in it"
LEFT_OUT = {
    "completion-complete": "there are no prompts or listed resources whose arguments could be completed",
    "tools-call-embedded-resource": PLAIN_VALUES,
    "tools-call-mixed-content": PLAIN_VALUES,
    "tools-call-with-logging": NO_WAY_BACK,
    "tools-call-with-progress": NO_WAY_BACK,
    "tools-call-sampling": NO_WAY_BACK,
    "tools-call-elicitation": NO_WAY_BACK,
    "elicitation-sep1034-defaults": NO_WAY_BACK,
    "elicitation-sep1330-enums": NO_WAY_BACK,
    "server-sse-polling": "runs are bounded in time, so no answer is broken off to be resumed later",
    "resources-read-text": NO_RESOURCES,
    "resources-read-binary": NO_RESOURCES,
    "resources-templates-read": NO_RESOURCES,
    "resources-subscribe": NO_RESOURCES,
    "resources-unsubscribe": NO_RESOURCES,
    "prompts-get-simple": NO_PROMPTS,
    "prompts-get-with-args": NO_PROMPTS,
    "prompts-get-embedded-resource": NO_PROMPTS,
    "prompts-get-with-image": NO_PROMPTS,
}


def test_every_applicable_scenario_passes(node, tmp_path):
    suite = node.command("@modelcontextprotocol/conformance")
    with serving_http("--app", APP, "--mode", "plain") as url:
        report = node.run([*suite, "server", "--suite", "all", "--url", url], tmp_path)
    verdicts = {
        name: (int(passed), int(failed))
        for name, passed, failed in re.findall(
            r"^. ([\w-]+): (\d+) passed, (\d+) failed$", report, re.MULTILINE
        )
    }
    assert set(verdicts) == APPLICABLE | set(LEFT_OUT)
    assert {
        name: verdict
        for name, verdict in verdicts.items()
        if name in APPLICABLE and (verdict[1] or not verdict[0])
    } == {}, report
