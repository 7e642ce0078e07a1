import pytest

from harmoclip_mm.apis import UsageError, load_config


def test_work_dir_of_argument_then_config_then_name(tmp_path):
    path = tmp_path / 'name.py'
    path.write_text('a = dict(b=1)\n')
    cfg = load_config(str(path), {'a.b': 2})
    assert cfg.a.b == 2
    assert cfg.work_dir == './work_dirs/name'
    path.write_text("work_dir = 'own'\n")
    assert load_config(str(path)).work_dir == 'own'
    assert load_config(str(path), work_dir='given').work_dir == 'given'


def test_missing_file():
    with pytest.raises(UsageError, match=r'config file no\.py does not exist'):
        load_config('no.py')
