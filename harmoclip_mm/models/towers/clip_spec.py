"""What the name of a CLIP says: towers, preprocessing, tokenizer, scores."""

import copy
import difflib
import json
import math
import os
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Mapping,
    Optional,
    Tuple,
    Union,
)

import open_clip
import torch
from mmengine.utils import to_2tuple
from open_clip.pretrained import download_pretrained_from_hf
from open_clip.transform import (
    PreprocessCfg,
    image_transform_v2,
    merge_preprocess_dict,
)
from PIL import Image
from torch import Tensor

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import CLIPS

CONFIG_FILE = 'open_clip_config.json'
CLIPName = Union[str, Mapping[str, Any]]


def _is_sizes(value: Any) -> bool:
    """A positive integer, or a pair or the stages of a tower."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return bool(values) and all(type(x) is int and x > 0 for x in values)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_colour(value: Any) -> bool:
    is_list = isinstance(value, (list, tuple)) and len(value) == 3
    return is_list and all(map(_is_number, value))


# Legal values of keys that open_clip takes and fails with at the first batch.
_TOWER: Dict[str, Callable[[Any], bool]] = dict(
    dict.fromkeys(['context_length', 'heads', 'image_size'], _is_sizes),
    **dict.fromkeys(['layers', 'vocab_size', 'width'], _is_sizes),
    patch_size=lambda x: x is None or _is_sizes(x),  # as ResNets have it
    eps=lambda x: _is_number(x) and x > 0,
    approximate=lambda x: x in ('none', 'tanh'),
)
_PREPROCESS: Dict[str, Callable[[Any], bool]] = dict(
    mean=_is_colour,
    std=lambda x: _is_colour(x) and min(x) > 0,
    interpolation=lambda x: x in ('bicubic', 'bilinear', 'random'),
    resize_mode=lambda x: x in ('shortest', 'longest', 'squash'),
    fill_color=lambda x: type(x) is int and 0 <= x < 256,
    mode=lambda x: x == 'RGB',
    size=lambda x: True,  # that of the tower is taken
)


@dataclass(frozen=True)
class CLIPSpec:
    """A CLIP as open_clip describes it.

    Attributes:
        name (str): Its name; of one given as a dict, what its vision tower
            is: ``'ViT 4x128/10, 80 px'`` has 4 blocks 128 wide and patches
            of 10 px.
        model_cfg (dict): open_clip's schema: ``embed_dim``, ``vision_cfg``,
            ``text_cfg``, and ``quick_gelu``, ``custom_text``,
            ``init_logit_scale``, ``init_logit_bias`` where they differ from
            its defaults.
        preprocess_cfg (dict): open_clip's ``PreprocessCfg``.
        folder (str, optional): Local folder with the tokenizer's files, for
            a CLIP that was given as a folder.
        clip (str | Mapping): What it was made of, for the line `clip = ...`.
    """

    name: str
    model_cfg: Dict[str, Any]
    preprocess_cfg: Dict[str, Any]
    folder: Optional[str] = None
    clip: CLIPName = ''

    @property
    def embed_dim(self) -> int:
        """Width D of the joint space."""
        return self.model_cfg['embed_dim']

    @property
    def img_size(self) -> Tuple[int, int]:
        """Height and width in pixels that the CLIP was trained at."""
        size = self.model_cfg['vision_cfg'].get('image_size', 224)
        return tuple(to_2tuple(size))

    @property
    def mean(self) -> Tuple[float, ...]:
        """Mean of the channels R, G, B; pixels in [0, 1]."""
        return tuple(self.preprocess_cfg['mean'])

    @property
    def std(self) -> Tuple[float, ...]:
        """Standard deviation of the channels R, G, B; pixels in [0, 1]."""
        return tuple(self.preprocess_cfg['std'])

    @property
    def interpolation(self) -> str:
        """``'bicubic'`` or ``'bilinear'``: how images were resized."""
        return self.preprocess_cfg['interpolation']

    @property
    def resize_mode(self) -> str:
        """``'shortest'`` side and centre crop, ``'squash'`` or
        ``'longest'`` side and padding: how images became squares."""
        return self.preprocess_cfg['resize_mode']

    @property
    def context_length(self) -> int:
        """Tokens of a text, special ones counted."""
        return self.model_cfg['text_cfg'].get('context_length', 77)

    @cached_property
    def patch_size(self) -> int:
        """Pixels a side of a cell of the dense map."""
        from .backbone import build_visual, family_of

        with torch.device('meta'):  # only the tower knows
            return family_of(build_visual(self), self.name).patch_size

    @property
    def init_scale(self) -> float:
        """Factor of the cosines before any training."""
        default = math.log(1 / 0.07)
        return math.exp(self.model_cfg.get('init_logit_scale', default))

    @property
    def init_bias(self) -> Optional[float]:
        """Added to the scaled cosines before any training; None: no bias."""
        return self.model_cfg.get('init_logit_bias')

    @property
    def is_causal(self) -> bool:
        """Whether tokens of a text see only those before them."""
        cfg = self.model_cfg['text_cfg']
        return not (cfg.get('no_causal_mask') or cfg.get('hf_model_name'))

    @property
    def custom_text(self) -> bool:
        """Whether open_clip keeps the text tower's weights in ``text.``."""
        return bool(
            self.model_cfg.get('custom_text')
            or self.model_cfg['text_cfg'].get('hf_model_name')
        )

    def image_transform(
        self, img_size: Optional[Tuple[int, int]] = None
    ) -> Callable[[Image.Image], Tensor]:
        """open_clip's preprocessing of an image for evaluation.

        Args:
            img_size (Tuple[int, int], optional): Height and width in pixels.
                Defaults to the CLIP's own.

        Returns:
            Callable: From an image to a normalised tensor (3, H, W).
        """
        size = to_2tuple(img_size or self.img_size)
        cfg = merge_preprocess_dict(self.preprocess_cfg, dict(size=size))
        return image_transform_v2(PreprocessCfg(**cfg), is_train=False)

    @property
    def tokenizer(self) -> Any:
        """The CLIP's ``CLIPTokenizer``."""
        from .tokenizer import get_tokenizer

        return get_tokenizer(self)


@CLIPS.register_module(name='CLIPSpec')
def clip_spec(clip: CLIPName) -> CLIPSpec:
    """Looks up a CLIP.

    Args:
        clip (str | Mapping): A name of ``open_clip.list_models()``; a dict
            in the schema of its model files (``embed_dim``, ``vision_cfg``,
            ``text_cfg``, ...), which may hold a ``preprocess_cfg``; a folder
            with an ``open_clip_config.json``; or
            ``hf-hub:OWNER/NAME[@REVISION]``, whose config file is downloaded
            unless it is in the cache.

    Raises:
        UsageError: If there is no such CLIP, or none is named.
    """
    if clip is None:
        raise UsageError(
            'No CLIP is named: read the config by '
            'harmoclip_mm.apis.load_config, which writes its line '
            '`clip = ...` into every part, or give clip=NAME.'
        )
    if isinstance(clip, Mapping):
        text = json.dumps(clip, sort_keys=True, default=dict)
        return _from_dict(text)
    if not isinstance(clip, (str, os.PathLike)):  # as of --cfg-options clip=7
        raise UsageError(
            f'clip={clip!r:.80} is no CLIP: give a name, a folder or a dict'
        )
    name = os.fspath(clip)
    # a folder each time: its file may change
    if name.startswith('hf-hub:'):
        return _from_folder(name)
    has_config = os.path.isfile(os.path.join(name, CONFIG_FILE))
    is_name = open_clip.get_model_config(name) is not None
    if has_config or (os.path.isdir(name) and not is_name):
        # absolute: its tokenizer is read later, from elsewhere
        return _from_folder(os.path.abspath(name))
    return _from_name(name)


@lru_cache(maxsize=64)
def _from_dict(text: str) -> CLIPSpec:
    clip = json.loads(text)
    cfg = {k: v for k, v in clip.items() if k != 'preprocess_cfg'}
    spec = _spec(_describe(cfg), cfg, clip.get('preprocess_cfg'))
    return replace(spec, clip=clip)


def _describe(cfg: Mapping[str, Any]) -> str:
    """A short name for a CLIP that has none."""
    vision = cfg.get('vision_cfg')
    if not isinstance(vision, Mapping):
        return 'without a name'
    layers, width = vision.get('layers', 12), vision.get('width', 768)
    if vision.get('timm_model_name'):
        tower = vision['timm_model_name']
    elif isinstance(layers, (list, tuple)):
        tower = f'ResNet {"-".join(map(str, layers))}x{width}'
    else:
        tower = f'ViT {layers}x{width}/{vision.get("patch_size", 16)}'
    return f'{tower}, {vision.get("image_size", 224)} px'


def _from_folder(name: str) -> CLIPSpec:
    on_hub, remedy = name.startswith('hf-hub:'), ''
    try:
        if on_hub:
            remedy = '; without a network bring its folder, and give its path'
            repo, _, revision = name[len('hf-hub:') :].partition('@')
            path = download_pretrained_from_hf(
                repo, CONFIG_FILE, revision or None
            )
        else:
            path = os.path.join(name, CONFIG_FILE)
        content = json.loads(Path(path).read_text(encoding='utf-8'))
        model_cfg = content['model_cfg']
        preprocess = content.get('preprocess_cfg')
    except Exception as error:  # a network has many ways to fail
        told = str(error).strip().split('\n')[0]
        raise UsageError(
            f'clip {name!r} has no readable {CONFIG_FILE} with a '
            f'`model_cfg` ({type(error).__name__}: {told}){remedy}'
        ) from error
    folder = None if on_hub else name
    return _spec(name, model_cfg, preprocess, folder)


@lru_cache(maxsize=64)
def _from_name(name: str) -> CLIPSpec:
    model_cfg = open_clip.get_model_config(name)
    if model_cfg is None:
        near = difflib.get_close_matches(name, open_clip.list_models(), 3, 0.5)
        hint = f' (did you mean {" or ".join(near)}?)' if near else ''
        raise UsageError(
            f'clip {name!r} is neither a folder nor a name of open_clip{hint}'
            '; `python -c "import open_clip; print(open_clip.list_models())"` '
            'lists the names'
        )
    return _spec(name, model_cfg, _trained_preprocessing(name))


def _check(cfg: Any, where: str, legal: Mapping, closed: bool = False) -> None:
    if not isinstance(cfg, Mapping):
        raise UsageError(f'{where} must be an object, not {cfg!r:.80}')
    for key, value in cfg.items():
        if closed and key not in legal:  # open_clip would pass over it
            raise UsageError(
                f'{where} has the unknown key {key!r}; known are '
                f'{", ".join(legal)}'
            )
        unsaid = closed and value is None
        if key in legal and not unsaid and not legal[key](value):
            raise UsageError(
                f'{where} has {key} = {value!r:.80}, which is none of '
                'open_clip'
            )


def _trained_preprocessing(name: str) -> Dict[str, Any]:
    """Preprocessing of the released weights of a name.

    Where releases differ (mean and deviation of a few of LAION and Apple),
    that of the first is taken, which is OpenAI's where there is one.
    """
    tags = open_clip.list_pretrained_tags_by_model(name)
    if not tags:
        return {}
    cfg = open_clip.get_pretrained_cfg(name, tags[0])
    return {key: cfg[key] for key in _PREPROCESS if key in cfg}


def _spec(
    name: str,
    model_cfg: Mapping[str, Any],
    preprocess: Optional[Mapping[str, Any]],
    folder: Optional[str] = None,
) -> CLIPSpec:
    kinds = dict(embed_dim=int, vision_cfg=Mapping, text_cfg=Mapping)
    lacking = list(kinds)
    if isinstance(model_cfg, Mapping):
        lacking = [
            key
            for key, kind in kinds.items()
            if not isinstance(model_cfg.get(key), kind)
        ]
    if lacking:
        raise UsageError(
            f'clip {name!r} says no {", ".join(lacking)} as there must be: '
            'a CLIP is a dict '
            'of embed_dim, vision_cfg and text_cfg as in '
            'open_clip/model_configs/*.json'
        )
    for tower in ('vision_cfg', 'text_cfg'):
        cfg, where = model_cfg[tower], f'{tower} of clip {name!r}'
        _check(cfg, where, _TOWER)
        for key in ('norm_kwargs', 'act_kwargs'):
            _check(cfg.get(key) or {}, f'{where}: its {key}', _TOWER)
    preprocess = {} if preprocess is None else preprocess
    _check(preprocess, f'preprocess_cfg of clip {name!r}', _PREPROCESS, True)
    model_cfg = copy.deepcopy(dict(model_cfg))
    size = model_cfg['vision_cfg'].get('image_size', 224)
    preprocess = merge_preprocess_dict(PreprocessCfg(), dict(preprocess))
    preprocess['size'] = size
    return CLIPSpec(name, model_cfg, preprocess, folder, clip=name)
