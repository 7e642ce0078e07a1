"""Which activation a checkpoint was trained with: QuickGELU or GELU.

No weight tells: a CLIP with the other activation loads without a complaint
and its features are wrong (mlfoundations/open_clip issue 771). So the answer
is looked for in everything that lies around the weights, and comes with the
reason and with whether it is certain.
"""

import re
from typing import Dict, NamedTuple, Optional

import torch
from torch import nn

from harmoclip_mm.errors import CheckpointError

from .key_maps import OWN
from .own_config import own_model_cfg
from .reading import RawCheckpoint

QUICK_GELU, GELU = 'quick_gelu', 'gelu'
ACT_CFGS = {
    QUICK_GELU: dict(type='harmoclip_mm.QuickGELU'),
    GELU: dict(type='GELU'),
}
# Releases of open_clip that were trained with QuickGELU, by what their file
# names hold (open_clip, ``pretrained.py``: tags of the -quickgelu models).
_QUICK_NAMES = re.compile(
    r'quick-?_?gelu|openai|yfcc15m|cc12m-|dfn\d+b|metaclip', re.IGNORECASE
)


class Activation(NamedTuple):
    """The activation of both towers.

    Attributes:
        vision (str): ``'quick_gelu'`` or ``'gelu'``; for a tower of EVA-02,
            which has neither, ``'gelu'``.
        text (str): The same of the text tower.
        certain (bool): Whether the checkpoint says so, rather than custom.
        reason (str): Where that is known from.
    """

    vision: str
    text: str
    certain: bool
    reason: str


def decide_activation(
    raw: RawCheckpoint, form: str, asked: Optional[str] = None
) -> Activation:
    """Decides which activation the towers have.

    Args:
        raw (RawCheckpoint): The checkpoint as read.
        form (str): Name of its format.
        asked (str, optional): What the user says, ``'quick_gelu'`` or
            ``'gelu'``.

    Returns:
        Activation: The decision.

    Raises:
        CheckpointError: If a name of an activation is not known.
    """
    if asked is not None:
        asked = _checked(asked, 'activation')
        return Activation(asked, asked, True, 'as asked for')
    if form == OWN:
        return _of_own(raw)
    if form == 'huggingface':
        return _of_huggingface(raw)
    if form in ('eva_clip', 'open_clip_eva'):
        return Activation(GELU, GELU, True, 'EVA-02-CLIP has GELU')
    if form == 'mmpretrain':
        reason = 'mmpretrain holds weights of OpenAI'
        return Activation(QUICK_GELU, QUICK_GELU, False, reason)
    return _of_open_clip(raw)


def _of_open_clip(raw: RawCheckpoint) -> Activation:
    cfg = raw.configs.get('open_clip_config.json', {}).get('model_cfg')
    if isinstance(cfg, dict):
        act = QUICK_GELU if cfg.get('quick_gelu', False) else GELU
        return Activation(act, act, True, 'open_clip_config.json says so')
    if raw.quick_gelu is not None:
        act = QUICK_GELU if raw.quick_gelu else GELU
        return Activation(act, act, True, 'the archived code computes it')
    if 'input_resolution' in raw.state_dict:
        reason = "a state dict of OpenAI's archives"
        return Activation(QUICK_GELU, QUICK_GELU, True, reason)
    name = raw.path.replace('\\', '/').rsplit('/', 1)[-1]
    trained_as = isinstance(raw.container, dict) and raw.container.get('name')
    for text in (name, trained_as):
        if isinstance(text, str) and _QUICK_NAMES.search(text):
            reason = f'the name {text} hints at it'
            return Activation(QUICK_GELU, QUICK_GELU, False, reason)
    if _is_mixed_half(raw.state_dict):
        reason = 'weights in half beside norms in single are as OpenAI saves'
        return Activation(QUICK_GELU, QUICK_GELU, False, reason)
    reason = (
        "nothing in the file tells, and GELU is open_clip's own default; "
        'fine-tuned weights of OpenAI need quick_gelu'
    )
    return Activation(GELU, GELU, False, reason)


def _of_huggingface(raw: RawCheckpoint) -> Activation:
    config = raw.configs.get('config.json')
    if config is None:
        reason = "transformers' default, without a config.json beside the file"
        return Activation(QUICK_GELU, QUICK_GELU, False, reason)
    acts = []
    for tower in ('vision_config', 'text_config'):
        name = (config.get(tower) or {}).get('hidden_act', QUICK_GELU)
        acts.append(_checked(name, f'hidden_act of {tower} in config.json'))
    return Activation(*acts, True, 'config.json says so')


def _of_own(raw: RawCheckpoint) -> Activation:
    cfg = own_model_cfg(raw.container)
    if cfg is None:
        reason = 'the default of our towers; the file has no config'
        return Activation(QUICK_GELU, QUICK_GELU, False, reason)
    acts = []
    for tower in ('backbone', 'text_encoder'):
        act_cfg = (cfg.get(tower) or {}).get('act_cfg') or {}
        name = str(act_cfg.get('type', 'QuickGELU')).rsplit('.', 1)[-1]
        acts.append(QUICK_GELU if name == 'QuickGELU' else GELU)
    return Activation(*acts, True, 'the config in the checkpoint says so')


def _is_mixed_half(state_dict: Dict[str, torch.Tensor]) -> bool:
    half = state_dict.get('visual.conv1.weight')
    norm = state_dict.get('visual.ln_pre.weight')
    return (
        half is not None
        and norm is not None
        and half.dtype == torch.float16
        and norm.dtype == torch.float32
    )


def _checked(name: str, what: str) -> str:
    if name == 'gelu_new' or name not in ACT_CFGS:
        raise CheckpointError(
            f'{what} is {name!r}, but CLIP has {QUICK_GELU!r} or {GELU!r}.'
        )
    return name


def activation_of(tower: nn.Module) -> str:
    """Tells which activation a tower was built with.

    Args:
        tower (nn.Module): A tower of ``HarmoCLIP``.

    Returns:
        str: ``'quick_gelu'`` or ``'gelu'``.
    """
    quick = any(type(m).__name__ == 'QuickGELU' for m in tower.modules())
    return QUICK_GELU if quick else GELU
