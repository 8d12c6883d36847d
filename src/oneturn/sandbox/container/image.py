"""What a container runs in: an image of the engine's, or a root folder, with the guest's files on top.

Images are named by a hash of all that went in, so they are made once and never stale.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from ...errors import ConfigError, SandboxError, SandboxUnavailable
from .engine import Engine

GUEST = "oneturn-guest"
ROOT = "oneturn-root"
_UNUSED = ("site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip")
"""Parts of the standard library that no script needs."""
_LOADED = re.compile(r"(/\S+) \(0x")  # `libz.so.1 => /lib/libz.so.1 (0x7f…)`, as ldd prints it


def default_image() -> str:
    """The official image of the Python that runs us, so both tiers of full Python speak the same one."""
    return f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"


def prepare(engine: Engine, image: str | Path | None) -> str:
    """The name of an image that is ready to run guests.

    Args:
        image: An image of the engine's, pulled if it is missing; or a root folder; each with Python 3.11
            or later as `python3`. None means `default_image()`.

    Raises:
        SandboxUnavailable: It cannot be had, or would let a script write to the disk.
        ConfigError: The root folder is none.
    """
    try:
        base = _root_image(engine, image) if isinstance(image, Path) else _engine_image(engine, image)
        found = engine.image(base)
        if found is None:
            raise SandboxError(f"The container engine has lost the image {base}.")
        volumes = (found.get("Config") or {}).get("Volumes")
        if volumes:
            raise SandboxUnavailable(
                f"The image {base} declares volumes ({', '.join(sorted(volumes))}), where a script could "
                "fill the disk. Use an image without VOLUME."
            )
        return _guest_image(engine, base, str(found["Id"]))
    except SandboxUnavailable:
        raise
    except SandboxError as error:
        raise SandboxUnavailable(f"There is no image for containers: {error}") from error


def _engine_image(engine: Engine, image: str | None) -> str:
    name = image or default_image()
    if engine.image(name) is None:
        try:
            engine.pull(name)
        except SandboxError as error:
            raise SandboxUnavailable(
                f"{error} Pull or load it on the engine's machine, or give a root folder as the image."
            ) from error
    return name


def _root_image(engine: Engine, root: Path) -> str:
    if not root.is_dir():
        raise ConfigError(f"There is no root folder {root} to make a container's image of.")
    with tempfile.TemporaryDirectory(prefix="oneturn-") as folder:
        archive = Path(folder) / "root.tar"
        with tarfile.open(archive, "w") as packed:
            packed.add(root, arcname=".", filter=_plain)
        with archive.open("rb") as stream:
            name = f"{ROOT}:{hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"
        if engine.image(name) is None:
            engine.load_root(archive, name)
    return name


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owned by root and without set-uid bits, whoever made the folder."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode &= 0o1777
    return entry


def _guest_image(engine: Engine, base: str, base_id: str) -> str:
    dockerfile = (resources.files(__package__) / "Dockerfile").read_text(encoding="utf-8")
    files = dict(_guest_files())
    digest = hashlib.sha256()
    for part in (
        base_id.encode(),
        dockerfile.encode(),
        *(b"%s\0%s" % (n.encode(), c) for n, c in files.items()),
    ):
        digest.update(len(part).to_bytes(8, "big") + part)
    name = f"{GUEST}:{digest.hexdigest()[:16]}"
    if engine.image(name) is None:
        engine.build(dockerfile, files, base, name)
    return name


def _guest_files() -> Iterator[tuple[str, bytes]]:
    inside = resources.files(__package__.rpartition(".")[0]) / "inside"
    for file in sorted(inside.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            yield file.name, file.read_bytes()


def copy_python(root: Path, *, packages: Path | None = None) -> None:
    """Fill a root folder with the Python that runs us, for machines without an image registry.

    Linux only. What is copied are the interpreter, its standard library and the shared libraries they load.

    Args:
        root: An empty or missing folder.
        packages: A folder of installed packages to put there too, such as
            `.venv/lib/python3.12/site-packages`.

    Raises:
        ConfigError: The folder is in use, or this machine has no `ldd`.
    """
    if root.exists() and any(root.iterdir()):
        raise ConfigError(f"The folder {root} is not empty; give a new one for the copy of Python.")
    ldd = shutil.which("ldd")
    if ldd is None:
        raise ConfigError("A copy of this Python needs `ldd`, which this machine does not have.")
    here = {"base": sys.base_prefix, "installed_base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    library = Path(sysconfig.get_path("stdlib", vars=here))
    python = Path(sys.executable).resolve()
    _copy_tree(library, _below(root, library), *_UNUSED, "config-*")
    if packages is not None:
        _copy_tree(packages, _below(root, Path(sysconfig.get_path("purelib", vars=here))))
    needed = {python}
    for binary in (python, *sorted(root.rglob("*.so*"))):
        listed = subprocess.run([ldd, str(binary)], capture_output=True, text=True, check=False)  # noqa: S603
        needed.update(map(Path, _LOADED.findall(listed.stdout)))
    for file in needed:
        if not file.is_relative_to(root):
            target = _below(root, file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    for folder in ("dev", "etc", "proc", "run", "sys", "tmp", "usr/bin", "var/tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    command = root / "usr/bin/python3"
    if not command.exists():
        command.symlink_to(python)
    for path in (root, *root.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    (root / "tmp").chmod(0o1777)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to(path.anchor)


def _copy_tree(source: Path, target: Path, *unwanted: str) -> None:
    ignore = shutil.ignore_patterns(*unwanted)
    shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True, ignore_dangling_symlinks=True)
