"""Finds the Node.js programs that `make node` installs."""

import shutil
import subprocess

import pytest
from running import MODULES, Node

OLDEST_NODE = (22, 19)


@pytest.fixture(scope="session")
def node() -> Node:
    if not MODULES.is_dir():
        pytest.skip("the Node.js packages are not installed; run `make node`, which needs npm")
    own = MODULES / ".bin" / "node"
    program = str(own) if own.exists() else shutil.which("node")
    if program is None:
        pytest.skip("there is no Node.js; on this platform install it yourself, then run `make node`")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, version.strip().lstrip("v").split(".")[:2])) < OLDEST_NODE:
        pytest.skip(f"Node.js {version.strip()} is too old; 22.19 or newer is needed")
    return Node(program)
