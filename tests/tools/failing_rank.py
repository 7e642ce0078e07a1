"""Ways in which one of several processes can fail."""

import os
import signal
import time
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class FailAt(Hook):
    """Let rank 1 fail in the fourth iteration; says when in a file.

    Not in the third: it would begin while rank 0 may still be writing the
    checkpoint of the second, which no gradient has waited for yet.
    """

    def __init__(self, how: str, file: str) -> None:
        self.how = how
        self.file = file

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if get_rank() != 1 or runner.iter != 3:
            return
        Path(self.file).write_text(str(time.time()))
        if self.how == 'raise':
            raise ValueError('rank 1 has had enough')
        if self.how == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        runner.model.module.fc.weight.data.fill_(float('nan'))
