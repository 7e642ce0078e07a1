"""Files under full disks, exceptions and readers."""

import errno
import os

import pytest

from harmoclip_mm.errors import UsageError
from harmoclip_mm.files import check_writable, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_as_a_whole_in_a_new_folder(tmp_path):
    target = tmp_path / 'new' / 'a.txt'
    with replacing(target) as part, open(part, 'w') as file:
        file.write('whole')
        assert not target.exists()
    assert target.read_text() == 'whole'
    assert names(target.parent) == ['a.txt']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_older_file(tmp_path, error):
    target = tmp_path / 'a.txt'
    target.write_text('old')
    with pytest.raises(error), replacing(target) as part:
        with open(part, 'w') as file:
            file.write('half of')
        raise error
    assert target.read_text() == 'old'
    assert names(tmp_path) == ['a.txt']


def test_a_full_disk_leaves_the_older_file(tmp_path):
    if not os.access('/dev/full', os.W_OK):
        pytest.skip('no /dev/full')
    target = tmp_path / 'a.pth'
    target.write_bytes(b'old')
    os.symlink('/dev/full', tmp_path / 'a.pth.part')  # what a disk full says

    def write():
        with replacing(target) as part, open(part, 'wb') as file:
            file.write(b'new' * 9999)

    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write()
    assert target.read_bytes() == b'old'
    assert names(tmp_path) == ['a.pth']


def test_a_file_may_be_read_by_whom_the_umask_says(tmp_path):
    """safetensors writes files that only their owner reads."""
    from safetensors.numpy import save_file

    before = os.umask(0o027)
    try:
        with replacing(tmp_path / 'a.safetensors') as part:
            save_file({}, part)
    finally:
        os.umask(before)
    mode = (tmp_path / 'a.safetensors').stat().st_mode
    assert mode & 0o777 == 0o640


def test_where_a_file_can_be_written(tmp_path):
    check_writable(tmp_path / 'new' / 'a.pkl')
    assert names(tmp_path / 'new') == []  # nothing is left
    (tmp_path / 'file').write_text('')
    for path, reason in (
        (tmp_path / 'new', 'it is a folder'),
        (tmp_path / 'file' / 'a.pkl', 'exists'),
    ):
        with pytest.raises(
            UsageError, match=rf'cannot be written \(.*{reason}'
        ):
            check_writable(path)
