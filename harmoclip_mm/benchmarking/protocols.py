"""The protocols there are, and what each needs.

A protocol is a config of ``configs/evaluation/`` with an entry ``benchmark``:
its ``task`` in words, whether it is ``'local'`` or ``'global'``, the
``figures`` of a table by their headings, where its ``data`` come from,
``quick`` for the short suite, and what folders must hold, as patterns:
``files`` in a folder of annotations, ``subfolders`` in that of images.
"""

import json
import os
import os.path as osp
from dataclasses import dataclass
from difflib import get_close_matches
from glob import escape, glob
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from mmengine.config import Config

from harmoclip_mm.apis import load_config
from harmoclip_mm.datasets.shards import expand_braces
from harmoclip_mm.errors import UsageError

SUITES = ('quick', 'full')
_PLACES = ('ann_file', 'clip', 'data_prefix', 'data_root', 'proposal_file')
# Metrics whose figures are shares of 1; all others are in percent.
_SHARES = ('coco/', 'lvis/', 'ov_coco/', 'refexp/')


@dataclass(frozen=True)
class Protocol:
    """A protocol.

    Attributes:
        name (str): Name of its config file.
        path (str): The file.
        annotations (Tuple[str]): Files, or folders of files, that it reads.
        folders (Tuple[str]): Folders of images, or tars with braces.
        settings (str): Its model, data set and metrics, without paths.
        task (str): What is measured, in words.
        kind (str): ``'local'`` or ``'global'``.
        figures (Dict[str, str]): Headings and keys of the figures of its
            tables.
        score (Tuple[str]): Headings whose mean stands for the protocol in a
            picture.
        data (str): Where its data come from.
        quick (bool): Whether it belongs to the short suite.
        files (Sequence[str]): Patterns of files that a folder of annotations
            must have.
        subfolders (Sequence[str]): Patterns of folders with images, in those
            of ``folders``.
    """

    name: str
    path: str
    annotations: Sequence[str]
    folders: Sequence[str]
    settings: str
    task: str
    kind: str
    figures: Mapping[str, str]
    score: Sequence[str]
    data: str
    quick: bool = False
    files: Sequence[str] = ('*',)
    subfolders: Sequence[str] = ('',)

    @classmethod
    def read(cls, path: Path) -> Optional['Protocol']:
        """Read a config; None if it is no protocol of the benchmark."""
        cfg = load_config(str(path))
        if 'benchmark' not in cfg:
            return None
        entry = cfg.benchmark.to_dict()
        entry.setdefault('score', list(entry['figures'])[:1])
        annotations: List[str] = []
        folders: List[str] = []
        _find_data(cfg.test_dataloader.dataset, annotations, folders)
        places = (tuple(dict.fromkeys(x)) for x in (annotations, folders))
        loader, metrics = cfg.test_dataloader, cfg.test_evaluator
        parts = _without_paths([cfg.model, loader.dataset, metrics])
        settings = json.dumps(parts, sort_keys=True, default=str)
        return cls(path.stem, str(path), *places, settings, **entry)

    def config(self, clip: Any) -> Config:
        """Its config for a CLIP: a name, a folder or a dict."""
        return load_config(self.path, {'clip': clip})

    def missing(self) -> List[str]:
        """Files that are not there, and folders that are not or are empty."""
        paths: List[str] = []
        for path in self.annotations:
            if not osp.isdir(path):
                paths += [] if osp.exists(path) else [path]
                continue
            for name in self.files:
                if not glob(osp.join(escape(path), name)):
                    paths.append(osp.join(path, name))
        for path in self.image_roots:
            # a tar needs nothing but to be there
            for name in () if osp.isfile(path) else self.subfolders:
                found = glob(osp.join(escape(path), name))
                if not any(map(os.listdir, found)):
                    paths.append(osp.join(path, name) if name else path)
        return paths

    @property
    def image_roots(self) -> List[str]:
        """Folders of images, and each tar."""
        return [path for each in self.folders for path in expand_braces(each)]

    def headline(self, figures: Mapping[str, float]) -> Dict[str, float]:
        """The figures of its tables in percent, by their headings.

        Args:
            figures (Mapping[str, float]): All that its metrics gave.

        Returns:
            Dict[str, float]: Those that are there.
        """
        return {
            heading: figures[key] * (100 if key.startswith(_SHARES) else 1)
            for heading, key in self.figures.items()
            if figures.get(key) is not None
        }


def choose_protocols(suite: Union[str, Sequence[str]]) -> List[Protocol]:
    """Look protocols up.

    Args:
        suite (str | Sequence[str]): ``'quick'``, ``'full'`` (all there are),
            or names or config files, as a list or with commas between them.

    Returns:
        List[Protocol]: The protocols, by name.

    Raises:
        UsageError: If there is no such protocol, or two of one name.
    """
    names = suite.split(',') if isinstance(suite, str) else list(suite)
    names = [each.strip() for each in names] or ['']
    files = {path.stem: path for path in sorted(config_folder().glob('*.py'))}
    if names in (['quick'], ['full']):
        found = filter(None, map(Protocol.read, files.values()))
        return [each for each in found if each.quick or names == ['full']]
    chosen = []
    for name in names:
        path = files.get(name, Path(name))
        own = name in files or (path.suffix == '.py' and path.is_file())
        protocol = Protocol.read(path) if own else None
        if protocol is None:
            near = get_close_matches(name, [*SUITES, *files], 1)
            raise UsageError(
                f'there is no protocol {name!r}'
                + (f'; is it {near[0]}?' if near and near[0] != name else '.')
                + f' Suites are {", ".join(SUITES)}; names are those of the '
                f'files of {config_folder()} without _proposals'
            )
        first = files.setdefault(path.stem, path)  # rows go by names
        if first.resolve() != path.resolve():
            raise UsageError(
                f'{path} has the name of the protocol {first}, from which its '
                'figures could not be told: name the file differently'
            )
        chosen.append(protocol)
    return chosen


def config_folder() -> Path:
    """``configs/evaluation`` of the checkout, or of an installed package."""
    package = Path(__file__).resolve().parents[1]
    for top in (package.parent, package / '.mim'):
        folder = top / 'configs' / 'evaluation'
        if folder.is_dir():
            return folder
    raise UsageError(
        f'configs/evaluation is neither beside {package} nor in its .mim: '
        'install the package by pip install -e from a clone'
    )


def _without_paths(part: Any) -> Any:
    """A part of a config but for where its data lie and which CLIP it has."""
    if isinstance(part, Mapping):
        return {
            k: _without_paths(v) for k, v in part.items() if k not in _PLACES
        }
    if isinstance(part, (list, tuple)):
        return [_without_paths(each) for each in part]
    return part


def _find_data(part: Any, annotations: List[str], folders: List[str]) -> None:
    """Collect what a data set reads."""
    if isinstance(part, (list, tuple)):
        for each in part:
            _find_data(each, annotations, folders)
    if not isinstance(part, Mapping):
        return
    root = part.get('data_root') or ''
    for key in ('ann_file', 'proposal_file'):
        if part.get(key):
            annotations.append(osp.join(root, part[key]))
    images = list((part.get('data_prefix') or {}).values())
    if not part.get('ann_file') and part.get('split'):  # ImageNet's
        images.append(part['split'])
    folders += [osp.join(root, each) for each in images]
    for key in ('dataset', 'datasets', 'pipeline', 'transforms'):
        _find_data(part.get(key), annotations, folders)
