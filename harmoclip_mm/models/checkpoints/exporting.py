"""Writing a model's towers in the formats of other libraries."""

import json
import os
import os.path as osp
from typing import Any, Dict, Mapping

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.text import find_vocab_file, read_bpe
from harmoclip_mm.version import __version__

from .activation import QUICK_GELU, activation_of
from .architecture import architecture_name
from .foreign_configs import (
    describe_model,
    huggingface_config,
    huggingface_preprocessor,
    open_clip_config,
)
from .key_maps import FORMATS, OWN, to_theirs

EXPORT_FORMATS = ('open_clip', 'huggingface', OWN)
_FILE_SUFFIXES = ('.pt', '.bin', '.pth', '.safetensors')
_SAFE = '.safetensors'


def export_state_dict(model: nn.Module, path: str, format: str) -> None:
    """Writes the towers and the temperature of a ``HarmoCLIP``.

    Args:
        model (nn.Module): The model.
        path (str): Folder or file, see :func:`harmoclip_mm.export_clip`.
        format (str): One of ``EXPORT_FORMATS``.

    Raises:
        CheckpointError: If the format is not known or has no place for the
            model.
    """
    if format not in EXPORT_FORMATS:
        raise CheckpointError(
            f'format {format!r} is not known; choose one of '
            f'{", ".join(EXPORT_FORMATS)}.'
        )
    path = osp.expanduser(path)
    is_file = path.endswith(_FILE_SUFFIXES)
    if format == 'huggingface' and is_file:
        raise CheckpointError(
            f'{path} is a file, but transformers loads a folder: leave the '
            'suffix out.'
        )
    if format == OWN:
        if not path.endswith('.pth'):
            raise CheckpointError(f'{path} should end in .pth.')
        save_own(_parts(model), path, dict(model=describe_model(model)))
    elif is_file:
        _save_weights(_theirs(model, format), path)
        print_log(
            f'{path} holds weights alone: whoever loads it has to name '
            f'{_open_clip_name(model)}.',
            logger='current',
        )
    else:
        _export_folder(model, path, format)


def _export_folder(model: nn.Module, path: str, format: str) -> None:
    if format == 'open_clip':
        files = {'open_clip_config.json': open_clip_config(model)}
        name = 'open_clip_model.safetensors'
    else:
        files = {
            'config.json': huggingface_config(model),
            'preprocessor_config.json': huggingface_preprocessor(model),
        }
        name = 'model.safetensors'
    weights = _theirs(model, format)
    os.makedirs(path, exist_ok=True)
    if format == 'huggingface':
        _save_tokenizer(model, path)
    for file, content in files.items():
        _save_json(content, osp.join(path, file))
    _save_weights(weights, osp.join(path, name))


def _open_clip_name(model: nn.Module) -> str:
    cfg = describe_model(model)
    name = architecture_name(cfg)
    act = activation_of(model.text_encoder)
    if name is None:
        return f'a model of the same architecture, with {act}'
    quick = act == QUICK_GELU and not name.startswith('EVA')
    return f"open_clip's model {name}{'-quickgelu' if quick else ''}"


def _parts(model: nn.Module) -> Dict[str, Tensor]:
    return {
        name: value.detach().cpu().contiguous()
        for name, value in model.state_dict().items()
        if name.startswith(('backbone.', 'text_encoder.', 'logit_scale.'))
    }


def _theirs(model: nn.Module, format: str) -> Dict[str, Tensor]:
    parts = _parts(model)
    if format == 'open_clip' and 'backbone.layers.0.ffn.w12.weight' in parts:
        format = 'open_clip_eva'
    converted = to_theirs(parts, FORMATS[format])
    wrong = [*converted.missing, *converted.unused]
    if wrong:
        raise CheckpointError(
            f'the format {format} has no place for this model: {wrong[0]} '
            f'and {len(wrong) - 1} more weights do not match.'
        )
    # their own storage each: safetensors refuses shared ones
    return {
        name: value.clone(memory_format=torch.contiguous_format)
        for name, value in converted.state_dict.items()
    }


def save_own(
    state_dict: Mapping[str, Tensor], path: str, meta: Mapping[str, Any]
) -> None:
    """Writes a ``.pth`` as our trainings do.

    Args:
        state_dict (Mapping[str, Tensor]): Weights in our names.
        path (str): The file.
        meta (Mapping[str, Any]): What is known of them; ``model`` is the
            config that they were built from.
    """
    meta = dict(meta, harmoclip_mm_version=__version__)
    _replace(
        path,
        lambda target: torch.save(
            dict(meta=meta, state_dict=dict(state_dict)), target
        ),
    )


def _save_weights(tensors: Dict[str, Tensor], path: str) -> None:
    if not path.endswith(_SAFE):
        _replace(path, lambda target: torch.save(tensors, target))
        return
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise CheckpointError(
            f'writing {path} needs safetensors: run `pip install safetensors`.'
        ) from error
    # transformers refuses files that do not say what wrote them
    _replace(
        path,
        lambda target: save_file(tensors, target, metadata=dict(format='pt')),
    )


def _save_json(content: Any, path: str) -> None:
    def write(target: str) -> None:
        with open(target, 'w', encoding='utf-8') as file:
            json.dump(content, file, indent=2, ensure_ascii=False)
            file.write('\n')

    _replace(path, write)


def _save_tokenizer(model: nn.Module, folder: str) -> None:
    """CLIP's vocabulary, with the special tokens as transformers has them."""
    vocab, merges = read_bpe(find_vocab_file())
    if model.text_encoder.token_embedding.num_embeddings != len(vocab):
        print_log(
            f'{folder} gets no tokenizer: the text tower has '
            f'{model.text_encoder.token_embedding.num_embeddings} tokens, '
            f"CLIP's vocabulary {len(vocab)}.",
            logger='current',
        )
        return
    names = {
        '<start_of_text>': '<|startoftext|>',
        '<end_of_text>': '<|endoftext|>',
    }
    vocab = {names.get(name, name): number for name, number in vocab.items()}
    _save_json(vocab, osp.join(folder, 'vocab.json'))

    def write_merges(target: str) -> None:
        with open(target, 'w', encoding='utf-8') as file:
            file.write('#version: 0.2\n')
            file.writelines(f'{left} {right}\n' for left, right in merges)

    _replace(osp.join(folder, 'merges.txt'), write_merges)
    start, end = names.values()
    special = dict(
        bos_token=start, eos_token=end, unk_token=end, pad_token=end
    )
    _save_json(special, osp.join(folder, 'special_tokens_map.json'))
    _save_json(
        dict(
            special,
            tokenizer_class='CLIPTokenizer',
            do_lower_case=True,
            errors='replace',
            model_max_length=model.text_encoder.context_length,
        ),
        osp.join(folder, 'tokenizer_config.json'),
    )


def _replace(path: str, write) -> None:
    """Writes beside the file and renames: nobody ever reads half of it."""
    folder = osp.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    part = f'{path}.part'
    try:
        write(part)
        os.replace(part, path)
    finally:
        if osp.exists(part):
            os.remove(part)
