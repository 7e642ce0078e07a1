"""Zero-shot classifier: one text embedding a class."""

import sys
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor, nn

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import MODELS
from harmoclip_mm.text import (
    classes_to_prompts,
    fill_templates,
    get_templates,
    load_vocabulary,
)

CHUNK = 1024  # prompts encoded at once
# More prompts than this take long enough on a CPU for a progress bar.
LONG = 2000


@MODELS.register_module()
class ZeroShotClassifier(nn.Module):
    """One embedding a class, from prompts of its name.

    Each class name is put into each template; the embeddings are
    normalised, averaged over the templates and normalised again (CLIP,
    arXiv 2103.00020, section 3.1.4). The classes come with each call; the
    matrix of those asked last is kept as long as the text tower's weights
    stay as they are, and no mode is set anew.

    Args:
        templates (str | Sequence[str]): Name of a template set or templates
            with ``{}`` for the class name. Defaults to ``'openai80'``.
        prompts (str | Mapping[str, str], optional): The words that stand for
            a class in the templates: a vocabulary of the package, its file,
            or words by class name. Defaults to none: the names, cleaned by
            :func:`class_to_prompt`.
        lower (bool): Lower-case the filled templates, as FG-CLIP 2's
            evaluation does. Defaults to False.

    Attributes:
        show_progress (bool): Whether many prompts get a progress bar in a
            terminal, where no other is.

    Raises:
        ValueError: If there is no such set of templates.
    """

    show_progress = True

    def __init__(
        self,
        templates: Union[str, Sequence[str]] = 'openai80',
        prompts: Union[str, Mapping[str, str], None] = None,
        lower: bool = False,
    ) -> None:
        super().__init__()
        self.templates = get_templates(templates)
        if isinstance(prompts, str):
            vocabulary = load_vocabulary(prompts)
            prompts = dict(zip(vocabulary.classes, vocabulary.prompts))
        self.prompts = None if prompts is None else dict(prompts)
        self.lower = lower
        # What they were made of, and the embeddings.
        self._kept: Optional[Tuple[Any, Tensor]] = None

    def train(self, mode: bool = True) -> 'ZeroShotClassifier':
        """Forgets the embeddings: after training they are others.

        Versions of weights would tell that too, but for those that are
        written through ``.data``, as mmengine's moving averages are before a
        validation.
        """
        self._kept = None
        return super().train(mode)

    def class_embeddings(
        self, classes: Sequence[str], text_encoder: nn.Module
    ) -> Tensor:
        """Embeddings of classes, computed when they or the tower change.

        Args:
            classes (Sequence[str]): Names of C classes.
            text_encoder (nn.Module): A ``CLIPTextEncoder``.

        Returns:
            Tensor: L2-normalised embeddings, shape (C, D), float32.

        Raises:
            DataError: If ``prompts`` lack a class.
        """
        words = tuple(self.words(classes))
        if torch.is_grad_enabled():
            return self._build(words, text_encoder)
        # In a tuple the tower is no submodule of this module.
        made_of = (words, text_encoder, _state_of(text_encoder))
        kept = self._kept  # read once: threads may ask for other classes
        if kept is None or kept[0] != made_of:
            kept = self._kept = made_of, self._build(words, text_encoder)
        return kept[1]

    def words(self, classes: Sequence[str]) -> List[str]:
        """What stands for classes in the templates.

        Raises:
            DataError: If ``prompts`` lack a class, or names of two classes
                make one prompt.
        """
        if self.prompts is None:
            return list(classes_to_prompts(classes))
        lacking = [name for name in classes if name not in self.prompts]
        if lacking:
            raise DataError(
                f'the prompts of the classifier have none for class '
                f'"{lacking[0]}" ({len(lacking)} of {len(classes)} are '
                'missing): give it prompts for the classes of the data set, '
                'or none'
            )
        return [self.prompts[name] for name in classes]

    def _build(self, words: Sequence[str], text_encoder: nn.Module) -> Tensor:
        texts = self._prompts(words)
        ids = text_encoder.tokenizer.ids(texts)
        ids = ids.to(next(text_encoder.parameters()).device)
        shown = self.show_progress and sys.stdout.isatty()
        parts = [
            text_encoder(part, with_tokens=False).pooled.float()
            for part in track(
                ids.split(CHUNK),
                'Class prompts',
                disable=len(ids) <= LONG or not shown,
            )
        ]
        # (classes * templates, D) -> mean over the templates
        prompts = F.normalize(torch.cat(parts), dim=-1)
        prompts = prompts.unflatten(0, (-1, len(self.templates)))
        return F.normalize(prompts.mean(dim=1), dim=-1)

    def _prompts(self, words: Sequence[str]) -> List[str]:
        """The filled templates of each class, one class after the other."""
        prompts = [
            prompt
            for each in words
            for prompt in fill_templates(self.templates, each)
        ]
        return [each.lower() for each in prompts] if self.lower else prompts


def _state_of(tower: nn.Module) -> Tuple[Any, ...]:
    """Changes whenever the tower's weights do: each change in place raises
    the version of a tensor, and one put in place of another is another
    object. Inference tensors have no version. Autocast, which rounds what
    they make, shows in the type of a product."""
    one = next(tower.parameters()).new_ones(1, 1)
    return (one @ one).dtype, *(
        (
            id(weight),
            weight.device,
            weight.dtype,
            0 if weight.is_inference() else weight._version,
        )
        for weight in tower.parameters()
        # FSDP gives modules views of shards for a while, new ones each time;
        # a rank that took them for other weights would wait for the others.
        if isinstance(weight, nn.Parameter)
    )
