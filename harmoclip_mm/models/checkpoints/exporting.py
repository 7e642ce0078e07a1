"""A model's weights and configs as other libraries want them."""

import copy
from typing import Any, Dict, Tuple

from torch import Tensor, nn

from harmoclip_mm.errors import CheckpointError

from .fitting import differences, shapes_of
from .huggingface import write_files
from .key_tables import OPEN_CLIP, OWN, TABLES, rename, rows


def export(
    model: nn.Module, format: str, dense_head: bool, folder: bool
) -> Tuple[Dict[str, Tensor], Dict[str, Any]]:
    """Takes a ``HarmoCLIP`` to the names and configs of a format.

    Args:
        model (nn.Module): The model.
        format (str): ``'open_clip'`` or ``'huggingface'``.
        dense_head (bool): Whether to keep a second pool, as
            ``visual.dense_pool``.
        folder (bool): Whether open_clip has to build the model by its config.

    Returns:
        Tuple[Dict[str, Tensor], Dict[str, Any]]: Weights by the format's
        names; and text, or content of JSON, by name of file.

    Raises:
        CheckpointError: If the format has no place for the model.
    """
    weights = {k: v.detach().cpu() for k, v in model.state_dict().items()}
    weights = rename(weights, OWN)[0]
    if not dense_head:
        weights = {k: v for k, v in weights.items() if '.dense_pool.' not in k}
    if format == 'huggingface':
        kind = 'Siglip' if 'logit_bias' in weights else 'CLIP'
        table = TABLES[f'huggingface_{kind.lower()}']
        theirs, strange = rename(weights, table, back=True)
        lacking = [
            row[0]
            for row in rows(table)
            if not rename(weights, ' '.join(row), back=True)[0]
        ]
        if strange or lacking:
            raise CheckpointError(
                f"transformers' {kind}Model has another set of weights: "
                f"{[*strange, *lacking][0]}; export to 'open_clip'."
            )
        return theirs, write_files(kind, theirs, model)
    spec, size = model.spec, list(model.backbone.img_size)
    cfg = copy.deepcopy(spec.model_cfg)
    cfg['vision_cfg']['image_size'] = size[0] if size[0] == size[1] else size
    if folder:
        found = {name: tuple(value.shape) for name, value in weights.items()}
        listed = differences(found, {}, shapes_of(cfg), {})
        if listed:
            raise CheckpointError(
                f'open_clip would load no folder of {spec.name}, since '
                f'{listed[0]}: export to a file (.pt or .safetensors), which '
                'needs no config.'
            )
    if not spec.custom_text:
        bare, rest = rename(weights, OPEN_CLIP, back=True)
        weights = {**rest, **bare}
    preprocess = dict(spec.preprocess_cfg, size=size)
    configs = dict(model_cfg=cfg, preprocess_cfg=preprocess)
    return weights, {'open_clip_config.json': configs}
