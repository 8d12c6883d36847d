"""The Docker-compatible engine: the only module that knows docker-py.

It says how a container is confined (`Confinement`), and turns the engine's failures into one sentence each.
An engine may quietly ignore what it is asked for (Podman 4 ignores the runtime), so nothing here is taken
as given: the tier tries every control from inside before it runs a script.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import tenacity

from ...errors import ConfigError, SandboxError, SandboxUnavailable

LABEL = "io.oneturn.sandbox"
"""On every container and image of ours."""
_OWNER = "io.oneturn.owner"
_NOBODY = "65534:65534"
_PATIENCE = 30  # seconds for one request that should be quick
_BUILD_PATIENCE = 600  # seconds for a pull, an import or a build
_REMOVAL_PATIENCE = 5  # seconds until a container that the engine will not remove is reported
SCRATCH = 16 << 20  # bytes in /tmp
# A user's processes are counted over the whole machine, so this bounds all guests; `pids` bounds one.
_MACHINE_PROCESSES = 4096
FILES = 256  # open files of one guest


@dataclass(frozen=True, slots=True)
class Confinement:
    """What one container may use. Sizes are bytes, `cpus` is a share of cores."""

    runtime: str | None = None
    memory: int = 256 << 20
    cpus: float = 0.5
    pids: int = 64


class Engine:
    """A connection to one engine. Thread-safe.

    Args:
        url: Such as `unix:///run/podman/podman.sock`; by default `DOCKER_HOST`, else Docker's own socket.

    Raises:
        ConfigError: docker-py is not installed, or the URL is none.
        SandboxUnavailable: No engine answers there.
    """

    def __init__(self, url: str | None = None) -> None:
        try:
            import docker
            import docker.utils
        except ImportError:
            raise ConfigError(
                "The container sandbox needs docker-py: pip install 'oneturn[container]'."
            ) from None
        self._docker = docker
        self._failures = (docker.errors.DockerException, OSError)
        where = url or os.environ.get("DOCKER_HOST") or docker.utils.parse_host(None)
        options = docker.utils.kwargs_from_env()
        if url is not None:
            options["base_url"] = url
        try:
            self._client = docker.APIClient(version="auto", timeout=_PATIENCE, **options)
            self._slow = docker.APIClient(version="auto", timeout=_BUILD_PATIENCE, **options)
            told = self._client.info()
        except self._failures as error:
            raise SandboxUnavailable(
                f"No container engine answers at {where}. Start Docker or `podman system service`, "
                "or set DOCKER_HOST."
            ) from error

        self.kernel = str(told.get("KernelVersion", ""))
        self.machine = str(told.get("Architecture", ""))

    @contextlib.contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            raise SandboxError(f"The container engine could not {what}: {_reason(error)}.") from error

    # --- images

    def image(self, name: str) -> Mapping[str, Any] | None:
        """What the engine knows of an image; None when it has none of that name."""
        with self._asked(f"look up the image {name}"):
            try:
                found: Mapping[str, Any] = self._client.inspect_image(name)
            except self._docker.errors.NotFound:
                return None
        return found

    def pull(self, name: str) -> None:
        """Have the engine fetch an image from its registry."""
        tag = None if _tagged(name) else "latest"
        what = f"pull the image {name}"
        with self._asked(what):
            _finished(what, self._slow.pull(name, tag=tag, stream=True, decode=True))

    def load_root(self, archive: Path, name: str) -> None:
        """Make an image of a tar archive that holds a whole root folder."""
        repository, _, tag = name.rpartition(":")
        with self._asked("import the root folder"):
            said = self._slow.import_image_from_file(str(archive))
            self._client.tag(_said_id(said), repository, tag)

    def build(self, dockerfile: str, files: Mapping[str, bytes], base: str, name: str) -> None:
        """Build an image from a Dockerfile and the files beside it, without a network."""
        context = _archive({"Dockerfile": dockerfile.encode(), **files})
        what = f"build the image {name}"
        with self._asked(what):
            said = self._slow.build(
                fileobj=context,
                custom_context=True,
                tag=name,
                buildargs={"BASE": base},
                network_mode="none",
                labels={LABEL: "image"},
                rm=True,
                forcerm=True,
                decode=True,
                use_config_proxy=False,
            )
            _finished(what, said)

    def remove_image(self, name: str) -> None:
        """Forget an image; it may be gone already."""
        with contextlib.suppress(*self._failures):
            self._client.remove_image(name, force=True)

    # --- containers

    def create(self, image: str, command: Sequence[str], confinement: Confinement, owner: str) -> str:
        """A container that is confined and not started yet: its id."""
        types = self._docker.types
        host = self._client.create_host_config(
            network_mode="none",
            ipc_mode="private",
            shm_size=1 << 20,
            read_only=True,
            tmpfs={
                "/tmp": f"rw,noexec,nosuid,nodev,size={SCRATCH},mode=1777",  # noqa: S108
                # Podman would put writable ones there, of any size.
                "/run": "ro,noexec,nosuid,nodev,size=4k",
                "/var/tmp": "ro,noexec,nosuid,nodev,size=4k",  # noqa: S108
            },
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=confinement.memory,
            memswap_limit=confinement.memory,
            nano_cpus=int(confinement.cpus * 1e9),
            pids_limit=confinement.pids,
            ulimits=[
                types.Ulimit(name="nofile", soft=FILES, hard=FILES),
                types.Ulimit(name="nproc", soft=_MACHINE_PROCESSES, hard=_MACHINE_PROCESSES),
                types.Ulimit(name="core", soft=0, hard=0),
            ],
            log_config=types.LogConfig(
                type="none"
            ),  # what a guest says is for us, not for a file on the host
            init=False,
            **({"runtime": confinement.runtime} if confinement.runtime else {}),
        )
        with self._asked("create a container"):
            made = self._client.create_container(
                image,
                entrypoint=list(command[:1]),
                command=list(command[1:]),
                host_config=host,
                user=_NOBODY,
                working_dir="/",
                hostname="sandbox",
                stdin_open=True,  # and closed when we go, so a guest never waits for a dead host
                network_disabled=True,
                labels={LABEL: "guest", _OWNER: owner},
                healthcheck=types.Healthcheck(test=["NONE"]),
                use_config_proxy=False,
            )
        return str(made["Id"])

    def attach(self, container: str) -> tuple[socket.socket, IO[bytes]]:
        """The container's stdin, stdout and stderr as one socket, and what must be kept while it is used."""
        with self._asked("attach to a container"):
            wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            attached = self._client.attach_socket(container, params=wanted)
        # Over plain HTTP docker-py gives a reader of the socket, over TLS the socket itself.
        return getattr(attached, "_sock", attached), attached

    def start(self, container: str) -> None:
        """Let a container run."""
        with self._asked("start a container"):
            self._client.start(container)

    def kill(self, container: str) -> None:
        """Kill whatever runs in a container; it may have ended already."""
        with contextlib.suppress(*self._failures):
            self._client.kill(container)

    def remove(self, container: str) -> None:
        """Kill a container and remove it; it may be gone already."""
        again = tenacity.Retrying(
            # An engine may refuse while the container is just ending, or being removed by somebody else.
            retry=tenacity.retry_if_exception_type(self._docker.errors.APIError),
            wait=tenacity.wait_fixed(0.1),
            stop=tenacity.stop_after_delay(_REMOVAL_PATIENCE),
            reraise=True,
        )
        with self._asked(f"remove the container {container[:12]}"):
            again(self._remove_once, container)

    def _remove_once(self, container: str) -> None:
        with contextlib.suppress(self._docker.errors.NotFound):
            self._client.remove_container(container, force=True, v=True)

    def state(self, container: str) -> Mapping[str, Any]:
        """The engine's word on a container; empty when it is gone."""
        with contextlib.suppress(*self._failures):
            found: Mapping[str, Any] = self._client.inspect_container(container)["State"]
            return found
        return {}

    def cpu_seconds(self, container: str) -> float | None:
        """What a container has computed so far; None when the engine does not say."""
        with contextlib.suppress(*self._failures, KeyError, TypeError):
            stats = self._client.stats(container, stream=False, one_shot=True)
            return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9
        return None

    def owners(self) -> Mapping[str, str]:
        """Every guest container on this engine, running or not, and its owner."""
        with self._asked("list its containers"):
            found = self._client.containers(all=True, filters={"label": f"{LABEL}=guest"})
        return {str(one["Id"]): str((one.get("Labels") or {}).get(_OWNER, "")) for one in found}

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._client.close()
        self._slow.close()


def _archive(files: Mapping[str, bytes]) -> IO[bytes]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    packed.seek(0)
    return packed


def _finished(what: str, said: Iterable[Mapping[str, Any]]) -> None:
    """Read to its end what the engine says while it works: a failure is only told there."""
    for line in said:
        if "error" in line:
            raise SandboxError(f"The container engine could not {what}: {_one_line(str(line['error']))}.")


def _said_id(said: str) -> str:
    """The image id in what the engine said at the end of an import."""
    last = json.loads(said.strip().splitlines()[-1])
    if "error" in last or not last.get("status"):
        raise SandboxError(
            f"The container engine could not import the root folder: {last.get('error', said)}."
        )
    return str(last["status"])


def _tagged(name: str) -> bool:
    return ":" in name.rpartition("/")[2] or "@" in name


def _reason(error: BaseException) -> str:
    """One line of what an engine or the network said."""
    return _one_line(str(getattr(error, "explanation", None) or str(error) or type(error).__name__))


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= 300 else f"{line[:300]}…").rstrip(".")
