"""Random CLIPs of the reference libraries, saved in their real formats.

``save(name, folder)`` returns the path of a checkpoint and the reference.
"""

import json
import warnings
from collections import OrderedDict

import torch
from torch import nn

IMAGE_SIZE = 64
DIMS = 32
OPEN_CLIP = dict(
    embed_dim=DIMS,
    vision_cfg=dict(image_size=IMAGE_SIZE, layers=3, width=128, patch_size=16),
    text_cfg=dict(
        width=64, heads=1, layers=2, context_length=77, vocab_size=49408
    ),
)


class Reference:
    """Functions that embed by a reference model, not normalised."""

    def __init__(self, image, text, tokens=None, maps=None):
        self.image, self.text = image, text
        self.tokens, self.maps = tokens, maps


def randomised(module):
    """Norms and biases too: their initial ones and zeros would hide swaps."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() <= 1 and 'logit' not in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def open_clip_model(quick_gelu=True, custom_text=False):
    """open_clip's model at a small width."""
    import open_clip.model as model

    kind = model.CustomTextCLIP if custom_text else model.CLIP
    return randomised(kind(**OPEN_CLIP, quick_gelu=bool(quick_gelu)))


def open_clip_reference(model):
    """Its embeddings, token features and maps."""
    text = getattr(model, 'text', model)

    def tokens(ids):
        x = text.token_embedding(ids) + text.positional_embedding
        x = text.transformer(x, attn_mask=text.attn_mask)
        return text.ln_final(x) @ text.text_projection

    def maps(img):
        return model.visual.forward_intermediates(
            img, intermediates_only=True, output_fmt='NCHW'
        )['image_intermediates']

    return Reference(model.encode_image, model.encode_text, tokens, maps)


def scripted_openai(model, path):
    """The archive as OpenAI publishes it: traced, three numbers beside."""
    for name, value in (
        ('input_resolution', IMAGE_SIZE),
        ('context_length', 77),
        ('vocab_size', 49408),
    ):
        if hasattr(model, name):
            delattr(model, name)
        model.register_buffer(name, torch.tensor(value))
    img = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    ids = torch.zeros(1, 77, dtype=torch.int)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        traced = torch.jit.trace_module(
            model,
            dict(forward=(img, ids), encode_text=ids, encode_image=img),
            check_trace=False,
        )
    traced.save(str(path))


def huggingface_model(acts=('quick_gelu', 'quick_gelu')):
    """transformers' CLIPModel at a small width, heads of 32 channels."""
    import transformers

    towers = [
        dict(
            hidden_size=64,
            intermediate_size=160,
            num_hidden_layers=3,
            num_attention_heads=2,
            hidden_act=act,
        )
        for act in acts
    ]
    config = transformers.CLIPConfig(
        vision_config=dict(towers[0], image_size=IMAGE_SIZE, patch_size=16),
        text_config=dict(towers[1], vocab_size=49408, eos_token_id=49407),
        projection_dim=DIMS,
    )
    return randomised(transformers.CLIPModel(config))


def huggingface_reference(model):
    """Its embeddings, token features and maps."""

    def maps(img):
        states = model.vision_model(img, output_hidden_states=True)
        return [
            x[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
            for x in states.hidden_states[1:]
        ]

    def tokens(ids):
        return model.text_projection(model.text_model(ids).last_hidden_state)

    return Reference(
        model.get_image_features, model.get_text_features, tokens, maps
    )


def eva_model():
    """open_clip's EVA-02 at a small width, its tower made by timm."""
    import open_clip.model as model
    from timm.models.eva import eva02_base_patch16_clip_224

    clip = model.CustomTextCLIP(**OPEN_CLIP)
    clip.visual = nn.Module()
    clip.visual.trunk = eva02_base_patch16_clip_224(
        img_size=IMAGE_SIZE,
        embed_dim=128,
        depth=2,
        num_heads=2,
        num_classes=DIMS,
    )
    return randomised(clip)


EVA_NAMES = (
    ('.attn.norm.', '.attn.inner_attn_ln.'),
    ('.attn.q_proj.bias', '.attn.q_bias'),
    ('.attn.v_proj.bias', '.attn.v_bias'),
    ('.mlp.fc1_g.', '.mlp.w1.'),
    ('.mlp.fc1_x.', '.mlp.w2.'),
    ('.mlp.fc2.', '.mlp.w3.'),
    ('.mlp.norm.', '.mlp.ffn_ln.'),
)


def eva_clip_names(state):
    """timm's names to those of EVA-CLIP's repository, with its buffers."""
    renamed = OrderedDict()
    for name, value in state.items():
        name = name.replace('visual.trunk.', 'visual.')
        for timm, eva in EVA_NAMES:
            if name.startswith('visual.'):
                name = name.replace(timm, eva)
        renamed[name] = value
    angles = torch.zeros(16, 64)
    for name in ('visual.rope.', 'visual.blocks.0.attn.rope.'):
        renamed[name + 'freqs_cos'] = renamed[name + 'freqs_sin'] = angles
    return renamed


class _Vocabulary:
    """mmpretrain's CLIP asks its tokenizer for nothing else here."""

    def get_vocab(self):
        return {}


def mmpretrain_model():
    """mmpretrain's CLIP at a small width."""
    from mmpretrain.models.multimodal.clip.clip import CLIPZeroShot
    from mmpretrain.registry import TOKENIZER

    name = 'VocabularyOfNothing'
    TOKENIZER.register_module(name, force=True, module=_Vocabulary)
    arch = dict(
        embed_dims=128, num_layers=2, num_heads=2, feedforward_channels=512
    )
    model = CLIPZeroShot(
        vision_backbone=dict(
            type='mmpretrain.VisionTransformer',
            arch=arch,
            img_size=IMAGE_SIZE,
            patch_size=16,
            pre_norm=True,
            # CLIP's; the class's own default is 1e-6
            norm_cfg=dict(type='LN', eps=1e-5),
            layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
        ),
        projection=dict(
            type='mmpretrain.CLIPProjection', in_channels=128, out_channels=32
        ),
        text_backbone=dict(
            type='mmpretrain.CLIPTransformer', width=64, layers=2, heads=1
        ),
        tokenizer=dict(type=f'mmpretrain.{name}'),
        vocab_size=49408,
        transformer_width=64,
        proj_dim=32,
        data_preprocessor=dict(type='mmpretrain.MultiModalDataPreprocessor'),
        text_prototype=['dog'],
    )
    nn.init.normal_(model.visual.cls_token)
    nn.init.normal_(model.visual.pos_embed)
    return randomised(model)


def _trained(state):
    """What open_clip's training writes: DDP, optimizer, epoch."""
    return dict(
        epoch=3,
        name='run',
        state_dict={f'module.{name}': v for name, v in state.items()},
        optimizer=dict(state={0: dict(step=torch.tensor(1.0))}),
    )


def _open_clip(write, quick_gelu=False, custom_text=False):
    def saver(folder):
        model = open_clip_model(quick_gelu, custom_text)
        return str(write(model, folder)), open_clip_reference(model)

    return saver


def _torch(name, wrap=lambda state: state, **kwargs):
    def write(model, folder):
        torch.save(wrap(model.state_dict()), folder / name, **kwargs)
        return folder / name

    return write


def _safetensors(model, folder):
    from safetensors.torch import save_file

    save_file(model.state_dict(), folder / 'any.safetensors')
    return folder / 'any.safetensors'


def _hub_folder(model, folder):
    from safetensors.torch import save_file

    save_file(model.state_dict(), folder / 'open_clip_model.safetensors')
    config = dict(model_cfg=dict(OPEN_CLIP, quick_gelu=True))
    (folder / 'open_clip_config.json').write_text(json.dumps(config))
    return folder


def _openai_archive(model, folder):
    scripted_openai(model, folder / 'some.pt')
    return folder / 'some.pt'


def _huggingface(acts=('quick_gelu', 'gelu'), **kwargs):
    def saver(folder):
        model = huggingface_model(acts)
        model.save_pretrained(folder, **kwargs)
        return str(folder), huggingface_reference(model)

    return saver


def _eva(convert, name):
    def saver(folder):
        model = eva_model()
        torch.save(convert(model.state_dict()), folder / name)
        return str(folder / name), Reference(
            model.visual.trunk, model.encode_text
        )

    return saver


def _mmpretrain(folder):
    model = mmpretrain_model()
    path = folder / 'mmpretrain.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return str(path), Reference(
        model.extract_image_feat, model.extract_text_feat
    )


SAVERS = {
    'openai_archive': _open_clip(_openai_archive, True),
    'openai_state_dict': _open_clip(
        _torch(
            'state.pt',
            lambda s: dict(s, input_resolution=torch.tensor(IMAGE_SIZE)),
        ),
        True,
    ),
    'open_clip': _open_clip(_torch('model.pt')),
    'open_clip_old_torch': _open_clip(
        _torch('old.bin', _use_new_zipfile_serialization=False)
    ),
    'open_clip_quickgelu_by_name': _open_clip(_torch('vit-quickgelu.pt'), 1),
    'open_clip_training': _open_clip(_torch('epoch_3.pt', _trained)),
    'open_clip_safetensors': _open_clip(_safetensors),
    'open_clip_folder': _open_clip(_hub_folder, True),
    'open_clip_custom_text': _open_clip(_torch('custom.pt'), False, True),
    'huggingface': _huggingface(),
    'huggingface_sharded': _huggingface(max_shard_size='4MB'),
    'huggingface_bin': _huggingface(safe_serialization=False),
    'open_clip_eva': _eva(lambda state: state, 'eva.pt'),
    'eva_clip': _eva(eva_clip_names, 'EVA02_CLIP.pt'),
    'clipself': _eva(lambda s: _trained(eva_clip_names(s)), 'clipself.pt'),
    'mmpretrain': _mmpretrain,
}


def save(name, folder):
    """Saves a random reference in a format.

    Returns:
        Tuple[str, Reference]: Path and reference.
    """
    return SAVERS[name](folder)
