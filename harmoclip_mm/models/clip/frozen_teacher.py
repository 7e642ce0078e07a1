"""The vision tower as it was before training."""

import copy
from typing import Any, Dict

import torch
from torch import Tensor, nn


class FrozenTeacher(nn.Module):
    """A copy of a vision tower that never learns.

    Its weights are buffers: no optimizer, gradient exchange or moving
    average sees them, while training checkpoints keep them, so that a
    resumed training has the teacher it began with. It is always in
    evaluation mode. It gets its weights by :meth:`set_once` at the first
    training step, whatever gave the tower its own: ``init_cfg``,
    ``load_from`` or the initialisation.

    Args:
        backbone (nn.Module): The vision tower, which it is built like.

    Attributes:
        backbone (nn.Module): The copy.
        is_set (Tensor): Whether it holds the weights of the start, a scalar
            of bool.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        for module in self.backbone.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach())
        self.register_buffer('is_set', torch.tensor(False))
        self._known = False  # that it is set: a step need not ask the device
        self.eval()

    def train(self, mode: bool = True) -> 'FrozenTeacher':
        """Stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def set_once(self, backbone: nn.Module) -> None:
        """Takes over the weights of the tower, unless that was done before.

        Args:
            backbone (nn.Module): The tower that is about to be trained.
        """
        if self._known:
            return
        self._known = True
        if self.is_set:
            return
        weights = backbone.state_dict()
        for name, own in self.backbone.state_dict().items():
            own.copy_(weights[name])
        self.is_set.fill_(True)


def fit_teacher(
    model: nn.Module,
    state_dict: Dict[str, Tensor],
    prefix: str,
    *args: Any,
) -> None:
    """Lets a state dict fit a model with or without a teacher.

    A hook of the loading of ``HarmoCLIP``, which changes its copy of the
    state dict. Without a teacher in the model, that of a training is left
    out. Without a teacher in the file, the model's is not set: it will take
    over what the tower loads.

    Args:
        model (nn.Module): The ``HarmoCLIP``.
        state_dict (Dict[str, Tensor]): The weights, changed in place.
        prefix (str): Prefix of the model's names in it.
        *args: What else torch tells such hooks.
    """
    start = f'{prefix}teacher.'
    if model.teacher is not None:
        model.teacher._known = False
    if model.teacher is None:
        for name in [each for each in state_dict if each.startswith(start)]:
            del state_dict[name]
    elif f'{start}is_set' not in state_dict:
        for name, value in model.teacher.state_dict().items():
            state_dict[f'{start}{name}'] = value
        state_dict[f'{start}is_set'] = torch.tensor(False)
