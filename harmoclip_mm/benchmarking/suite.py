"""Protocols for checkpoints: what will run, the run, and its rows."""

import os
import os.path as osp
import time
from contextlib import contextmanager
from datetime import datetime
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Union,
)

import torch
from mmengine.device import get_device
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from harmoclip_mm.apis import load_clip, load_config
from harmoclip_mm.engine import quieten_libraries
from harmoclip_mm.errors import UsageError
from harmoclip_mm.models import HarmoCLIP
from harmoclip_mm.models.checkpoints import read_checkpoint
from harmoclip_mm.models.towers import clip_spec
from harmoclip_mm.registry import MODELS

from .protocols import Protocol, choose_protocols
from .report import show_results, write_report
from .results_file import Results, hash_of_weights, software_versions
from .running import Test, run_together
from .shared_images import group_by_images

Source = Union[str, os.PathLike, HarmoCLIP]


def benchmark(
    model: Union[Source, Sequence[Source]],
    suite: Union[str, Sequence[str]] = 'quick',
    clip: Any = None,
    limit: Optional[int] = None,
    out: Optional[str] = None,
    amp: bool = False,
    device: Optional[str] = None,
    num_workers: Optional[int] = None,
) -> List[Dict[str, Any]]:
    """Measures figures of the field for CLIPs.

    Protocols are the configs of ``configs/evaluation/``; those whose data
    are missing are skipped. Images of protocols that see them alike are
    encoded once. Nothing is downloaded.

    Args:
        model (HarmoCLIP | str | Sequence): A model, a checkpoint of any
            format that :func:`load_clip` reads, ``'none'`` for random
            weights, or several of them.
        suite (str | Sequence[str]): ``'quick'``, ``'full'``, or names or
            config files of protocols. Defaults to ``'quick'``.
        clip (str | Mapping, optional): The CLIP of checkpoints that do not
            tell it, see :func:`load_clip`. For ``'none'`` it defaults to
            that of the protocols' configs.
        limit (int, optional): Samples of each protocol that are measured,
            the first ones. Defaults to None: all.
        out (str, optional): Folder of ``results.jsonl``, ``report.md`` and
            ``report.html``; what it has is not measured again. Defaults to
            None: nothing is written.
        amp (bool): Mixed precision. Defaults to False.
        device (str, optional): Where checkpoints run; a model stays where it
            is. Defaults to a GPU, if there is one.
        num_workers (int, optional): Processes that load images. Defaults to
            those of the configs.

    Returns:
        List[Dict[str, Any]]: A row for each model and protocol, with
        ``figures``, or with ``skipped``, the reason.

    Raises:
        UsageError: If there is no such protocol, or a checkpoint is none.

    Examples:
        >>> rows = harmoclip_mm.benchmark('ViT-B-16.pt', limit=100)
    """
    if limit is not None and limit < 1:
        raise UsageError(f'limit must be at least 1, not {limit}')
    several = isinstance(model, (list, tuple))
    console = Console(quiet=get_rank() != 0)
    if out is not None and get_rank() == 0:
        # a path that is a file or not writable is not to show after hours
        os.makedirs(osp.join(out, 'bootstrap'), exist_ok=True)
    quieten_libraries()
    results, rows = Results(out), []
    with _warnings_alone():
        init_default_scope('harmoclip_mm')
        protocols = choose_protocols(suite)
        missing = _say_plan(console, protocols)
        for source in model if several else [model]:
            if isinstance(source, os.PathLike):
                source = os.fspath(source)
            loaded = _load(source, clip, device, protocols[0])
            was_training = loaded.training
            rows += _measure_one(
                loaded.eval(),
                source if isinstance(source, str) else '',
                *(protocols, missing, results, console),
                limit=limit,
                amp=amp,
                num_workers=num_workers,
            )
            loaded.train(was_training)
            if out is not None and get_rank() == 0:
                write_report(out, rows, results, protocols)
    show_results(console, rows, protocols)
    return rows


@contextmanager
def _warnings_alone() -> Iterator[None]:
    """Keep tables of metrics and what data sets say off the terminal."""
    name = 'harmoclip_mm.benchmarking'
    MMLogger.get_instance(name, log_level='WARNING')
    try:
        yield
    finally:
        MMLogger._instance_dict.pop(name, None)


def _say_plan(
    console: Console, protocols: Sequence[Protocol]
) -> Dict[str, str]:
    """Tell what will run; gives why others will not."""
    table = Table(box=None)
    table.add_column('protocol', no_wrap=True)
    table.add_column('measures')
    table.add_column('data')
    missing = {}
    for each in protocols:
        paths = each.missing()
        if paths:
            missing[each.name] = f'{paths[0]} is missing; needs {each.data}'
        state = '[yellow]missing' if paths else 'there'
        table.add_row(each.name, each.task, state)
    console.print(table)
    by_reason: Dict[str, List[str]] = {}
    for name, reason in missing.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        # broken by the terminal itself, which keeps paths and links whole
        text = f'{escape(", ".join(names))}: [yellow]{escape(reason)}'
        console.print(text, soft_wrap=True, highlight=False)
    count = len(protocols) - len(missing)
    console.print(
        f'{count} of {len(protocols)} protocols have their data and will run.'
    )
    return missing


def _load(
    source: Source, clip: Any, device: Optional[str], protocol: Protocol
) -> HarmoCLIP:
    if isinstance(source, HarmoCLIP):
        return source
    device = device or get_device()
    if source.lower() != 'none':
        if clip is not None and _tells_its_clip(source):
            clip = None
        return load_clip(source, arch=clip, device=device)
    torch.manual_seed(0)
    clip = clip or load_config(protocol.path).clip
    model = MODELS.build(dict(type='harmoclip_mm.HarmoCLIP', clip=clip))
    model.init_weights()
    return model.to(device).eval()


def _tells_its_clip(checkpoint: str) -> bool:
    """Whether a checkpoint says which CLIP it is, one that is here."""
    try:
        clip_spec(read_checkpoint(checkpoint).clip)
    except UsageError:
        return False
    return True


def _measure_one(
    model: HarmoCLIP,
    name: str,
    protocols: Sequence[Protocol],
    missing: Mapping[str, str],
    results: Results,
    console: Console,
    limit: Optional[int],
    amp: bool,
    num_workers: Optional[int],
) -> List[Dict[str, Any]]:
    """Rows of one checkpoint, in the order of the protocols; a model without
    a name has a part of its hash."""
    clip, here = model.spec.clip, next(model.parameters()).device
    weights = hash_of_weights(model)
    name = name or f'{model.spec.name} {weights[:8]}'
    about = dict(
        checkpoint=name,
        clip=model.spec.name,
        versions=software_versions(),
        device=torch.cuda.get_device_name(here)
        if here.type == 'cuda'
        else here.type,
        processes=get_world_size(),
        checkpoint_hash=weights,
        limit=limit,
        amp=amp,
    )
    rows: Dict[str, Dict[str, Any]] = {}
    todo: Dict[str, Test] = {}
    for each in protocols:
        row = rows[each.name] = dict(about, protocol=each.name)
        reason = missing.get(each.name, '')
        if not reason:
            try:
                todo[each.name] = Test(each, clip, limit)
            except UsageError as error:
                reason = f'{error}; needs {each.data}'
        reasons = [text for text in all_gather_object(reason) if text]
        if reasons:  # on one machine is on none
            row['skipped'] = reasons[0]
            todo.pop(each.name, None)
            continue
        row['data_hash'] = all_gather_object(todo[each.name].data_hash)[0]
        found = all_gather_object(results.find(row))[0]
        if found:
            rows[each.name] = {**found, 'checkpoint': name}
            del todo[each.name]
    groups = group_by_images(
        {each: test.images for each, test in todo.items()},
        {each: test.input for each, test in todo.items()},
    )
    classifiers: Dict[str, Any] = {}
    with Progress(
        *Progress.get_default_columns(),
        MofNCompleteColumn(),
        console=console,
        disable=not groups,
    ) as progress:
        task = progress.add_task(
            osp.basename(name) or name,
            total=sum(
                len({path for each in group for path in todo[each].images})
                for group in groups
            ),
        )
        for group in groups:
            start = time.monotonic()
            found = run_together(
                model,
                {each: todo[each] for each in group},
                amp=amp,
                num_workers=num_workers,
                classifiers=classifiers,
                progress=lambda n: progress.advance(
                    task, n * get_world_size()
                ),
            )
            seconds = round(time.monotonic() - start, 1)
            for each, (measured, samples) in found.items():
                rows[each].update(
                    date=datetime.now().isoformat(timespec='seconds'),
                    seconds=seconds,
                    together_with=[x for x in group if x != each],
                    samples=len(todo[each].dataset),
                    images=len(set(todo[each].images)),
                    **measured,
                )
                if 'skipped' not in measured:
                    results.add(rows[each], samples)
    return list(rows.values())
