"""The formats of CLIP checkpoints, told apart by the names they hold."""

import re
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from torch import Tensor

from . import eva, huggingface, mmpretrain, openai
from .entries import Entry, expand

OWN = 'harmoclip_mm'
# What is in some files and carries nothing: attention masks and position
# numbers that are computed, rotary angles, and the three numbers that
# openai/CLIP keeps beside its weights.
_COMPUTED = re.compile(
    r'(^|\.)(attn_mask|position_ids|freqs_cos|freqs_sin|input_resolution|'
    r'context_length|vocab_size)$'
)


class Format(NamedTuple):
    """A naming of CLIP's weights.

    Attributes:
        name (str): Key of the format, see ``FORMATS``.
        title (str): Its name in messages.
        vision (str): A weight that tells a vision tower of this format.
        text (str): A weight that tells a text tower of this format.
        entries (List[Entry]): The weights under both names.
    """

    name: str
    title: str
    vision: str
    text: str
    entries: List[Entry]


class Converted(NamedTuple):
    """A state dict in our names.

    Attributes:
        state_dict (Dict[str, Tensor]): Weights by our names.
        missing (Dict[str, str]): Our names of weights that the file lacks,
            with the names it should have had them under.
        unused (List[str]): Names in the file that say nothing to us.
        computed (List[str]): Names in the file of what is computed here.
    """

    state_dict: Dict[str, Tensor]
    missing: Dict[str, str]
    unused: List[str]
    computed: List[str]


_FORMATS = (
    Format(
        'open_clip',
        'open_clip or OpenAI',
        'visual.class_embedding',
        'token_embedding.weight',
        openai.ENTRIES,
    ),
    Format(
        'open_clip_custom_text',
        'open_clip with `text.`',
        'visual.class_embedding',
        'text.token_embedding.weight',
        openai.CUSTOM_TEXT,
    ),
    Format(
        'eva_clip',
        'EVA-CLIP (CLIPSelf, FineCLIP)',
        'visual.blocks.0.mlp.w1.weight',
        'text.token_embedding.weight',
        eva.EVA_ENTRIES,
    ),
    Format(
        'open_clip_eva',
        'open_clip with a tower of timm',
        'visual.trunk.blocks.0.mlp.fc1_g.weight',
        'text.token_embedding.weight',
        eva.TIMM_ENTRIES,
    ),
    Format(
        'mmpretrain',
        'mmpretrain',
        'visual.patch_embed.projection.weight',
        'token_embedding.weight',
        mmpretrain.ENTRIES,
    ),
    Format(
        'huggingface',
        'Hugging Face CLIPModel',
        'vision_model.embeddings.class_embedding',
        'text_model.embeddings.token_embedding.weight',
        huggingface.ENTRIES,
    ),
    Format(
        OWN,
        'harmoclip_mm',
        'backbone.proj.weight',
        'text_encoder.token_embedding.weight',
        [],
    ),
)
FORMATS = {each.name: each for each in _FORMATS}


def find_format(names: Iterable[str]) -> Optional[Format]:
    """Tells the format of a state dict.

    Args:
        names (Iterable[str]): Names of its weights.

    Returns:
        Format, optional: The format of which both towers are there, else
        one of which a tower is there, else None.
    """
    names = set(names)
    for quantifier in (all, any):
        for each in _FORMATS:
            if quantifier(name in names for name in (each.vision, each.text)):
                return each
    return None


def to_ours(state_dict: Mapping[str, Tensor], form: Format) -> Converted:
    """Takes a state dict to our names.

    Args:
        state_dict (Mapping[str, Tensor]): Weights in a foreign format.
        form (Format): The format.

    Returns:
        Converted: The weights, views of the given ones where possible.
    """
    if form.name == OWN:
        return Converted(dict(state_dict), {}, [], [])
    found, missing, used = {}, {}, set()
    for entry in expand(form.entries, state_dict):
        lacking = [name for name in entry.theirs if name not in state_dict]
        if lacking:
            missing[entry.ours] = lacking[0]
            continue
        used.update(entry.theirs)
        tensors = [state_dict[name] for name in entry.theirs]
        found[entry.ours] = entry.rule.load(tensors)
    rest = [name for name in state_dict if name not in used]
    return Converted(
        found,
        missing,
        [name for name in rest if not _COMPUTED.search(name)],
        [name for name in rest if _COMPUTED.search(name)],
    )


def to_theirs(state_dict: Mapping[str, Tensor], form: Format) -> Converted:
    """Takes a state dict of ours to the names of a format.

    Args:
        state_dict (Mapping[str, Tensor]): Weights of a ``HarmoCLIP``.
        form (Format): The format.

    Returns:
        Converted: The weights by their names; ``missing`` has our names of
        what is lacking, ``unused`` those of what has no place there.
    """
    found, missing, used = {}, {}, set()
    for entry in expand(form.entries, state_dict):
        if entry.ours not in state_dict:
            missing[entry.ours] = entry.theirs[0]
            continue
        used.add(entry.ours)
        saved: Tuple[Tensor, ...] = entry.rule.save(state_dict[entry.ours])
        found.update(zip(entry.theirs, saved))
    unused = [name for name in state_dict if name not in used]
    return Converted(found, missing, unused, [])
