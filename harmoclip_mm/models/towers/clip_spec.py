"""What the name of a CLIP says: towers, preprocessing, tokenizer, scores."""

import copy
import difflib
import json
import math
import os
from dataclasses import dataclass
from functools import lru_cache
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
from mmengine.utils import to_2tuple
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


@dataclass(frozen=True)
class CLIPSpec:
    """A CLIP as open_clip describes it.

    Attributes:
        name (str): Its name, or ``'custom'`` for one given as a dict.
        model_cfg (dict): open_clip's schema: ``embed_dim``, ``vision_cfg``,
            ``text_cfg``, and ``quick_gelu``, ``custom_text``,
            ``init_logit_scale``, ``init_logit_bias`` where they differ from
            its defaults.
        preprocess_cfg (dict): open_clip's ``PreprocessCfg``.
        folder (str, optional): Local folder with the tokenizer's files, for
            a CLIP that was given as a folder.
    """

    name: str
    model_cfg: Dict[str, Any]
    preprocess_cfg: Dict[str, Any]
    folder: Optional[str] = None

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

    @property
    def patch_size(self) -> int:
        """Pixels a side of a cell of the dense map."""
        from .backbone import cell_size

        return cell_size(self)

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


def clip_spec(clip: CLIPName) -> CLIPSpec:
    """Looks up a CLIP.

    Args:
        clip (str | Mapping): A name of ``open_clip.list_models()``; a dict
            in the schema of its model files (``embed_dim``, ``vision_cfg``,
            ``text_cfg``, ...), which may hold a ``preprocess_cfg``; a folder
            with an ``open_clip_config.json``; or ``hf-hub:OWNER/NAME``, whose
            config file is downloaded unless it is in the cache.

    Returns:
        CLIPSpec: What it says.

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
    return _from_name(os.fspath(clip))


@CLIPS.register_module(name='CLIPSpec')
def _build(clip: CLIPName) -> CLIPSpec:
    return clip_spec(clip)


@lru_cache(maxsize=64)
def _from_dict(text: str) -> CLIPSpec:
    cfg = json.loads(text)
    preprocess = cfg.pop('preprocess_cfg', {})
    return _spec('custom', cfg, preprocess)


@lru_cache(maxsize=64)
def _from_name(name: str) -> CLIPSpec:
    if name.startswith('hf-hub:') or os.path.isdir(name):
        folder = None if name.startswith('hf-hub:') else name
        path = Path(name, CONFIG_FILE) if folder else _hub_config(name)
        try:
            content = json.loads(Path(path).read_text(encoding='utf-8'))
            model_cfg = content['model_cfg']
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f'clip {name!r} has no readable {CONFIG_FILE} with a '
                f'`model_cfg` ({type(error).__name__}: {error})'
            ) from error
        preprocess = content.get('preprocess_cfg', {})
        return _spec(name, model_cfg, preprocess, folder)
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


def _trained_preprocessing(name: str) -> Dict[str, Any]:
    """Preprocessing of the released weights of a name.

    Where releases differ (mean and deviation of a few of LAION and Apple),
    that of the first is taken, which is OpenAI's where there is one.
    """
    tags = open_clip.list_pretrained_tags_by_model(name)
    if not tags:
        return {}
    return open_clip.get_pretrained_cfg(name, tags[0])


def _hub_config(name: str) -> str:
    from open_clip.pretrained import download_pretrained_from_hf

    repository = name[len('hf-hub:') :]
    try:
        return download_pretrained_from_hf(repository, filename=CONFIG_FILE)
    except Exception as error:
        raise UsageError(
            f'clip {name!r}: its {CONFIG_FILE} is not in the cache and could '
            f'not be downloaded ({type(error).__name__}); download the folder '
            f'{repository} on a machine with network and give its path'
        ) from error


def _spec(
    name: str,
    model_cfg: Mapping[str, Any],
    preprocess: Mapping[str, Any],
    folder: Optional[str] = None,
) -> CLIPSpec:
    lacking = [
        key
        for key in ('embed_dim', 'vision_cfg', 'text_cfg')
        if key not in model_cfg
    ]
    if lacking:
        raise UsageError(
            f'clip {name!r} says no {", ".join(lacking)}: a CLIP is a dict '
            'of embed_dim, vision_cfg and text_cfg as in '
            'open_clip/model_configs/*.json'
        )
    model_cfg = copy.deepcopy(dict(model_cfg))
    size = model_cfg['vision_cfg'].get('image_size', 224)
    preprocess = merge_preprocess_dict(PreprocessCfg(), dict(preprocess))
    preprocess['size'] = size
    return CLIPSpec(name, model_cfg, preprocess, folder)
