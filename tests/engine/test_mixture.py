"""A training on several data sets by weights, one of them in tars."""

import json
import signal
import tarfile
from pathlib import Path

import pytest
from tiny_training import (
    assert_equal,
    latest,
    make_config,
    output,
    records,
    train,
    write_data,
)


@pytest.fixture
def mixture(tiny_data):
    """Settings of the training: files by one caption, tars by all."""
    write_data(tiny_data)
    (tiny_data.root / 'tars').mkdir()
    for shard in range(2):
        with tarfile.open(tiny_data.root / f'tars/{shard}.tar', 'w') as tar:
            for path in sorted((tiny_data.root / 'images').iterdir()):
                if int(path.stem) % 2 == shard:
                    tar.add(path, path.name)
    dataset = make_config(tiny_data.root, 'x').train_dataloader.dataset
    changes = (
        dict(source='files'),
        dict(
            source='tars',
            caption_choice='all',
            data_prefix=dict(img='tars/{0..1}.tar'),
        ),
    )
    return dict(
        train_dataloader__dataset=dict(
            type='ConcatDataset',
            datasets=[dict(dataset, **each) for each in changes],
            _delete_=True,
        ),
        train_dataloader__sampler__weights=[1, 3],
        default_hooks__logger=dict(type='LoggerHook', interval=1),
        log_processor=dict(
            type='LogProcessor',
            window_size=50,
            mean_pattern='.*(loss|share).*',
        ),
        train_cfg__max_epochs=1,
    )


@pytest.mark.slow
def test_it_is_resumed_exactly_and_tells_shares_and_losses(tiny_data, mixture):
    whole = make_config(tiny_data.root, 'whole', **mixture)
    assert train(whole) == 0, output(whole)
    killed = make_config(tiny_data.root, 'killed', **mixture)
    assert train(killed, kill_at=11) == -signal.SIGKILL, output(killed)
    assert train(killed, resume=True) == 0, output(killed)
    expected, found = records(whole), records(killed)
    # 22 samples of files and 43 of tars, 16 batches of 4
    assert [each['iter'] for each in expected] == list(range(16))
    resumed = found[11:]
    assert [each['iter'] for each in resumed] == list(range(10, 16))
    assert resumed == expected[10:]
    for key in ('state_dict', 'optimizer'):
        assert_equal(latest(whole)[key], latest(killed)[key], key)

    (scalars,) = Path(whole.work_dir).rglob('scalars.json')
    last = json.loads(scalars.read_text().splitlines()[-1])
    # 16 of 65 samples are of files; a share counts from its first sample on
    assert last['share_files'] == pytest.approx(16 / 65, abs=0.03)
    assert last['share_tars'] == pytest.approx(49 / 65, abs=0.03)
    for head in ('gc', 'lrc', 'gr'):
        parts = [last[f'loss_{head}_{name}'] for name in ('files', 'tars')]
        assert min(parts) <= last[f'loss_{head}'] <= max(parts)
