"""Text embeddings of class names, bound to the CLIP that made them."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence, Tuple, Union
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from harmoclip_mm.errors import CheckpointError, DataError
from harmoclip_mm.files import replacing
from harmoclip_mm.text import Vocabulary

from ..checkpoints import traits
from .zero_shot_classifier import ZeroShotClassifier

_FORMAT = 1


def tower_fingerprint(tower: nn.Module) -> str:
    """SHA-256 of a CLIP's tower: its weights in a checkpoint, and what they
    do not show, as the activation.

    Weights are read as float32 in the order of their names. A vision tower's
    position embeddings are left out, since loading resizes them to the input
    size; so is a ``dense_head``, which the CLIP does not have.

    Returns:
        str: 64 hexadecimal digits.
    """
    own = getattr(tower, 'visual', getattr(tower, 'text', tower))
    weights = own.state_dict()
    if hasattr(tower, 'visual'):
        weights.pop(tower.family.pos_embed, None)
    digest = hashlib.sha256(repr(sorted(traits(own).items())).encode())
    for name, weight in sorted(weights.items()):
        if not weight.is_floating_point():  # counters of batches
            continue
        digest.update(f'{name} {tuple(weight.shape)}\n'.encode())
        digest.update(weight.detach().cpu().float().contiguous().numpy())
    return digest.hexdigest()


@dataclass(frozen=True)
class TextEmbeddings:
    """One embedding a class, and what made it.

    Args:
        embeddings (Tensor): L2-normalised rows, shape (C, D), float32.
        classes (Tuple[str, ...]): Names of the C classes.
        templates (Tuple[str, ...]): Prompt templates that were averaged.
        text_fingerprint (str): :func:`tower_fingerprint` of the text tower.
        vision_fingerprint (str): That of the vision tower it belongs to.
    """

    embeddings: Tensor
    classes: Tuple[str, ...]
    templates: Tuple[str, ...]
    text_fingerprint: str
    vision_fingerprint: str

    def rows(self, classes: Sequence[str]) -> Tensor:
        """Embeddings of some of the classes, in their order, (C, D).

        Raises:
            DataError: If a class has no embedding.
        """
        place = {name: row for row, name in enumerate(self.classes)}
        lacking = [name for name in classes if name not in place]
        if lacking:
            raise DataError(
                f'The text embeddings have no class {lacking[0]!r} '
                f'({len(lacking)} of {len(classes)} are missing): dump them '
                'again for a vocabulary that holds all.'
            )
        return self.embeddings[[place[name] for name in classes]]

    def save(self, path: Union[str, Path]) -> None:
        """Writes a ``.npz`` without pickles, as a whole or not at all.

        Raises:
            ValueError: If the name does not end in ``.npz``.
        """
        path = Path(path)
        if path.suffix != '.npz':
            raise ValueError(f'{path} should end in .npz.')
        about = dict(
            format=_FORMAT,
            classes=self.classes,
            templates=self.templates,
            mode='eot',  # of the format: there were others
            text_fingerprint=self.text_fingerprint,
            vision_fingerprint=self.vision_fingerprint,
        )
        text = json.dumps(about, ensure_ascii=False).encode()
        with replacing(path) as part, open(part, 'wb') as file:
            np.savez(
                file,
                embeddings=self.embeddings.cpu().float().numpy(),
                about=np.frombuffer(text, dtype=np.uint8),
            )

    @classmethod
    def load(cls, path: Union[str, Path]) -> 'TextEmbeddings':
        """Reads what :meth:`save` wrote; no code of the file is run.

        Raises:
            CheckpointError: If there is no such file, or it holds something
                else.
        """
        if not os.path.isfile(path):
            raise CheckpointError(
                f'text embeddings {path} do not exist; write them with '
                'tools/model_converters/dump_text_embeddings.py.'
            )
        try:
            with np.load(path, allow_pickle=False) as content:
                rows = torch.from_numpy(content['embeddings'])
                about = json.loads(content['about'].tobytes())
            version = about.pop('format')
            about.pop('mode')
            found = cls(
                rows,
                tuple(about.pop('classes')),
                tuple(about.pop('templates')),
                **about,
            )
            texts = (*found.classes, *found.templates, *about.values())
            if not all(isinstance(text, str) for text in texts):
                raise TypeError('a name or a setting is no text')
            if not (rows.is_floating_point() and rows.isfinite().all()):
                raise ValueError('an embedding is not of finite numbers')
        except (
            AttributeError,
            BadZipFile,
            EOFError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            raise CheckpointError(
                f'{path} is no file of text embeddings '
                f'({type(error).__name__}: {error}).'
            ) from error
        fits = rows.ndim == 2 and len(rows) == len(found.classes)
        if version != _FORMAT or not fits:
            raise CheckpointError(
                f'{path} holds embeddings of shape {tuple(rows.shape)} for '
                f'{len(found.classes)} classes in format {version}; this '
                f'version reads one row a class in format {_FORMAT}.'
            )
        return found


@torch.no_grad()
def encode_vocabulary(
    text_encoder: nn.Module,
    backbone: nn.Module,
    vocabulary: Vocabulary,
    templates: Union[str, Sequence[str]] = 'openai80',
) -> TextEmbeddings:
    """Embeds the classes of a vocabulary, in float32 whatever autocast says.

    Args:
        text_encoder (nn.Module): A ``CLIPTextEncoder``.
        backbone (nn.Module): The vision tower of the same CLIP.
        vocabulary (Vocabulary): The classes.
        templates (str | Sequence[str]): See ``ZeroShotClassifier``.

    Returns:
        TextEmbeddings: Their embeddings, on the CPU.

    Raises:
        ValueError: If templates are unknown.
    """
    prompts = dict(zip(vocabulary.classes, vocabulary.prompts))
    classifier = ZeroShotClassifier(templates, prompts)
    device = next(text_encoder.parameters()).device
    # They are kept: those of a first step in bfloat16 would be rounded.
    with torch.autocast(device.type, enabled=False):
        rows = classifier.class_embeddings(vocabulary.classes, text_encoder)
    return TextEmbeddings(
        rows.float().cpu(),
        vocabulary.classes,
        classifier.templates,
        tower_fingerprint(text_encoder),
        tower_fingerprint(backbone),
    )
