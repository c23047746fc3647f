"""What is written before componentize-py runs."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from postern.build import BuildError, Project, glue, imported_within, names_used, package_version, world

SDK = Path(__file__).parent.parent


def roles_of(folder: Path) -> dict:
    """A project is loaded in a process of its own, as `postern build` does."""
    wit = folder / "wit"
    wit.mkdir()
    command = [sys.executable, "-m", "postern.build", str(folder), "--wit", str(wit)]
    found = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(SDK)}, check=False)
    if found.returncode:
        raise BuildError(found.stderr)
    return json.loads(found.stdout)


def test_roles_are_those_that_are_marked(tmp_path):
    (tmp_path / "plugin.py").write_text(
        "from typing import Iterator\n"
        "import postern\n"
        "s = postern.Service('s')\n"
        "@s.method\ndef one(x: int) -> int: return x\n"
        "@s.method\ndef many(x: int) -> Iterator[int]: yield x\n"
        "@postern.event_handler\ndef took(event): pass\n"
    )
    roles = ["handler", "batch-handler", "stream-handler", "describe", "schemas", "event-handler", "health"]
    assert roles_of(tmp_path) == {"roles": roles, "module": "plugin"}


def test_a_component_has_what_it_needs_and_no_more(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.postern]\nmodule = "mark"\n')
    (tmp_path / "mark.py").write_text("import postern\n@postern.request_interceptor\ndef mark(request): pass\n")
    assert roles_of(tmp_path) == {"roles": ["request-interceptor", "health"], "module": "mark"}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import postern\n", "module plugin has no role"),
        ("import nothing_here\n", "No module named 'nothing_here': add the package"),
        ("import postern\ns = postern.Service('s')\n@s.method\ndef f(x: object()): pass\n", "method"),
        (
            "import postern\ns = postern.Service('s')\n@s.method\nasync def f(x: int) -> int: return x\n"
            "@postern.async_stream_handler\nasync def g(service, method, request): yield b''\n",
            "the methods F are async beside an async_stream_handler",
        ),
    ],
)
def test_what_cannot_be_built_says_why(tmp_path, source, fault):
    (tmp_path / "plugin.py").write_text(source)
    with pytest.raises(BuildError) as raised:
        roles_of(tmp_path)
    assert fault in str(raised.value) or "has no form in JSON" in str(raised.value)


def test_a_folder_without_a_module_names_those_that_are_looked_for(tmp_path):
    with pytest.raises(BuildError, match="has none of plugin.py, app.py, main.py"):
        Project(tmp_path)


def test_requirements_are_read_from_both_places(tmp_path):
    (tmp_path / "plugin.py").touch()
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["a==1"]\n')
    (tmp_path / "requirements.txt").write_text("# none\nb==2 # why\n\n")
    assert Project(tmp_path).requirements() == ["a==1", "b==2"]


def wheel(folder: Path, name: str) -> str:
    """Makes a package with one module, and gives its hash."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", "one = 1\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_requirements_may_have_hashes_and_name_other_files(tmp_path):
    (tmp_path / "plugin.py").touch()
    (tmp_path / "pip.py").write_text("raise SystemExit('the module of the project')\n")
    first, second = wheel(tmp_path / "wheels", "first"), wheel(tmp_path / "wheels", "second")
    (tmp_path / "requirements.txt").write_text(
        f"--no-index\n--find-links wheels\n-r more.txt\nfirst==1.0 \\\n    --hash=sha256:{first}\n"
    )
    (tmp_path / "more.txt").write_text(f"second==1.0 --hash=sha256:{second}\n")
    project = Project(tmp_path)
    project.install()
    assert (project.packages / "first.py").is_file() and (project.packages / "second.py").is_file()
    (tmp_path / "more.txt").write_text(f"second==1.0 --hash=sha256:{first}\n")
    with pytest.raises(BuildError, match="cannot be installed"):
        project.install()


def test_a_dependency_is_no_option_of_pip(tmp_path):
    (tmp_path / "plugin.py").touch()
    (tmp_path / "pyproject.toml").write_text(f'[project]\ndependencies = ["--log={tmp_path}/made"]\n')
    with pytest.raises(BuildError, match="cannot be installed"):
        Project(tmp_path).install()
    assert not (tmp_path / "made").exists()


def test_packages_that_were_not_installed_are_not_taken_for_whole(tmp_path):
    (tmp_path / "plugin.py").touch()
    wheel(tmp_path / "wheels", "first")
    found = "--no-index\n--find-links wheels\nfirst==1.0\n"
    (tmp_path / "requirements.txt").write_text(found)
    Project(tmp_path).install()
    (tmp_path / "requirements.txt").write_text("--no-index\nnothing-of-this-name==1.0\n")
    with pytest.raises(BuildError):
        Project(tmp_path).install()
    (tmp_path / "requirements.txt").write_text(found)
    project = Project(tmp_path)
    project.install()
    assert (project.packages / "first.py").is_file()


def test_the_world_has_the_roles_and_their_imports(tmp_path):
    (tmp_path / "postern.wit").write_text("/// Head.\npackage postern:gateway@0.1.0;\n")
    version = package_version(tmp_path)
    assert world(["balancer", "health"], ["call", "log"], version) == (
        "package postern:generated;\n\nworld guest {\n"
        "    import postern:gateway/call@0.1.0;\n"
        "    import postern:gateway/log@0.1.0;\n"
        "    import postern:gateway/candidates@0.1.0;\n"
        "    export postern:gateway/balancer@0.1.0;\n"
        "    export postern:gateway/health@0.1.0;\n}\n"
    )
    assert "from postern._component import Balancer, Health, prepare" in glue("plugin", ["balancer", "health"], [])
    asynchronous = ["async-stream-handler", "health"]
    assert "    import postern:gateway/async-call@0.1.0;\n" in world(asynchronous, ["call", "log"], version)
    made = glue("plugin", asynchronous, [])
    assert "from postern._component import Health, prepare\nfrom postern._async_component import AsyncStreamHandler\n" in made


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from postern import kv as store\n", {"kv"}),
        ("import postern\npostern.client.call('a', 'b')\n", {"client"}),
        ("import postern.events\n", {"events"}),
        ("from postern.kv import get\n", {"kv"}),
        ("from postern import metrics\nmetrics.increase('a')\n", {"metrics"}),
        ("from postern import *\n", {"kv", "client", "events", "metrics", "directory"}),
        ("from postern import log\nkv = 1\n", set()),
    ],
)
def test_imports_that_a_source_names_are_found(source, expected):
    assert names_used(source) & {"kv", "client", "events", "metrics", "directory"} == expected


def test_imports_within_functions_are_found():
    source = "import a\ndef f():\n    import b.c\n    from d import e\n    from . import g\n    from ..h import i\n"
    assert imported_within(source, "x.y.z", False) == {"b.c", "d", "d.e", "x.y", "x.y.g", "x.h", "x.h.i"}
