"""The other side of `unconfined.py`: a guest with nothing round it but a limit on its memory."""

import importlib.util
import resource
import sys
from pathlib import Path

GUEST = Path(__file__).parents[2] / "src" / "oneturn" / "sandbox" / "inside" / "guest.py"


def limit_memory(limits):
    """What the script may take comes on top of what the process has already."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + limits["memory"]
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main():
    """Serve on the descriptor in the argument."""
    spec = importlib.util.spec_from_file_location("guest", GUEST)
    guest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(guest)
    guest.prepare()
    guest.serve(int(sys.argv[1]), limit_memory)


main()
