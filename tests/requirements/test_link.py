"""The command that requirements/link.sh makes, which both a checkout's environment and the image use."""

import os
import pty
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.world import ROOT

pytestmark = pytest.mark.unit
MAIN = "import sys\ndef main():\n    print(sys.argv[1:], sys.prefix)\n"
PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"


def environment_in(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    return folder / ".venv"


@pytest.mark.parametrize("name", ["project", "my flight deck", "$(tools) #1, it's 100 %"])
def test_an_environment_is_linked_to_its_project(tmp_path, name):
    project = tmp_path / name
    environment = environment_in(project)
    (project / "requirements").mkdir()
    shutil.copy(ROOT / "requirements" / "link.sh", project / "requirements")
    (project / "flightdeck").mkdir()
    (project / "flightdeck" / "__main__.py").write_text(MAIN)

    subprocess.run([project / "requirements" / "link.sh", environment], check=True)

    command, python = environment / "bin" / "flightdeck", environment / "bin" / "python"
    (tmp_path / "elsewhere").symlink_to(command)
    for called in ([command], [python, command], [tmp_path / "elsewhere"], [Path(os.path.relpath(command, tmp_path))]):
        printed = subprocess.check_output([*called, "a b", "$c"], cwd=tmp_path, text=True)
        assert printed == f"{['a b', '$c']} {environment}\n"
    program = "import sys; print('tfx_bsl.arrow.sql_util' in sys.modules)"
    assert subprocess.check_output([python, "-c", program], cwd=tmp_path, text=True) == "True\n"


def said_on_a_terminal(command: str, folder: Path) -> str:
    """What a shell that knows no program of ours shows of a command, whose standard error is a terminal."""
    terminal, of_the_command = pty.openpty()
    subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
        stderr=of_the_command,
        check=True,
    )
    os.write(of_the_command, b"\0")
    os.close(of_the_command)
    shown = os.read(terminal, 10_000)
    os.close(terminal)
    return shown.removesuffix(b"\0").decode().replace("\r\n", "\n")


def test_a_shell_that_does_not_know_the_command_is_told_what_to_type(tmp_path):
    """All that is printed says `flightdeck ...`, so that has to work when it is pasted."""
    environment = environment_in(tmp_path / "my flight deck")
    subprocess.run([ROOT / "requirements" / "link.sh", environment], check=True)
    packages = subprocess.check_output([environment / "bin" / "python", "-c", PACKAGES], text=True).strip()
    Path(packages, "of-the-tests.pth").write_text(sysconfig.get_path("purelib") + "\n")

    for folder in (environment.parent, tmp_path, ROOT):
        command = shlex.quote(os.path.relpath(environment / "bin" / "flightdeck", folder))
        said = said_on_a_terminal(f"{command} lab list", folder)
        assert said.startswith("`flightdeck` is not on the PATH of this shell yet; to put it there: source ")
        assert said.count("\n") == 1

        activate = said.split(": ")[1].strip()
        assert said_on_a_terminal(f"{activate} && flightdeck lab list", folder) == ""
        assert said_on_a_terminal(f"{command} lab list --json", folder) == ""
