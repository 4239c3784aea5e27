"""The image's Dockerfile: hadolint is content, everything is pinned, nobody is root."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from z4j_exporter import __version__

PROJECT = Path(__file__).resolve().parents[2]
DOCKERFILE = PROJECT / "Dockerfile"
#: What the image is made with beyond the dependencies: `make lock` has the same.
EXTRAS = ("demo", "encryption")


def instructions() -> list[tuple[str, str]]:
    """Read the Dockerfile: each instruction with its words, lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text())
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line.strip()]


def final_stage() -> dict[str, str]:
    """Return the last stage's instructions; of those that are repeated, the last."""
    found = instructions()
    begin = max(at for at, (name, _) in enumerate(found) if name == "FROM")
    return dict(found[begin:])


def locked(name: str) -> dict[str, str]:
    """Read a lock file: what it pins, and to which version."""
    text = (PROJECT / name).read_text()
    pinned = re.findall(r"^([\w.-]+)==([^\s;]+).*\\\n    --hash=sha256:[0-9a-f]{64}", text, re.M)
    # Nothing stands in it without a version and a hash.
    assert len(pinned) == len(re.findall(r"^[^\s#]", text, re.M))
    return {canonicalize_name(package): version for package, version in pinned}


def wanted() -> list[Requirement]:
    """Return what pyproject.toml says that the image needs."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in optional[extra])]
    return [Requirement(line) for line in lines]


def test_hadolint_finds_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    checked = subprocess.run(
        [hadolint, DOCKERFILE], capture_output=True, text=True, timeout=60, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_base_is_pinned_and_can_be_another() -> None:
    found = instructions()
    assert found[0][0] == "ARG"
    name, _, base = found[0][1].partition("=")
    assert name == "BASE"
    # A version to its last number; who wants the very bytes adds @sha256:….
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-\w+(@sha256:\w{64})?", base)
    assert [value for key, value in found if key == "FROM"] == ["${BASE} AS build", "${BASE}"]


def test_it_does_not_run_as_root() -> None:
    user, _, group = final_stage()["USER"].partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_it_stops_and_is_asked_for_its_health() -> None:
    final = final_stage()
    assert json.loads(final["ENTRYPOINT"]) == ["z4j-exporter"]
    assert json.loads(final["CMD"]) == ["run"]
    assert final["STOPSIGNAL"] == "SIGTERM"
    assert final["EXPOSE"] == "9808"
    assert "/opt/z4j-exporter/healthcheck.py" in final["HEALTHCHECK"]


def test_its_labels_say_what_it_is() -> None:
    label = final_stage()["LABEL"]
    found = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', label))
    assert found["title"] == "z4j-exporter"
    assert found["source"] == "https://github.com/z4j/z4j-exporter"
    assert found["licenses"] == "Apache-2.0"
    assert (found["version"], found["revision"]) == ("${VERSION}", "${REVISION}")
    assert f"VERSION={__version__}" in [value for key, value in instructions() if key == "ARG"]


def test_its_last_stage_installs_nothing() -> None:
    copies = [value for key, value in instructions() if key == "COPY" and "--from" in value]
    assert copies == ["--from=build /opt/z4j-exporter /opt/z4j-exporter"]
    assert not re.search(r"(pip|apt|apt-get|apk) (-\S+ )*install|curl|wget", final_stage()["RUN"])


def test_only_what_it_is_made_of_reaches_the_builder() -> None:
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    sources = [value for key, value in instructions() if key == "COPY" and "--from" not in value]
    assert {word for copied in sources for word in copied.split()[:-1]} == let_in
    assert all((PROJECT / name).exists() for name in let_in)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
def test_a_lock_file_names_no_index(name: str) -> None:
    text = (PROJECT / name).read_text()
    assert "make lock" in text
    assert "://" not in text
    assert "index" not in text
    assert "find-links" not in text


def test_the_lock_file_agrees_with_the_dependencies() -> None:
    pinned = locked("requirements.lock")
    for requirement in wanted():
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: {version}; make lock"


def test_the_build_backend_is_locked() -> None:
    backend = tomllib.loads((PROJECT / "pyproject.toml").read_text())["build-system"]["requires"]
    pinned = locked("requirements-build.lock")
    for requirement in map(Requirement, backend):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])
    assert "pip" in pinned


def test_the_docs_name_this_version() -> None:
    text = (PROJECT / "docs" / "docker.md").read_text()
    named = set(re.findall(r"ghcr\.io/z4j/z4j-exporter:([\w.]+)", text))
    assert named == {__version__}
    base = instructions()[0][1].rpartition("/")[2]
    assert f"`{base}@sha256:…`" in text.replace("(", "").replace(")", "")
