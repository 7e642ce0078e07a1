"""Reading a config the way every tool does."""

import os.path as osp
from typing import Optional

from mmengine.config import Config

from harmoclip_mm.errors import UsageError


def load_config(
    filename: str,
    cfg_options: Optional[dict] = None,
    work_dir: Optional[str] = None,
) -> Config:
    """Read a config file and settle its options and work folder.

    Args:
        filename (str): The config file.
        cfg_options (dict, optional): Settings that replace those of the
            file, keys dotted as in ``--cfg-options``. Defaults to None.
        work_dir (str, optional): Folder of logs and checkpoints. Defaults to
            None: ``work_dir`` of the config, or else
            ``./work_dirs/<name of the config file>``.

    Returns:
        Config: The config, with ``work_dir`` set.

    Raises:
        UsageError: If the file does not exist.
    """
    if not osp.isfile(filename):
        raise UsageError(f'config file {filename} does not exist')
    cfg = Config.fromfile(filename)
    if cfg_options:
        cfg.merge_from_dict(cfg_options)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        name = osp.splitext(osp.basename(filename))[0]
        cfg.work_dir = osp.join('./work_dirs', name)
    return cfg
