"""What `new` writes is installed into a new environment, and does there what it promises.

These are slow, and need a package registry. One environment serves all four kinds.
"""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

import pytest

from langchain_wrap.scaffold.kinds import KINDS
from langchain_wrap.scaffold.names import Names
from langchain_wrap.scaffold.writing import write

ROOT = Path(__file__).parents[2]
PIP = ("-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check")
PIP_INSTALL = (*PIP, "install", "--retries", "1", "--timeout", "20")
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.timeout(600)


class Packages(NamedTuple):
    """One package of each kind, and the environment that they are installed in."""

    folder: Path
    python: Path

    def run(self, kind, *args, seconds=300, **variables):
        """Run the environment's Python in a package's folder, as its author would."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PYTEST", "COV_"))
        }
        return subprocess.run(
            [self.python, *args],
            cwd=self.folder / kind,
            env={**inherited, "COLUMNS": "100", "NO_COLOR": "1", **variables},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def install(self, *requirements):
        done = self.run(".", *PIP_INSTALL, *requirements)
        if done.returncode:
            pytest.fail(
                "pip could not install the packages; this needs a package registry:\n"
                + done.stderr[-2000:],
                pytrace=False,
            )


def names(kind):
    return Names.of(f"trial-{kind}")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    venv.create(folder / "venv", with_pip=True)
    found = Packages(folder, folder / "venv" / "bin" / "python")
    for kind in KINDS:
        write(names(kind), kind, folder / kind)
    # A package is installed with nothing more of ours than it asks for. Five builds, each in an
    # environment of its own, would take most of the time.
    found.install("hatchling>=1.27", "editables")
    editable = [arg for kind in KINDS for arg in ("-e", f"./{kind}[test]")]
    found.install("--no-build-isolation", str(ROOT), *editable)
    return found


@pytest.fixture(scope="module")
def with_command(packages):
    packages.install("rich", "typer")
    return packages


@pytest.mark.parametrize("kind", KINDS)
class TestPackage:
    def test_its_own_tests_pass(self, packages, kind):
        done = packages.run(kind, "-m", "pytest")
        assert done.returncode == 0, done.stdout + done.stderr
        assert " passed" in done.stdout
        assert "failed" not in done.stdout

    def test_the_types_are_right(self, packages, kind):
        mypy = ("-m", "mypy", "--strict", "--config-file", os.devnull)
        where = ("--python-executable", packages.python, "--cache-dir", packages.folder / "mypy")
        done = subprocess.run(
            [sys.executable, *mypy, *where, "src", "tests"],
            cwd=packages.folder / kind,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout

    def test_the_readme_runs(self, packages, kind, service):
        readme = (packages.folder / kind / "README.md").read_text("utf-8")
        (block,) = PYTHON_BLOCK.findall(readme)
        done = packages.run(kind, "-W", "error", "-c", block, **service)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.split()) >= 32

    def test_the_command_runs_and_checks_it(self, with_command, kind, service):
        spec = f"{names(kind).module}:{names(kind).cls}"
        main = ("-c", "from langchain_wrap.cli import main; main()")
        ran = with_command.run(
            kind, *main, "run", spec, "Once", "--param", "max_tokens=3", **service
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        assert len(ran.stdout.split()) == 3
        checked = with_command.run(kind, *main, "check", spec, "--only", "CALL", **service)
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture(scope="module")
def service(packages):
    """Start the server of the http package as its README says; return the variables for it."""
    program = packages.folder / "http" / "tests" / "server.py"
    with subprocess.Popen(
        [packages.python, program, "0"], stdout=subprocess.PIPE, text=True
    ) as run:
        yield {
            "TRIAL_HTTP_BASE_URL": run.stdout.readline().strip(),
            "TRIAL_HTTP_API_KEY": "test-key",
            "no_proxy": "127.0.0.1",
        }
        run.kill()


def test_the_installed_command_has_its_templates(with_command, tmp_path):
    main = ("-c", "from langchain_wrap.cli import main; main()")
    done = with_command.run(".", *main, "new", "another", "--path", str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    written = {str(p.relative_to(tmp_path / "new")) for p in (tmp_path / "new").rglob("*")}
    assert {".gitignore", ".github/workflows/test.yml", "src/langchain_another/py.typed"} <= written
