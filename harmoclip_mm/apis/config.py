"""Reading a config the way every tool does."""

import copy
import inspect
import os.path as osp
import traceback
from difflib import get_close_matches
from typing import Any, Collection, Mapping, Optional

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
        check_option(cfg, key, options)
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


def check_option(cfg: Config, key: str, options: Collection[str]) -> None:
    """Check that something reads an option, see :func:`load_config`.

    Args:
        cfg (Config): The config, without the options.
        key (str): Dotted key of the option.
        options (Collection[str]): The keys of all options.

    Raises:
        UsageError: If the key seems to be misspelt; names the nearest one.
    """
    node, path, parts = cfg, '', key.split('.')
    for depth, part in enumerate(parts):
        if isinstance(node, (list, tuple)):
            names = [str(index) for index in range(len(node))]
            free = False
        elif isinstance(node, dict) or depth == 0:
            names = list(node)
            free = _is_free(node, part, len(parts) - depth == 1)
        else:  # a value, of which mmengine makes no dict
            return
        if part not in names:
            loop = []
            if path == 'train_cfg.' and 'train_cfg.type' not in options:
                loop = _loop_settings(node)
            if part in loop:
                return
            names += loop
            if (not loop and free) or f'{path}{part}.type' in options:
                return
            if depth == 0:
                names += _runner_settings()
                if part in names:
                    return
            near = get_close_matches(part, names, 1, 0)
            where = f' in {path[:-1]}' if path else ' in the config'
            raise UsageError(
                f'--cfg-options {key}: there is no {part!r}{where}'
                + (f'; is it {path}{near[0]}?' if near else '')
            )
        node = node[int(part)] if part.isdigit() else node[part]
        path += f'{part}.'


def _is_free(node: Any, part: str, is_last: bool) -> bool:
    """Whether a dict of the config may get a new key."""
    if isinstance(node, Config):
        return False
    if is_last and 'type' in node:
        return True
    # heads, hooks or a loader's parts: beside what a registry builds, all is
    beside = [each for each in node.values() if isinstance(each, dict)]
    if not is_last and 'type' not in node and any('type' in e for e in beside):
        return False
    return not get_close_matches(part, node, cutoff=0.8)


def _loop_settings(train_cfg: Mapping[str, Any]) -> list:
    """What the loop of a config takes; nothing where its name is unknown."""
    # here, since they import torch
    from mmengine.registry import LOOPS

    import harmoclip_mm.engine  # noqa: F401

    by_epoch = train_cfg.get('by_epoch', True)
    default = 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'
    loop = LOOPS.get(train_cfg.get('type', default))
    return [
        name
        for each in (loop.__mro__[:-1] if loop else ())
        for name in inspect.signature(each.__init__).parameters
    ]


def _runner_settings() -> list:
    # here, since it imports torch
    from mmengine.runner import Runner

    # and those that it reads from the config alone
    return [
        *inspect.signature(Runner).parameters,
        *('activation_checkpointing', 'clip', 'compile', 'custom_imports'),
        *('efficient_conv_bn_eval', 'find_unused_parameters'),
        *('model_wrapper_cfg', 'strategy', 'sync_bn'),
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
