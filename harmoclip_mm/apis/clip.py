"""CLIP checkpoints of all formats as models, and models as checkpoints."""

import copy
import json
import os
import os.path as osp
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Union

import torch
from mmengine.logging import print_log
from safetensors.torch import save_file

from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.files import replacing
from harmoclip_mm.models import HarmoCLIP
from harmoclip_mm.models.checkpoints import (
    clip_of,
    export,
    load_clip_weights,
    read_checkpoint,
)
from harmoclip_mm.registry import MODELS

EXPORT_FORMATS = ('open_clip', 'huggingface')
_FILE_SUFFIXES = ('.pt', '.bin', '.pth', '.safetensors')


def load_clip(
    checkpoint: Union[str, os.PathLike],
    arch: Union[str, Mapping, None] = None,
    device: Union[str, torch.device, None] = None,
    backbone: Optional[Dict[str, Any]] = None,
    trust_pickle: bool = False,
) -> HarmoCLIP:
    """Loads a CLIP of any format.

    The format is recognised by what the file holds. Which CLIP it is says a
    config in the file or beside it, or ``arch``; or the shapes of the
    weights, where only one CLIP of open_clip's list has them. It is never
    guessed: weights of ViT-B-16 are as well those of ViT-B-16-quickgelu.

    Args:
        checkpoint (str | Path): A file or folder of OpenAI (``.pt``),
            open_clip, Hugging Face, EVA-CLIP, CLIPSelf, FineCLIP, mmpretrain
            or of our own, an ``hf-hub:OWNER/NAME`` or an ``http(s)://``
            address.
        arch (str | Mapping, optional): The CLIP: a name of open_clip's list
            (``'ViT-B-16-quickgelu'``), a dict in the schema of its model
            files, or a folder with an ``open_clip_config.json``. Defaults to
            what the file tells.
        device (str | torch.device, optional): Where the model is put.
            Defaults to the CPU.
        backbone (dict, optional): Arguments of :class:`HarmoCLIPBackbone`,
            e.g. ``dict(img_size=448, dense_mode='token')``. Defaults to
            those of the training that made the file, if it was ours.
        trust_pickle (bool): Whether to run the code of a file that holds
            more than weights. Defaults to False.

    Returns:
        HarmoCLIP: The model in evaluation mode, in float32, without heads.
        Its ``checkpoint_info`` is a dict of ``path``, ``format`` and
        ``clip``.

    Raises:
        CheckpointError: If the file cannot be read, is no CLIP, or not the
            one named; says which ones its weights fit.

    Examples:
        >>> model = harmoclip_mm.load_clip('ViT-B-16.pt')
        >>> texts = model.encode_text(['a photo of a dog'])
    """
    found = read_checkpoint(checkpoint, trust_pickle)
    clip = clip_of(found) if arch is None else arch
    towers = copy.deepcopy(dict(found.towers))
    vision = towers.setdefault('backbone', {})
    if any(name.startswith('visual.dense_pool.') for name in found.weights):
        vision['dense_head'] = 'copy'
    vision.update(backbone or {})
    model = MODELS.build(
        dict(
            type='harmoclip_mm.HarmoCLIP',
            clip=clip,
            region_extractor=dict(type='harmoclip_mm.RoIFeatureExtractor'),
            **towers,
        )
    )
    load_clip_weights(model, found)
    model.checkpoint_info = dict(
        path=found.path, format=found.format, clip=clip
    )
    print_log(
        f'{found.path}: {model.spec.name} in the format {found.format}.',
        logger='current',
    )
    return model.to(device or 'cpu').eval()


def export_clip(
    model: HarmoCLIP,
    path: str,
    format: str = 'open_clip',
    dense_head: bool = False,
) -> None:
    """Writes a model as a CLIP that other libraries load.

    Heads and the settings of dense maps and regions stay behind: what is
    left are the two towers and the scores' scale and bias.

    Args:
        model (HarmoCLIP): The model.
        path (str): Folder to write, which is made; or, for ``'open_clip'``,
            a file, told by its suffix.
        format (str): One of

            - ``'open_clip'``: a folder for
              ``open_clip.create_model('local-dir:PATH')``, or a file
              (``.pt``, ``.bin``, ``.safetensors``) for its ``pretrained``;
            - ``'huggingface'``: a folder for
              ``transformers.CLIPModel.from_pretrained(PATH)``, or
              ``SiglipModel``, with tokenizer and preprocessor.
        dense_head (bool): Whether to keep the second pool of
            ``dense_head='copy'``, as ``visual.dense_pool`` of an open_clip
            file, which :func:`load_clip` reads. Defaults to False.

    Raises:
        CheckpointError: If the format is not known or has no place for the
            model, or the folder holds weights of another format.
    """
    path = osp.expanduser(path)
    is_file = path.endswith(_FILE_SUFFIXES)
    if format not in EXPORT_FORMATS:
        raise CheckpointError(
            f'format {format!r} is not known; choose one of '
            f'{", ".join(EXPORT_FORMATS)}.'
        )
    if format == 'huggingface' and is_file:
        raise CheckpointError(
            f'{path} is a file, but transformers loads a folder: leave the '
            'suffix out.'
        )
    weights, files = export(model, format, dense_head, not is_file)
    if is_file:
        _save_weights(weights, path)
        print_log(
            f'{path} holds weights alone: whoever loads it has to name the '
            f'CLIP, {model.spec.name}.',
            logger='current',
        )
        return
    own = 'open_clip_model' if format == 'open_clip' else 'model'
    own += '.safetensors'
    for other in Path(path).glob('*.safetensors'):
        if other.name != own:
            raise CheckpointError(
                f'{path} holds other weights, {other.name}, that a reader '
                'could take for these: give another folder.'
            )
    os.makedirs(path, exist_ok=True)
    source = model.text_encoder.tokenizer.source
    if source is not None:
        _save_tokenizer(source, path)
    for name, content in files.items():
        if not isinstance(content, str):
            content = json.dumps(content, indent=2, ensure_ascii=False) + '\n'
        with replacing(osp.join(path, name)) as part:
            Path(part).write_text(content, encoding='utf-8')
    _save_weights(weights, osp.join(path, own))


def _save_weights(weights: Dict[str, torch.Tensor], path: str) -> None:
    # their own storage each: safetensors refuses shared ones
    weights = {
        name: value.clone(memory_format=torch.contiguous_format)
        for name, value in weights.items()
    }
    if path.endswith('.safetensors'):
        # transformers refuses files that do not say what wrote them
        with replacing(path) as part:
            save_file(weights, part, dict(format='pt'))
    else:
        with replacing(path) as part:
            torch.save(weights, part)


def _save_tokenizer(source: str, folder: str) -> None:
    try:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            source, local_files_only=True
        )
        tokenizer.save_pretrained(folder)
    except (ImportError, OSError, ValueError) as error:
        print_log(
            f'{folder} gets no tokenizer, since that of {source} is not at '
            f'hand ({type(error).__name__}): put its files there.',
            logger='current',
        )
