"""CLIP checkpoints of all formats as models, and models as checkpoints."""

import argparse
from typing import Any, Mapping, Optional, Union

import torch
from mmengine.logging import print_log

from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.models import HarmoCLIP
from harmoclip_mm.models.checkpoints import (
    activation_of,
    architecture_name,
    load_clip_weights,
    read_clip,
)
from harmoclip_mm.models.checkpoints.architecture import ARCHITECTURES
from harmoclip_mm.models.checkpoints.exporting import export_state_dict
from harmoclip_mm.registry import MODELS

_QUICK = '-quickgelu'


def load_clip(
    checkpoint: str,
    arch: Union[str, Mapping, None] = None,
    device: Union[str, torch.device, None] = None,
    activation: Optional[str] = None,
    trust_pickle: bool = False,
) -> HarmoCLIP:
    """Loads a CLIP of any format.

    The format is recognised by what the file holds, and the architecture
    by the shapes of the weights. A sentence in the log says what was found,
    and which activation was decided for and why.

    Args:
        checkpoint (str): A file or folder of OpenAI (``.pt``), open_clip,
            Hugging Face, EVA-CLIP, CLIPSelf, FineCLIP, mmpretrain or of our
            own, an ``hf-hub:OWNER/NAME`` or an ``http(s)://`` address.
        arch (str | Mapping, optional): Name of the architecture as in
            open_clip (``'ViT-B-16'``), which is checked; with the suffix
            ``-quickgelu`` it decides the activation. Or settings that
            replace inferred ones, by their place in a config, e.g.
            ``dict(backbone=dict(dense_mode='token'))``.
        device (str | torch.device, optional): Where the model is put.
            Defaults to the CPU.
        activation (str, optional): ``'quick_gelu'`` or ``'gelu'``, if it is
            known better than the file tells. Defaults to what it tells.
        trust_pickle (bool): Whether to run the code of a file that holds
            more than weights. Defaults to False.

    Returns:
        HarmoCLIP: The model in evaluation mode, in float32, without heads.
        Its ``checkpoint_info`` is a dict of ``path``, ``format``, ``arch``,
        ``activation`` and ``activation_reason``.

    Raises:
        CheckpointError: If the file cannot be read, is no CLIP, or is not of
            the architecture named.

    Examples:
        >>> model = harmoclip_mm.load_clip('ViT-B-16.pt')
        >>> texts = model.encode_text(['a photo of a dog'])
    """
    changes: Mapping[str, Any] = {}
    if isinstance(arch, str):
        if arch.endswith(_QUICK) and activation is None:
            activation = 'quick_gelu'
    elif arch is not None:
        changes = arch
    found = read_clip(checkpoint, activation, trust_pickle)
    cfg = found.model_cfg(changes)
    name = architecture_name(cfg)
    if isinstance(arch, str):
        _check_arch(arch, name, found.path)
    model = MODELS.build(cfg)
    load_clip_weights(model, found)
    print_log(found.describe(cfg), logger='current')
    vision = activation_of(model.backbone)
    text = activation_of(model.text_encoder)
    model.checkpoint_info = dict(
        path=found.path,
        format=found.form.name,
        arch=name,
        activation=vision if vision == text else f'{vision} / {text}',
        activation_reason=found.activation.reason,
    )
    return model.to(device or 'cpu').eval()


def _check_arch(asked: str, found: Optional[str], path: str) -> None:
    wanted = asked[: -len(_QUICK)] if asked.endswith(_QUICK) else asked
    if wanted not in ARCHITECTURES:
        raise CheckpointError(
            f'arch {asked!r} is not known; choose one of '
            f'{", ".join(ARCHITECTURES)}, or leave it out.'
        )
    if wanted != found:
        raise CheckpointError(
            f'checkpoint {path} is of the architecture '
            f'{found or "of a width without a name"}, not {wanted}.'
        )


def export_clip(
    model: HarmoCLIP, path: str, format: str = 'open_clip'
) -> None:
    """Writes a model as a CLIP that other libraries load.

    Heads and the settings of dense maps and regions stay behind: what is
    left are the two towers and the temperature.

    Args:
        model (HarmoCLIP): The model.
        path (str): Folder to write, which is made; or, for ``'open_clip'``
            and ``'harmoclip_mm'``, a file, told by its suffix.
        format (str): One of

            - ``'open_clip'``: a folder for
              ``open_clip.create_model('local-dir:PATH')``, or a file
              (``.pt``, ``.bin``, ``.safetensors``) for its ``pretrained``;
            - ``'huggingface'``: a folder for
              ``transformers.CLIPModel.from_pretrained(PATH)``, with
              tokenizer and preprocessor;
            - ``'harmoclip_mm'``: a ``.pth`` of ours.

    Raises:
        CheckpointError: If the format is not known or has no place for the
            model.
    """
    export_state_dict(model, path, format)


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a tool for how a foreign file is to be read.

    Args:
        parser (argparse.ArgumentParser): Parser of the tool's command line;
            its result has ``activation`` and ``trust_pickle``, arguments of
            :func:`load_clip`.
    """
    parser.add_argument(
        '--activation',
        choices=('quick_gelu', 'gelu'),
        help='activation of the checkpoint, where it does not say so itself',
    )
    parser.add_argument(
        '--trust-pickle',
        action='store_true',
        help='run the code that the file holds beside its weights: only for '
        'files whose source you trust',
    )
