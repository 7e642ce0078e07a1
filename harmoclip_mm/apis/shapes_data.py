"""Drawn shapes for a tool: drawn once, kept for the next call."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from rich.console import Console

from harmoclip_mm.datasets import shape_outlines, synthetic_shapes
from harmoclip_mm.text import vocabularies

from .child_process import run_child

# Tiny models gain nothing from more threads.
MAX_THREADS = 8


def child_environment(repository: Path) -> Dict[str, str]:
    """Environment of the tools that another tool starts.

    Args:
        repository (Path): Root of the repository.

    Returns:
        dict[str, str]: ``PYTHONPATH`` with the repository first, and
        ``OMP_NUM_THREADS``: as it is set, or the cores, 8 at most.
    """
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, 'sched_getaffinity')
        else os.cpu_count() or 1
    )
    paths = [str(repository), os.environ.get('PYTHONPATH', '')]
    return {
        'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS')
        or str(min(cores, MAX_THREADS)),
        'PYTHONPATH': os.pathsep.join(filter(None, paths)),
    }


def draw_shapes(
    tool: Path,
    out_dir: Path,
    options: Mapping[str, Any],
    log: Path,
    env: Optional[Mapping[str, str]] = None,
    console: Optional[Console] = None,
    fresh: bool = False,
) -> None:
    """Draw the shapes, unless the same were drawn before.

    Args:
        tool (Path): ``tools/dataset_converters/shapes.py``.
        out_dir (Path): Folder of the data.
        options (Mapping): Options of the tool by name, values numbers or
            sequences of them.
        log (Path): File for the output of the tool.
        env (Mapping[str, str], optional): Added to its environment.
        console (Console, optional): Where to print. Defaults to stdout.
        fresh (bool): Draw in any case. Defaults to False.

    Raises:
        UsageError: If the tool fails.
    """
    console = console or Console()
    digest = hashlib.sha256(tool.read_bytes())
    # whatever changes the pictures
    for module in (shape_outlines, synthetic_shapes):
        digest.update(Path(module.__file__).read_bytes())
    names = Path(vocabularies.__file__).parent / 'data' / 'vocabularies'
    digest.update((names / 'shapes80.json').read_bytes())
    settings = json.loads(
        json.dumps({**options, 'drawing_code': digest.hexdigest()})
    )
    stamp = out_dir / 'settings.json'
    if (
        not fresh
        and stamp.is_file()
        and json.loads(stamp.read_text()) == settings
    ):
        console.print(f'  drawn before, in {out_dir}', highlight=False)
        return
    stamp.unlink(missing_ok=True)
    arguments: List[str] = []
    for name, value in options.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        arguments += [f'--{name}', *map(str, values)]
    run_child(
        [sys.executable, tool, out_dir, *arguments],
        log=log,
        label='drawing',
        env=env,
        console=console,
    )
    stamp.write_text(json.dumps(settings, indent=2) + '\n')
