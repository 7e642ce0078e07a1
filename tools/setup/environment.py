"""A virtual environment: making it, installing into it, what is known of it.

Standard library only: this runs before anything is installed.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List, Optional

from console import InstallError, run_logged

__all__ = ['Environment']

STATE_FILE = 'harmoclip_mm_install.json'


class Environment:
    """A virtual environment and what we remember about it.

    Args:
        folder (Path): Its folder; need not exist.
        constraints (Path): pip constraints that every installation keeps.
    """

    def __init__(self, folder: Path, constraints: Path) -> None:
        self.constraints = constraints
        self.folder = Path(os.path.abspath(folder))
        self.python = self.folder / 'bin' / 'python'
        self.logs = self.folder / 'install_logs'
        self.lock = self.folder / '.harmoclip_mm_install.lock'

    @property
    def state(self) -> Dict[str, str]:
        """Remembered stamp and mmcv key; empty if nothing is known."""
        try:
            text = (self.folder / STATE_FILE).read_text(encoding='utf-8')
            state = json.loads(text)
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def remember(self, **entries: Optional[str]) -> None:
        """Write entries into the state file; None removes one."""
        state = {**self.state, **entries}
        state = {key: value for key, value in state.items() if value}
        path = self.folder / STATE_FILE
        part = path.with_suffix('.part')
        part.write_text(json.dumps(state, indent=2), encoding='utf-8')
        part.replace(path)

    def check_folder(self) -> None:
        """Refuse a folder that holds something else than an environment.

        Raises:
            InstallError: If it does.
        """
        if self.lock.exists() or (self.folder / 'pyvenv.cfg').exists():
            return  # the lock: we, or another process, have begun with it
        if self.folder.exists() and (
            not self.folder.is_dir() or any(self.folder.iterdir())
        ):
            raise InstallError(
                f'{self.folder} exists but is no virtual environment: choose '
                'another folder with `make install VENV=folder`.'
            )

    def version(self) -> Optional[str]:
        """``major.minor`` of its Python; None if that does not run."""
        code = 'import sys; print("%d.%d" % sys.version_info[:2])'
        try:
            return self.run([str(self.python), '-c', code]).strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    @staticmethod
    def run(command: List[str]) -> str:
        """Run a quick command and return what it prints."""
        return subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def succeeds(self, *arguments: str) -> bool:
        """Whether its Python ends well with these arguments."""
        try:
            self.run([str(self.python), *arguments])
        except (OSError, subprocess.CalledProcessError):
            return False
        return True

    def create(self) -> None:
        """Create it, or mend one whose creation was interrupted.

        Raises:
            InstallError: If it was made with another version of Python, or
                cannot be made.
        """
        wanted = '{}.{}'.format(*sys.version_info[:2])
        found = self.version()
        if found is not None and found != wanted:
            raise InstallError(
                f'{self.folder} was made with Python {found} but this is '
                f'Python {wanted}: remove it, choose another folder with '
                f'VENV=folder, or call make with PYTHON=python{found}.'
            )
        if found is not None and self.succeeds('-m', 'pip', '--version'):
            return
        command = [sys.executable, '-m', 'venv']
        if find_spec('ensurepip') is not None:
            run_logged(
                [*command, str(self.folder)],
                self.logs / 'venv.log',
                f'creating {self.folder}',
            )
            return
        # Debian's python3 without python3-venv: let the outer pip put one in.
        run_logged(
            [*command, '--without-pip', str(self.folder)],
            self.logs / 'venv.log',
            f'creating {self.folder}',
        )
        run_logged(
            [
                *(sys.executable, '-m', 'pip', '--python', str(self.python)),
                *('install', '--disable-pip-version-check', 'pip>=23'),
            ],
            self.logs / 'venv-pip.log',
            'installing pip into it',
        )

    def pip_install(self, log: str, label: str, *arguments: str) -> None:
        """Run ``pip install`` under the constraints.

        Args:
            log (str): Name of the log file, without suffix.
            label (str): What is being installed.
            *arguments (str): Requirements and options.
        """
        run_logged(
            [
                *(str(self.python), '-m', 'pip', 'install'),
                *('--disable-pip-version-check', '--no-input'),
                *('--progress-bar', 'off', '-c', str(self.constraints)),
                *arguments,
            ],
            self.logs / f'{log}.log',
            label,
        )
