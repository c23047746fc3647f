"""Makes a component of a project: `python -m postern.build PROJECT --wit WIT --out FILE --work FOLDER`.

The roles are those that the project's module has marked when it is loaded. Written to the work folder
are the world with just these roles, the module that `componentize-py` takes, and the pure Python
packages that the project asks for.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

#: The Python inside of a component of the componentize-py that `requirements.txt` beside this package pins.
COMPONENT_PYTHON = "3.14"
#: Where the project's module is looked for, in this order, unless `[tool.postern] module` names it.
MODULES = ("plugin", "app", "main")
#: Imports of every component, and those that it has when its source names them.
IMPORTS = ("call", "log", "config")
OPTIONAL_IMPORTS = ("kv", "client", "events", "metrics", "directory")
#: The folder of this package.
SDK = Path(__file__).resolve().parent.parent
#: Interfaces that a role brings along as imports.
ROLE_IMPORTS = {
    "balancer": ["candidates"],
    "frame-extension": ["frame"],
    "request-interceptor": ["request", "response"],
    "response-interceptor": ["request", "response"],
    "async-stream-handler": ["async-call"],
}
#: What the standard library itself imports within functions.
LATE_MODULES = (
    "_strptime",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.unicode_escape",
    "encodings.utf_16",
    "encodings.utf_8_sig",
    "linecache",
    "stringprep",
    "tokenize",
    "unicodedata",
)
#: Classes of `_component.py`.
CLASSES = {
    "handler": "Handler",
    "batch-handler": "BatchHandler",
    "stream-handler": "StreamHandler",
    "async-stream-handler": "AsyncStreamHandler",
    "event-handler": "EventHandler",
    "health": "Health",
    "describe": "Describe",
    "schemas": "Schemas",
    "balancer": "Balancer",
    "frame-extension": "FrameExtension",
    "request-interceptor": "RequestInterceptor",
    "response-interceptor": "ResponseInterceptor",
    "authenticator": "Authenticator",
    "authorizer": "Authorizer",
}
#: Modules of the SDK that have the class of a role, where that is not `_component`: its world alone has what
#: they import.
CLASS_MODULES = {"async-stream-handler": "_async_component"}


class BuildError(Exception):
    """Why there is no component; the message has the remedy."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m postern.build", description="Makes a component of a project.")
    parser.add_argument("project", type=Path)
    parser.add_argument("--wit", type=Path, required=True, help="folder of the package postern:gateway")
    parser.add_argument("--out", type=Path, help="the component; without it only what is in it is told")
    parser.add_argument("--work", type=Path, help="folder for what is made on the way (PROJECT/.postern/build)")
    options = parser.parse_args(arguments)
    try:
        project = Project(options.project, options.work)
        project.load()
        roles = project.roles()
        print(json.dumps({"roles": roles, "module": project.module}))
        if options.out:
            project.componentize(roles, options.wit, options.out)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


class Project:
    """A folder with a module, and what it asks for in `pyproject.toml` or `requirements.txt`."""

    def __init__(self, folder: Path, work: Path | None = None) -> None:
        self.folder = folder.resolve()
        self.work = (work or self.folder / ".postern" / "build").resolve()
        self.packages = self.work / "packages"
        self.settings = self._settings()
        self.module = self._module()

    def _settings(self) -> dict[str, Any]:
        path = self.folder / "pyproject.toml"
        try:
            return tomllib.loads(path.read_text()) if path.is_file() else {}
        except tomllib.TOMLDecodeError as error:
            raise BuildError(f"{path}: {error}") from None

    def _module(self) -> str:
        named = self.settings.get("tool", {}).get("postern", {}).get("module")
        if named:
            return str(named)
        for name in MODULES:
            if (self.folder / f"{name}.py").is_file() or (self.folder / name / "__init__.py").is_file():
                return name
        names = ", ".join(f"{name}.py" for name in MODULES)
        raise BuildError(f"{self.folder} has none of {names}: name the module in pyproject.toml, [tool.postern] module")

    def dependencies(self) -> list[str]:
        """`[project] dependencies` of pyproject.toml."""
        return [str(each) for each in self.settings.get("project", {}).get("dependencies", [])]

    def requirements(self) -> list[str]:
        """What the project asks for: its dependencies, and the lines of requirements.txt."""
        path = self.folder / "requirements.txt"
        return [*self.dependencies(), *(requirement_lines(path) if path.is_file() else [])]

    def install(self) -> None:
        """Puts the packages beside the component. Only pure Python runs in one."""
        wanted = self.requirements()
        mark = self.work / "packages.sha256"
        asked = [COMPONENT_PYTHON, *wanted, *included(self.folder / "requirements.txt")]
        digest = hashlib.sha256("\n".join(asked).encode()).hexdigest()
        if mark.is_file() and mark.read_text() == digest:
            return
        # A build that ends from here on leaves packages that nobody may take for whole.
        mark.unlink(missing_ok=True)
        shutil.rmtree(self.packages, ignore_errors=True)
        self.packages.mkdir(parents=True)
        if wanted:
            # Isolated, so that pip is not a module of the project that is called so.
            pip = [sys.executable, "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            pure = ["--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none"]
            where = [f"--python-version={COMPONENT_PYTHON}", "--target", str(self.packages)]
            # pip reads the file itself: hashes, options and other files that it names.
            listed = ["-r", "requirements.txt"] if (self.folder / "requirements.txt").is_file() else []
            command = [*pip, *pure, *where, *listed, "--", *self.dependencies()]
            found = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
            if found.returncode:
                raise BuildError(
                    f"the packages {', '.join(wanted)} cannot be installed as pure Python for Python "
                    f"{COMPONENT_PYTHON}; a package with native code does not run in a component:\n"
                    f"{found.stderr.strip()}"
                )
        mark.write_text(digest)

    def load(self) -> None:
        """Loads the module, which marks its roles."""
        self.install()
        sys.path[:0] = [str(self.folder), str(self.packages)]
        sys.dont_write_bytecode = True
        try:
            importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            raise BuildError(f"module {self.module}: {error}: add the package to the project's dependencies") from error

    def roles(self) -> list[str]:
        """The interfaces that the component exports. Raises BuildError without any."""
        from .roles import registered
        from .service import services

        made = services()
        try:
            methods = [method for each in made for method in each.all_methods()]
            schemas = [name for each in made for name in each.schemas()]
        except (TypeError, NameError) as error:
            raise BuildError(f"module {self.module}: {error}") from error
        awaiting = [method.name for method in methods if method.is_async]
        if registered.async_stream_handler and awaiting:
            raise BuildError(
                f"module {self.module}: the methods {', '.join(awaiting)} are async beside an async_stream_handler, whose "
                "event loop is the component's own: make them plain functions, or a plugin of their own"
            )
        found = []
        if any(method.kind == "unary" for method in methods):
            found += ["handler", "batch-handler"]
        if any(method.kind != "unary" for method in methods):
            found.append("stream-handler")
        if made:
            found.append("describe")
        if schemas:
            found.append("schemas")
        marked = {
            "event-handler": registered.event_handler,
            "request-interceptor": registered.request_interceptor,
            "response-interceptor": registered.response_interceptor,
            "balancer": registered.balancer,
            "frame-extension": registered.frame_extension,
            "authenticator": registered.authenticator,
            "authorizer": registered.authorizer,
            "async-stream-handler": registered.async_stream_handler,
        }
        found += [role for role, value in marked.items() if value is not None]
        if not found:
            raise BuildError(f"module {self.module} has no role: make a Service with methods, or mark a function")
        return [*found, "health"]

    def late_imports(self) -> list[str]:
        """Modules that are imported within functions. A component has no files, so that what is not
        loaded when it is built is not there when it runs."""
        found = set(LATE_MODULES)
        for name, path in self._sources():
            found |= imported_within(path.read_text(encoding="utf-8"), name, path.name == "__init__.py")
        return sorted(found)

    def _sources(self) -> list[tuple[str, Path]]:
        """Name and file of the modules of the project and its packages that are loaded; not those of the SDK."""
        found = []
        for name, module in list(sys.modules.items()):
            path = Path(getattr(module, "__file__", None) or "")
            is_own = path.is_relative_to(self.folder) or path.is_relative_to(self.packages)
            if path.suffix == ".py" and is_own and not path.is_relative_to(SDK):
                found.append((name, path))
        return found

    def used_imports(self) -> list[str]:
        """The imports that the source names. A component that has no `kv` and no `client` is known not to
        wait, and an interceptor is then entered directly."""
        found: set[str] = set()
        for _, path in self._sources():
            found |= names_used(path.read_text(encoding="utf-8"))
        return [*IMPORTS, *(name for name in OPTIONAL_IMPORTS if name in found)]

    def componentize(self, roles: list[str], wit: Path, out: Path) -> None:
        """Writes world and glue, and runs componentize-py."""
        version = package_version(wit)
        folder = self.work / "wit"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(wit, folder / "deps" / "postern-gateway")
        (folder / "world.wit").write_text(world(roles, self.used_imports(), version))
        (self.work / "postern_glue.py").write_text(glue(self.module, roles, self.late_imports()))
        made = self.work / "component.wasm"
        paths = [self.work, self.folder, self.packages, SDK]
        command = [sys.executable, "-c", "import sys, componentize_py; sys.exit(componentize_py.script())"]
        command += ["-d", str(folder), "-w", "guest", "componentize", "postern_glue", "-o", str(made)]
        for path in paths:
            command += ["-p", str(path)]
        # The packages of the environment that builds are not those of the component.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        found = subprocess.run(
            command, cwd=self.work, capture_output=True, text=True, check=False, env={**environment, "PYTHONNOUSERSITE": "1"}
        )
        if found.returncode:
            raise BuildError(f"componentize-py failed:\n{(found.stdout + found.stderr).strip()}")
        out.parent.mkdir(parents=True, exist_ok=True)
        os.replace(made, out) if made.stat().st_dev == out.parent.stat().st_dev else shutil.move(made, out)


def requirement_lines(path: Path) -> list[str]:
    """The lines of a file of pip's, without comments and with those that go on joined."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"{path}: {error}") from None
    lines = (line.split(" #")[0].strip() for line in text.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def included(path: Path, known: set[Path] | None = None) -> list[str]:
    """The lines of the files that a file of pip's names, and of those that these name."""
    known = {path} if known is None else known
    found: list[str] = []
    for line in requirement_lines(path) if path.is_file() else []:
        named = re.match(r"(?:-r|-c|--requirement|--constraint)[ =]*(\S+)", line)
        other = named and path.parent / named[1]
        if other and other.is_file() and other not in known:
            known.add(other)
            found += [*requirement_lines(other), *included(other, known)]
    return found


def package_version(wit: Path) -> str:
    """`0.1.0` of `package postern:gateway@0.1.0;`."""
    for path in sorted(wit.glob("*.wit")):
        for line in path.read_text().splitlines():
            if line.startswith("package postern:gateway@"):
                return line.removeprefix("package postern:gateway@").rstrip("; ")
    raise BuildError(f"{wit} has no package postern:gateway")


def world(roles: list[str], used: list[str], version: str) -> str:
    """The world that has just these roles and imports."""
    imports = [*used, *sorted({name for role in roles for name in ROLE_IMPORTS.get(role, [])})]
    lines = [f"    import postern:gateway/{name}@{version};" for name in imports]
    lines += [f"    export postern:gateway/{role}@{version};" for role in roles]
    body = "\n".join(lines)
    return f"package postern:generated;\n\nworld guest {{\n{body}\n}}\n"


def names_used(source: str) -> set[str]:
    """Names that are imported from somewhere or asked of something: `from postern import kv`, `postern.kv`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            found |= set(OPTIONAL_IMPORTS) if "*" in names and node.module == "postern" else names
            found |= set((node.module or "").split("."))
        elif isinstance(node, ast.Import):
            found |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
    return found


def imported_within(source: str, module: str, is_package: bool) -> set[str]:
    """Modules that the functions of a module import."""
    found: set[str] = set()
    package = module if is_package else module.rpartition(".")[0]
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                base = ".".join([*parents, *([node.module] if node.module else [])])
                found |= {base, *(f"{base}.{alias.name}" for alias in node.names)} - {""}
    return found


def glue(module: str, roles: list[str], late: list[str]) -> str:
    """The module that exports the roles."""
    usual = ", ".join(CLASSES[role] for role in roles if role not in CLASS_MODULES)
    others = "".join(f"from postern.{CLASS_MODULES[role]} import {CLASSES[role]}\n" for role in roles if role in CLASS_MODULES)
    return (
        f"import importlib\n\nimport {module}\nfrom postern._component import {usual}, prepare\n{others}\n"
        f"for name in {late!r}:\n"
        "    try:\n        importlib.import_module(name)\n"
        "    except Exception:\n        pass  # a name that is no module, or one that this platform lacks\n"
        "prepare()\n"
    )


if __name__ == "__main__":
    sys.exit(main())
