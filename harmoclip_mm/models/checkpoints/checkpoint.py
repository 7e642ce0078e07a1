"""From a path to weights by open_clip's names, and what is known of them."""

import ast
import os
import os.path as osp
import re
import reprlib
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple, Union

from safetensors.torch import load_file
from torch import Tensor, nn

from harmoclip_mm.errors import CheckpointError

from .addresses import WEIGHT_FILES, fetch, read_json
from .huggingface import read_config
from .key_tables import TABLES, rename
from .unpickling import load_weights_only, read_torchscript, unreadable

OWN = 'harmoclip_mm'
# The copy of the vision tower that some methods train against.
TEACHER = 'teacher.'
# What a weight of a CLIP is called in each format; the first match holds.
_FORMATS = {
    OWN: r'(backbone\.visual|text_encoder\.text)\.',
    'harmoclip_mm_0_1_eva': r'backbone\.layers\.0\.q_proj\.',
    'harmoclip_mm_0_1': r'backbone\.proj\.weight|text_encoder\.token_embed',
    'huggingface_siglip': r'vision_model\.head\.|text_model\.head\.',
    'huggingface_clip': r'(vision|text)_model\.',
    'eva_clip': r'visual\.blocks\.\d',
    'mmpretrain': r'visual\.layers\.\d',
    'open_clip': r'(visual|text|token_embedding)\.',
}
# Arguments of the towers of version 0.1 that mean the same today.
_SINCE_0_1 = {
    *('dense_mode', 'frozen', 'frozen_stages', 'global_indices', 'img_size'),
    *('out_indices', 'window_size', 'with_cp'),
}
# Computed when a model is built: masks, positions, angles, OpenAI's numbers.
_COMPUTED = re.compile(
    r'(.*\.)?(attn_mask|position_ids|freqs_cos|freqs_sin|input_resolution|'
    r'context_length|vocab_size)'
)
# What a training may wrap its state dict in: mmengine, open_clip; EVA, timm.
_WRAPPERS = ('state_dict', 'model', 'module', 'model_state_dict')


class Checkpoint(NamedTuple):
    """Weights, and what is known of them.

    Attributes:
        path (str): The file, for messages.
        weights (Dict[str, Tensor]): Tensors by name, possibly mapped from
            the file: to be copied, not kept. Those of a CLIP have
            open_clip's names, the text tower's in ``text.``; what else a
            training of ours holds has its own.
        container (Any): The object that held the state dict, if any.
        format (str, optional): Format of a CLIP; None of anything else.
        clip (str | Mapping, optional): The CLIP that the file, or a config
            with it, says it is, as :func:`clip_spec` takes it.
        facts (Facts): What is known for certain of its towers.
        towers (Mapping[str, Dict]): Arguments of ``backbone`` and
            ``text_encoder`` in the config of a training of ours.
    """

    path: str
    weights: Dict[str, Tensor]
    container: Any = None
    format: Optional[str] = None
    clip: Any = None
    facts: Mapping[str, Mapping] = {}
    towers: Mapping[str, Dict] = {}

    @property
    def own_weights(self) -> Dict[str, Tensor]:
        """All weights by our names."""
        if self.format is None:
            return self.weights
        weights, rest = rename(self.weights, TABLES[OWN], back=True)
        return {**weights, **rest}

    @property
    def is_whole(self) -> bool:
        """Whether both towers of a CLIP are there."""
        return {'visual', 'text'} <= {n.split('.')[0] for n in self.weights}

    @property
    def shapes(self) -> Dict[str, Tuple[int, ...]]:
        """Shapes of open_clip's own weights.

        Hence without a second pool, or what else is in a training of ours.
        """
        own = (self.format or '').startswith(OWN)
        ours = ('visual.', 'text.', 'logit_') if own else ''
        return {
            name: tuple(value.shape)
            for name, value in self.weights.items()
            if name.startswith(ours) and '.dense_pool.' not in name
        }


def read_checkpoint(
    path: Union[str, os.PathLike], trust_pickle: bool = False, prefix: str = ''
) -> Checkpoint:
    """Reads a checkpoint.

    Args:
        path (str | Path): A file of ``torch.save``, ``safetensors`` or
            TorchScript, an index of shards, a folder that holds one of them,
            an ``hf-hub:OWNER/NAME`` or an ``http(s)://`` address.
        trust_pickle (bool): Whether to run the code of a file that holds
            more than weights. Defaults to False.
        prefix (str): Take the weights below it, and it off their names.
            Defaults to taking all.

    Raises:
        CheckpointError: If it cannot be read; says what to do.
    """
    path = osp.expanduser(fetch(os.fspath(path)))
    if osp.isdir(path):
        names = [n for n in WEIGHT_FILES if osp.isfile(osp.join(path, n))]
        if not names:
            raise CheckpointError(
                f'folder {path} holds no checkpoint of a known name '
                f'({", ".join(WEIGHT_FILES)}): give the file itself.'
            )
        path = osp.join(path, names[0])
    tensors, container, quick_gelu = _read_file(path, trust_pickle)
    prefix, weights = prefix and prefix.rstrip('.') + '.', {}
    for name, value in tensors.items():
        name = re.sub(r'^(_orig_mod\.)?(module\.)?(_orig_mod\.)?', '', name)
        if name.startswith(prefix):
            weights[name[len(prefix) :]] = value
    return _recognise(Checkpoint(path, weights, container), quick_gelu)


def _recognise(found: Checkpoint, quick_gelu: Optional[bool]) -> Checkpoint:
    names = '\n'.join(found.weights)
    forms = [
        form
        for form, pattern in _FORMATS.items()
        if re.search(f'^({pattern})', names, re.MULTILINE)
    ]
    if not forms:
        return found
    form = forms[0]
    if quick_gelu is None and 'input_resolution' in found.weights:
        quick_gelu = True  # OpenAI's numbers beside OpenAI's weights
    weights, rest = rename(found.weights, TABLES[form])
    kept = rest if form.startswith(OWN) else {}  # heads and the like
    weights = {
        name: value
        for name, value in {**weights, **rest}.items()
        if name in kept or not _COMPUTED.fullmatch(name)
    }
    for name in {'logit_scale', 'logit_bias'} & {*weights}:
        weights[name] = weights[name].reshape(())
    found = found._replace(format=form, weights=weights)
    folder, file = osp.split(found.path)
    if form == OWN:
        clip, towers = own_config(found.container)
        return found._replace(clip=clip, towers=towers)
    if form.startswith('harmoclip_mm_0_1'):
        return _of_0_1(found)
    # Beside a file of any other name a config may be anything's.
    beside = folder if file in WEIGHT_FILES else ''
    config = 'config.json' if 'hugging' in form else 'open_clip_config.json'
    if beside and osp.isfile(osp.join(folder, config)):
        if form.startswith('huggingface'):
            return found._replace(**read_config(folder, found.shapes))
        return found._replace(clip=folder)
    if quick_gelu is not None:
        activation = ['quick_gelu' if quick_gelu else 'gelu']
        return found._replace(facts=dict(text=dict(activation=activation)))
    return found


def _of_0_1(found: Checkpoint) -> Checkpoint:
    """Adds what the config of a training of version 0.1 says.

    A teacher is left out: a training that starts has its own start.
    """
    weights = {
        name: value
        for name, value in found.weights.items()
        if not name.startswith(TEACHER)
    }
    facts, _, towers = {}, *own_config(found.container)
    for tower, place in dict(visual='backbone', text='text_encoder').items():
        cfg = towers.get(place)
        if not cfg or (tower == 'visual' and found.format.endswith('eva')):
            continue  # EVA-02 is one of open_clip's
        act = (cfg.get('act_cfg') or {}).get('type', 'QuickGELU')
        act = 'quick_gelu' if act.endswith('QuickGELU') else 'gelu'
        facts[tower] = dict(activation=[act])
        arch = cfg.get('arch')
        heads = (arch if isinstance(arch, dict) else cfg).get('num_heads')
        if heads is not None:
            facts[tower]['heads'] = [heads]
    towers = {
        place: {k: v for k, v in cfg.items() if k in _SINCE_0_1}
        for place, cfg in towers.items()
    }
    return found._replace(weights=weights, facts=facts, towers=towers)


def _read_file(path: str, trust_pickle: bool) -> Tuple:
    """Tensors, container and activation, where the file tells them."""
    if not osp.isfile(path):
        raise CheckpointError(f'checkpoint {path} does not exist')
    if path.endswith('.index.json'):
        return _read_shards(path, trust_pickle), None, None
    with open(path, 'rb') as file:
        start = file.read(9)
    # a header's length in 8 bytes, and a JSON object follows
    if path.endswith('.safetensors') or start[8:] == b'{':
        try:
            return load_file(path), None, None
        except Exception as error:
            raise unreadable(path, error) from error
    scripted = read_torchscript(path)
    if scripted is not None:
        return scripted[0], None, scripted[1]
    found = load_weights_only(path, mmap=True, trust_pickle=trust_pickle)
    tensors = found
    for name in reversed(_WRAPPERS):
        inner = found.get(name) if isinstance(found, dict) else None
        tensors = inner if isinstance(inner, (dict, nn.Module)) else tensors
    if isinstance(tensors, nn.Module):
        tensors = tensors.state_dict()
    if isinstance(tensors, dict):
        tensors = {
            name: value
            for name, value in tensors.items()
            if isinstance(name, str) and isinstance(value, Tensor)
        }
        if tensors:
            return tensors, found, None
    raise CheckpointError(
        f'checkpoint {path} holds no state dict but {reprlib.repr(found)}.'
    )


def _read_shards(index: str, trust_pickle: bool) -> Dict[str, Tensor]:
    weight_map = read_json(index).get('weight_map') or {}
    tensors: Dict[str, Tensor] = {}
    for name in sorted(set(weight_map.values())):
        # a name must not lead out of the folder
        path = osp.join(osp.dirname(index), osp.basename(name))
        tensors.update(_read_file(path, trust_pickle)[0])
    lacking = [name for name in weight_map if name not in tensors]
    if lacking or not weight_map:
        raise CheckpointError(
            f'the shards that {index} names lack {len(lacking)} weights '
            f'({", ".join(lacking[:3])}): the download may be incomplete.'
        )
    return tensors


def own_config(container: Any) -> Tuple[Any, Dict[str, Dict]]:
    """CLIP and towers of the config that a Runner of ours saved as Python.

    Running the text would run code of the file; what is no literal is None.
    """
    try:
        model = next(
            node.value
            for node in ast.parse(container['meta']['cfg']).body
            if isinstance(node, ast.Assign) and node.targets[0].id == 'model'
        )
        cfg = ast.literal_eval(_Literals().visit(model))
        towers = {
            tower: dict(cfg.get(tower) or {})
            for tower in ('backbone', 'text_encoder')
        }
    except Exception:  # no such text, or one that is none of ours
        return None, {}
    clip = cfg.get('clip') or towers['backbone'].get('clip')
    for tower in towers.values():
        for key in {'type', 'clip', 'init_cfg'} & {*tower}:
            del tower[key]
    return clip, towers


class _Literals(ast.NodeTransformer):
    """Writes ``dict(a=1)`` as ``{'a': 1}``, and all other code as None."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(None)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if getattr(node.func, 'id', None) != 'dict' or node.args:
            return ast.Constant(None)
        keys = [ast.Constant(each.arg) for each in node.keywords]
        return ast.Dict(keys, [self.visit(k.value) for k in node.keywords])
