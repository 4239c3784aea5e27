"""Starts on this machine what the chart's pod would start: same arguments, files, modes, user.

Volumes become directories as the kubelet makes them: a Secret's files belong to root and fsGroup,
in a directory of their own to which a link leads, so that all of them change at once. Paths and
ports of the pod are replaced by such as are free here. As root the processes run as the pod's
user, without any capability; as a person they run as that person.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.chart import Document, of_kind, pod_spec
from tests.support.process import Process, free_port, require, start

#: What the pod's own paths begin with. /tmp is there on this machine too.
_PATHS = re.compile(r"(?<![\w/.-])(?=/(etc|var/lib|run)/z4j-exporter\b)")
_BIN = Path(sys.executable).parent

#: Files of a Secret or ConfigMap.
Files = Mapping[str, str]


@dataclass
class Pod:
    """A rendered pod on this machine; use as a context."""

    documents: list[Document]
    #: Objects that the release refers to, by (kind, name).
    others: Mapping[tuple[str, str], Files]
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="z4j-pod-")))
    port: int = field(default_factory=free_port)
    actions_port: int = field(default_factory=free_port)

    def __enter__(self) -> "Pod":
        self.root.chmod(0o755)
        for volume in pod_spec(self.documents)["volumes"]:
            self._make(volume)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.root)

    # -- volumes ----------------------------------------------------------------------------------

    def _make(self, volume: Document) -> None:
        directory = self._volume(volume["name"])
        directory.mkdir(parents=True)
        if source := volume.get("secret"):
            files = self._files("Secret", source["secretName"])
            self.write(volume["name"], _items(files, source), source["defaultMode"])
        elif source := volume.get("configMap"):
            files = self._files("ConfigMap", source["name"])
            self.write(volume["name"], _items(files, source), 0o644)
        elif source := volume.get("projected"):
            merged: dict[str, str] = {}
            for each in (part["secret"] for part in source["sources"]):
                merged |= _items(self._files("Secret", each["name"]), each)
            self.write(volume["name"], merged, source["defaultMode"])
        elif "persistentVolumeClaim" in volume or "emptyDir" in volume:
            self._group(directory)
            directory.chmod(0o2777 if "emptyDir" in volume else 0o2775)
        else:
            raise AssertionError(f"a volume of a kind that this does not know: {volume}")

    def write(self, volume: str, files: Files, mode: int) -> None:
        """Give a volume these files, in the kubelet's way."""
        directory = self._volume(volume)
        version = Path(tempfile.mkdtemp(prefix="..", dir=directory))
        self._group(version)
        version.chmod(0o2755)
        for name, text in files.items():
            path = version / name
            path.write_text(self.local(text))
            self._group(path)
            path.chmod(mode)
        fresh = directory / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.replace(directory / "..data")
        for name in files:
            if not (directory / name).is_symlink():
                (directory / name).symlink_to(f"..data/{name}")

    def _files(self, kind: str, name: str) -> Files:
        import base64

        for document in of_kind(self.documents, kind):
            if document["metadata"]["name"] == name:
                data = document["data"]
                if kind == "ConfigMap":
                    return dict(data)
                return {key: base64.b64decode(value).decode() for key, value in data.items()}
        return self.others[kind, name]

    def _volume(self, name: str) -> Path:
        return self.root / "volumes" / name

    def _group(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, 0, pod_spec(self.documents)["securityContext"]["fsGroup"])

    # -- containers -------------------------------------------------------------------------------

    def container(self, name: str) -> Document:
        """Return the rendered container of that name."""
        spec = pod_spec(self.documents)
        (found,) = (
            c for c in spec.get("initContainers", []) + spec["containers"] if c["name"] == name
        )
        return dict(found)

    def local(self, text: str) -> str:
        """Replace the pod's paths and ports in a text."""
        text = _PATHS.sub(str(self.root), text)
        return text.replace(":9808", f":{self.port}").replace(":9809", f":{self.actions_port}")

    def start(self, name: str, instead: Sequence[str] = ()) -> Process:
        """Start a container's process with what the container mounts, and nothing else.

        ``instead`` are arguments in place of its own, as for `kubectl exec`.
        """
        container = self.container(name)
        for mount in container["volumeMounts"]:
            path = self.root / mount["mountPath"].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_symlink():
                path.symlink_to(self._volume(mount["name"]))
        # The image's entry point, where the container has no command of its own.
        program = [self.local(part) for part in container.get("command", ["z4j-exporter"])]
        program[0] = str(_BIN / program[0])
        arguments = [self.local(argument) for argument in instead or container.get("args", [])]
        env = {v["name"]: self.local(v["value"]) for v in container.get("env", [])}
        return start(name, [*self.as_user(), *program, *arguments], env=env, cwd=Path("/"))

    def run(self, name: str, instead: Sequence[str] = ()) -> tuple[int, str]:
        """Run a container to its end; its exit code and what it wrote."""
        process = self.start(name, instead)
        code = process.wait(90)
        return code, process.output()

    def as_user(self) -> list[str]:
        """Return what a command begins with to run as the pod's user; nothing where it cannot."""
        if os.geteuid() != 0:
            return []
        context = pod_spec(self.documents)["securityContext"]
        prefix = [
            require("setpriv"), f"--reuid={context['runAsUser']}",
            f"--regid={context['runAsGroup']}", f"--groups={context['fsGroup']}",
            "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs",
        ]  # fmt: skip
        can = [*prefix, sys.executable, "-c", "import z4j_exporter.app"]
        if subprocess.run(can, check=False, capture_output=True, cwd="/").returncode:
            # A checkout or a Python in root's own home cannot be read by the pod's user.
            return []
        return prefix


def _items(files: Files, source: Document) -> dict[str, str]:
    if "items" not in source:
        return dict(files)
    return {item["path"]: files[item["key"]] for item in source["items"]}
