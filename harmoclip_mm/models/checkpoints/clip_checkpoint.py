"""A CLIP checkpoint of any format, in our names."""

import logging
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional

from mmengine.logging import print_log
from torch import Tensor

from harmoclip_mm.errors import CheckpointError

from .activation import Activation, decide_activation
from .architecture import (
    architecture_name,
    check_supported,
    describe_stranger,
    infer_model_cfg,
)
from .hub import fetch, is_remote
from .key_maps import Format, find_format, to_ours
from .reading import RawCheckpoint, read_checkpoint


class CLIPCheckpoint(NamedTuple):
    """Weights of a CLIP in our names, and what is known of them.

    Attributes:
        path (str): The file they were read from.
        form (Format): Its format.
        state_dict (Dict[str, Tensor]): Weights by our names, possibly mapped
            from the file: to be copied, not kept.
        missing (Dict[str, str]): Our names of weights that the file lacks,
            with its names of them.
        activation (Activation): Activation of the towers.
        raw (RawCheckpoint): The file as read.
    """

    path: str
    form: Format
    state_dict: Dict[str, Tensor]
    missing: Dict[str, str]
    activation: Activation
    raw: RawCheckpoint

    def model_cfg(self, arch: Optional[Mapping] = None) -> Dict:
        """Infers the config of the ``HarmoCLIP`` these weights belong to.

        Args:
            arch (Mapping, optional): Settings that replace inferred ones.

        Returns:
            dict: The config, without heads.

        Raises:
            CheckpointError: If weights are missing, or the architecture
                cannot be told.
        """
        for tower, marker in (
            ('vision', self.form.vision),
            ('text', self.form.text),
        ):
            if marker not in self.raw.state_dict:
                raise CheckpointError(
                    f'checkpoint {self.path} has no {tower} tower '
                    f'({marker} is missing), so it is no whole CLIP.'
                )
        self.check_complete()
        return infer_model_cfg(
            self.state_dict, self.activation, self.raw, self.form.name, arch
        )

    def check_complete(self, part: str = '') -> None:
        """Refuses a file that lacks weights its own format has.

        Args:
            part (str): Prefix of our names that have to be there. Defaults
                to all.

        Raises:
            CheckpointError: If some are missing; names them.
        """
        lacking = [
            theirs
            for ours, theirs in self.missing.items()
            if ours.startswith(part)
        ]
        if lacking:
            raise CheckpointError(
                f'checkpoint {self.path} in the format of {self.form.title} '
                f'lacks {len(lacking)} weights: {_listed(lacking, 5)}.'
            )

    def describe(self, model_cfg: Optional[Mapping] = None) -> str:
        """Says in a sentence what was read and what was decided.

        Args:
            model_cfg (Mapping, optional): Its config, to name it.

        Returns:
            str: The sentence.
        """
        name = model_cfg and architecture_name(model_cfg)
        acts = sorted({self.activation.vision, self.activation.text})
        return (
            f'{self.path}: {name or "CLIP"} in the format of '
            f'{self.form.title}; activation {" / ".join(acts)}'
            f' ({self.activation.reason}).'
        )


def read_clip(
    path: str,
    activation: Optional[str] = None,
    trust_pickle: bool = False,
) -> CLIPCheckpoint:
    """Reads a CLIP checkpoint of any format, recognised by its content.

    Weights in the file that find no use are logged by name.

    Args:
        path (str): File, folder, ``hf-hub:OWNER/NAME`` or ``http(s)://``
            address.
        activation (str, optional): ``'quick_gelu'`` or ``'gelu'``, if the
            file is known to need it. Defaults to what the file says.
        trust_pickle (bool): Whether to run the code of a file that holds
            more than weights. Defaults to False.

    Returns:
        CLIPCheckpoint: The weights.

    Raises:
        CheckpointError: If the file cannot be read or is no CLIP.
    """
    raw = read_checkpoint(
        fetch(path) if is_remote(path) else path, trust_pickle
    )
    found = recognise(raw, activation)
    if found is None:
        raise CheckpointError(
            f'checkpoint {raw.path} is no CLIP of a known format but '
            f'{describe_stranger(raw.state_dict)}.'
        )
    return found


def recognise(
    raw: RawCheckpoint, activation: Optional[str] = None
) -> Optional[CLIPCheckpoint]:
    """Takes a checkpoint to our names, if it is a CLIP.

    Args:
        raw (RawCheckpoint): The checkpoint as read.
        activation (str, optional): See :func:`read_clip`.

    Returns:
        CLIPCheckpoint, optional: The weights; None if there is no tower of a
        format that is known.

    Raises:
        CheckpointError: If it is a variant of CLIP that we do not have.
    """
    form = find_format(raw.state_dict)
    if form is None:
        return None
    converted = to_ours(raw.state_dict, form)
    check_supported(converted.unused, raw.path)
    log_names('not used', converted.unused, raw.path, logging.WARNING)
    log_names(
        'not needed, since they are computed', converted.computed, raw.path
    )
    return CLIPCheckpoint(
        raw.path,
        form,
        converted.state_dict,
        converted.missing,
        decide_activation(raw, form.name, activation),
        raw,
    )


def log_names(
    what: str, names: Iterable[str], path: str, level: int = logging.INFO
) -> None:
    """Logs names of weights, all of them, if there are any.

    Args:
        what (str): What happened to them.
        names (Iterable[str]): The names.
        path (str): The file.
        level (int): Level of logging. Defaults to INFO.
    """
    names = list(names)
    if names:
        print_log(
            f'{path}: {len(names)} weights are {what}: {_listed(names)}.',
            logger='current',
            level=level,
        )


def _listed(names: List[str], limit: Optional[int] = None) -> str:
    more = len(names) - (limit or len(names))
    shown = ', '.join(names[:limit])
    return f'{shown} and {more} more' if more > 0 else shown
