"""Reading a config the way every tool does."""

import copy
import os.path as osp
from typing import Any, Optional

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

    Returns:
        Config: The config, with ``work_dir`` set and its CLIP in all parts,
        see :func:`set_clip`.

    Raises:
        UsageError: If the file does not exist or names no CLIP that there
            is.
    """
    if not osp.isfile(filename):
        raise UsageError(f'config file {filename} does not exist')
    cfg = Config.fromfile(filename)
    options = dict(cfg_options or {})
    clip = options.pop('clip', None)
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
