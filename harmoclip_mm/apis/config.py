"""Reading a config the way every tool does."""

import copy
import inspect
import os.path as osp
import traceback
from difflib import get_close_matches
from typing import Any, Collection, Optional

from mmengine.config import Config

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import CLIPS


def load_config(
    filename: str,
    cfg_options: Optional[dict] = None,
    work_dir: Optional[str] = None,
) -> Config:
    """Read a config file and settle its CLIP, options and work folder.

    Args:
        filename (str): The config file.
        cfg_options (dict, optional): Settings that replace those of the
            file, keys dotted as in ``--cfg-options``. Defaults to None.
        work_dir (str, optional): Folder of logs and checkpoints. Defaults to
            None: ``work_dir`` of the config, or else
            ``./work_dirs/<name of the config file>``.

    A key that is in no config yet is taken where something reads it: at the
    top what mmengine's Runner takes, in a dict with a ``type`` any value,
    since its class says what it takes, and else a dict that brings its own
    ``type``. What is left are misspelt words.

    Returns:
        Config: The config, with ``work_dir`` set and its CLIP in all parts,
        see :func:`set_clip`.

    Raises:
        UsageError: If the file does not exist, cannot be read or names no
            CLIP that there is, or an option is read by nothing or names the
            CLIP of a part alone.
    """
    if not osp.isfile(filename):
        raise UsageError(f'config file {filename} does not exist')
    cfg = _read(filename)
    options = dict(cfg_options or {})
    clip = options.pop('clip', None)
    for key in options:
        _check_option(cfg, key, options)
        if 'clip' in key.split('.')[1:] and cfg.get('clip') is not None:
            raise UsageError(
                f'--cfg-options {key}: all parts have the CLIP of the line '
                '`clip = ...`: give clip=NAME'
            )
    cfg.merge_from_dict(options)
    if clip is not None:  # as a whole: mmengine would merge two dicts
        cfg.clip = clip
    set_clip(cfg)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        name = osp.splitext(osp.basename(filename))[0]
        cfg.work_dir = osp.join('./work_dirs', name)
    return cfg


def _read(filename: str) -> Config:
    """Read a config without a line for each variable of the environment."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')
    try:
        return Config.fromfile(filename)
    except Exception as error:  # a config is code of the user
        lines = [
            f'line {line} of {frame.f_code.co_filename}: '
            for frame, line in traceback.walk_tb(error.__traceback__)
            if '__name__' not in frame.f_globals  # of no module
        ]
        raise UsageError(
            f'config file {filename} or one of its _base_ cannot be read: '
            f'{"".join(lines[-1:])}{type(error).__name__}: {error}'
        ) from error
    finally:
        logger.setLevel(level)


def _check_option(cfg: Config, key: str, options: Collection[str]) -> None:
    """Refuses a key that seems to be misspelt, see :func:`load_config`, and
    names the nearest one."""
    node, path, parts = dict(cfg.items()), '', key.split('.')
    for depth, part in enumerate(parts, 1):
        if isinstance(node, (list, tuple)):
            names, strict = [str(index) for index in range(len(node))], True
        elif isinstance(node, dict):
            names, typed = list(node), 'type' in node
            if path and typed and depth == len(parts):
                return
            # heads, hooks or a loader's parts: beside what a registry builds
            # there is nothing else
            beside = any(
                isinstance(e, dict) and 'type' in e for e in node.values()
            )
            strict = not path or (beside and not typed and depth < len(parts))
        else:  # a value, of which mmengine makes no dict
            return
        if part not in names:
            names += [] if path else _runner_settings()
            near = get_close_matches(part, names, 1, 0 if strict else 0.8)
            if (
                (not path and part in names)
                or f'{path}{part}.type' in options
                or not (strict or near)
            ):
                return
            where = f' in {path[:-1]}' if path else ' in the config'
            raise UsageError(
                f'--cfg-options {key}: there is no {part!r}{where}'
                + (f'; is it {path}{near[0]}?' if near else '')
            )
        node = node[int(part)] if part.isdigit() else node[part]
        path += f'{part}.'


def _runner_settings() -> list:
    """What mmengine's Runner takes, and what it reads from the config."""
    # here, since it imports torch
    from mmengine.runner import Runner

    return [
        *inspect.signature(Runner).parameters,
        *('activation_checkpointing', 'clip', 'compile', 'custom_imports'),
        *('efficient_conv_bn_eval', 'find_unused_parameters'),
        *('model_wrapper_cfg', 'sync_bn'),
    ]


def set_clip(cfg: Config) -> None:
    """Write the CLIP of a config into every part that has one, in place.

    The parts are all dicts below the config with a key ``clip``, such as
    the model and the transforms; their values are replaced by that of the
    top level. A config whose top level has no ``clip`` is left alone.

    Args:
        cfg (Config): The config.

    Raises:
        UsageError: If there is no such CLIP.
    """
    clip = cfg.get('clip')
    if clip is None:
        return
    CLIPS.get('CLIPSpec')(clip)
    for key, value in cfg.items():
        if key != 'clip':
            _write(value, clip)


def _write(part: Any, clip: Any) -> None:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == 'clip':
                part[key] = copy.deepcopy(clip)
            else:
                _write(value, clip)
    elif isinstance(part, (list, tuple)):
        for each in part:
            _write(each, clip)
