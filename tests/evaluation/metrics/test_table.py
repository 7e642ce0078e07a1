from harmoclip_mm.evaluation.metrics.table import render_table


def test_cells_are_never_cut_and_ascii():
    name = 'x' * 300
    text = render_table(['a', 'b'], [[name, 1.005], ['y', 7]], title='T')
    lines = text.split('\n')
    assert lines[0] == 'T'
    assert f'| {name} | 1.00 |' in lines
    assert f'| y{" " * 299} |    7 |' in lines
    assert text.isascii()
