"""The vocabulary of a detector, kept in its checkpoint."""

import json
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from harmoclip_mm.errors import UsageError
from harmoclip_mm.text import Vocabulary, get_templates

from ..classifiers import TextEmbeddings
from .vocabulary import OpenVocabulary, subset

# Stands for fingerprints that are not known yet. As long as one, so that the
# record keeps its length when the text tower fills it in: moving averages
# have copied the buffers by then.
UNKNOWN = '0' * 64
_SIZED = ('train_embeddings', 'embeddings', 'is_novel', 'record')


class VocabularyRecord(NamedTuple):
    """What a detector knows of its classes beside their embeddings.

    Attributes:
        classes (Tuple[str, ...]): Classes that a test scores.
        prompts (Tuple[str, ...]): Their words in the templates.
        base (Tuple[str, ...]): Classes that it is trained on.
        templates (Tuple[str, ...]): Templates of the embeddings.
        mode (str): Mode of the classifier that made them.
        text_fingerprint (str): Fingerprint of the text tower.
        vision_fingerprint (str): Fingerprint of the vision tower.
    """

    classes: Tuple[str, ...]
    prompts: Tuple[str, ...]
    base: Tuple[str, ...]
    templates: Tuple[str, ...]
    mode: str
    text_fingerprint: str = UNKNOWN
    vision_fingerprint: str = UNKNOWN

    @property
    def is_encoded(self) -> bool:
        """Whether there are embeddings."""
        return self.vision_fingerprint != UNKNOWN

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes of a test with their prompts."""
        # What was accepted once is accepted again.
        return Vocabulary(
            self.classes, prompts=self.prompts, shared_prompts=self.prompts
        )


class VocabularyMemory(nn.Module):
    """Names and embeddings of the classes, as buffers.

    Everything is a tensor, so that checkpoints, moving averages and moves
    between devices treat it as such: names lie in a buffer of UTF-8 JSON. At
    loading the buffers take the shape they have in the checkpoint, and so
    does the number of classes. Trained weights depend on none of it.

    The classes of the training and those of the tests are kept apart: a new
    vocabulary replaces the latter alone.

    Args:
        split (OpenVocabulary): Base and novel classes.
        embed_dims (int): Width D of the embeddings.
        templates (str | Sequence[str]): See ``ZeroShotClassifier``.
        mode (str): See ``ZeroShotClassifier``.

    Attributes:
        train_embeddings (Tensor): Rows of the base classes, (B, D).
        embeddings (Tensor): Rows of all classes of a test, (C, D).
        is_novel (Tensor): Which of these are novel, (C,) bool.
        record (Tensor): The :class:`VocabularyRecord`, uint8.
    """

    def __init__(
        self,
        split: OpenVocabulary,
        embed_dims: int,
        templates: Union[str, Sequence[str]] = 'openai80',
        mode: str = 'eot',
    ) -> None:
        super().__init__()
        classes = split.vocabulary.classes
        self._keep(
            train_embeddings=torch.zeros(len(split.base), embed_dims),
            embeddings=torch.zeros(len(classes), embed_dims),
            is_novel=torch.tensor([each in split.novel for each in classes]),
        )
        self._write(
            VocabularyRecord(
                classes,
                split.vocabulary.prompts,
                split.base,
                get_templates(templates),
                mode,
            )
        )

    def read(self) -> VocabularyRecord:
        """Reads the record; costs a copy from the device.

        Returns:
            VocabularyRecord: Names and fingerprints.
        """
        content = json.loads(bytes(self.record.cpu().tolist()))
        return VocabularyRecord(
            **{
                key: tuple(value) if isinstance(value, list) else value
                for key, value in content.items()
            }
        )

    def rows(self) -> Tensor:
        """Embeddings of the mode: base classes in training, else all.

        Returns:
            Tensor: Rows, shape (B, D) or (C, D).
        """
        return self.train_embeddings if self.training else self.embeddings

    def fill(self, found: TextEmbeddings) -> None:
        """Takes the first embeddings, of base and novel classes.

        Args:
            found (TextEmbeddings): Embeddings of at least these classes.

        Raises:
            ValueError: If a class has none.
            UsageError: If they are of another width.
        """
        self._check_width(found)
        record = self.read()
        self._keep(
            train_embeddings=found.select(record.base).embeddings,
            embeddings=found.select(record.classes).embeddings,
        )
        self._write(
            record._replace(
                templates=found.templates,
                mode=found.mode,
                text_fingerprint=found.text_fingerprint,
                vision_fingerprint=found.vision_fingerprint,
            )
        )

    def replace_classes(
        self,
        vocabulary: Vocabulary,
        found: TextEmbeddings,
        novel: Optional[Sequence[str]] = None,
    ) -> None:
        """Replaces the classes of the tests.

        Args:
            vocabulary (Vocabulary): The classes.
            found (TextEmbeddings): Embeddings of at least these.
            novel (Sequence[str], optional): Which of them are novel.
                Defaults to those that are no base classes.

        Raises:
            ValueError: If ``novel`` names base classes, or a class has no
                embedding.
            UsageError: If they are of another width.
        """
        self._check_width(found)
        record = self.read()
        if novel is None:
            novel = [n for n in vocabulary.classes if n not in record.base]
        trained = [name for name in novel if name in record.base]
        if trained:
            raise ValueError(
                f'Classes cannot be base and novel: the detector was trained '
                f'on {trained[:5]}, so leave them out of novel.'
            )
        classes = vocabulary.classes
        self._keep(
            embeddings=found.select(classes).embeddings,
            is_novel=torch.tensor([each in novel for each in classes]),
        )
        self._write(
            record._replace(
                classes=classes,
                prompts=subset(vocabulary, classes).prompts,
                templates=found.templates,
                mode=found.mode,
                text_fingerprint=found.text_fingerprint,
            )
        )

    def as_embeddings(self) -> TextEmbeddings:
        """The classes of the tests as they would lie in a file.

        Returns:
            TextEmbeddings: The embeddings, on the CPU.
        """
        record = self.read()
        return TextEmbeddings(
            self.embeddings.cpu().clone(),
            record.classes,
            record.templates,
            record.mode,
            record.text_fingerprint,
            record.vision_fingerprint,
        )

    def _check_width(self, found: TextEmbeddings) -> None:
        width, own = found.embeddings.shape[1], self.embeddings.shape[1]
        if width != own:
            raise UsageError(
                f'The text embeddings have {width} dimensions, but the '
                f'detector has {own}: dump them with the CLIP whose vision '
                'tower is its backbone.'
            )

    def _keep(self, **values: Tensor) -> None:
        for name, value in values.items():
            old = self._buffers.get(name)
            if old is None:
                self.register_buffer(name, value)
            elif old.shape == value.shape:
                old.copy_(value)  # whoever holds the buffer sees it
            else:
                setattr(self, name, value.to(old.device, old.dtype))

    def _write(self, record: VocabularyRecord) -> None:
        text = json.dumps(record._asdict(), ensure_ascii=False).encode()
        self._keep(record=torch.tensor(list(text), dtype=torch.uint8))

    def _load_from_state_dict(
        self, state_dict: Dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Takes over the number of classes of a checkpoint."""
        for name in _SIZED:
            saved, own = state_dict.get(prefix + name), getattr(self, name)
            # Another width is another detector: torch will say so.
            if saved is not None and saved.shape[1:] == own.shape[1:]:
                self._keep(**{name: own.new_zeros(saved.shape)})
        super()._load_from_state_dict(state_dict, prefix, *args)
