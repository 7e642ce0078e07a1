"""mmcv with compiled operators: from the cache, published, or compiled here.

pip's own cache keys a built wheel by mmcv's version alone, so after a change
of torch its operators would not load; here the key holds all they depend on.
"""

import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

CACHE = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
CACHE = CACHE / 'harmoclip_mm'
PIP = [sys.executable, '-m', 'pip']
PUBLISHED = {  # for a device (cpu, cu130) and a version of torch (2, 12)
    'onedl-mmcv': 'https://mmwheels.onedl.ai/{}-torch{}{}0/simple/onedl-mmcv/',
    'mmcv': 'https://download.openmmlab.com/mmcv/dist/{}/torch{}.{}.0/',
}
# What begins a line and opens a brace: a function, a method or a type.
DEFINED = (
    r'(?m)^(?!namespace|[\s/])[^;{}#]*?\b(\w+)\s*(?:\([^;{}]*\)[\s\w]*)?\{'
)
MACRO = r'(?m)^\s*#\s*define (\w+)'


def describe_target(name, version):
    """Key of all that a binary depends on, and where it may be published."""
    import torch

    cuda, target = torch.version.cuda or '', 'cpu'
    if torch.cuda.is_available() or os.environ.get('FORCE_CUDA') == '1':
        from torch.utils.cpp_extension import CUDA_HOME

        # Only the nvcc of torch's own CUDA compiles for it.
        nvcc = os.popen(f'"{CUDA_HOME}/bin/nvcc" --version 2>&1').read()
        found = re.search(rf'release ({cuda.split(".")[0]}\.\d+)', nvcc)
        target = f'cuda{found[1]}' if found else 'cpu'
    platform = re.sub('[-.]', '_', sysconfig.get_platform())
    python = 'cp{}{}'.format(*sys.version_info[:2])
    key = f'{version}-torch{torch.__version__}-{python}-{platform}-{target}'
    device = f'cu{cuda.replace(".", "")}' if cuda else 'cpu'
    url = PUBLISHED[name].format(device, *torch.__version__.split('.'))
    return key, f'{url}index.html'


def unite(folder, files=4):
    """Turn mmcv's C++ sources into a few files that include them.

    Each compilation parses torch's headers, which is most of the work.
    Sources that define equal names go into different files.
    """
    groups = [(set(), []) for _ in range(files)]  # names, lines
    sources = [*folder.glob('*.cpp'), *folder.glob('cpu/*.cpp')]
    for path in sorted(sources, key=lambda path: -path.stat().st_size):
        text = path.read_text(encoding='utf-8')
        names = set(re.findall(DEFINED, text))
        fitting = [group for group in groups if not names & group[0]]
        if not fitting:
            fitting = [(set(), [])]
            groups += fitting
        known, lines = min(fitting, key=lambda group: len(group[0]))
        known |= names
        path = path.rename(f'{path}.inc').relative_to(folder)
        lines.append(f'#include "{path.as_posix()}"\n')
        lines += [f'#undef {name}\n' for name in re.findall(MACRO, text)]
    for number, (_, lines) in enumerate(groups):
        (folder / f'united_{number}.cpp').write_text(''.join(lines))


def compile_wheel(requirement, folder, cpu, run):
    """Compile mmcv into ``folder / 'wheel'``, going on if interrupted."""
    source, wheel = folder / 'mmcv', folder / 'wheel'
    options = ['--no-deps', '--no-build-isolation', '--no-cache-dir']
    if not source.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        sdist = ['--no-binary=:all:', '-d', folder, requirement]
        run('mmcv: getting its source', *PIP, 'download', *options, *sdist)
        shutil.unpack_archive(*folder.glob('*.tar.gz'), folder / 'unpacked')
        (tree,) = (folder / 'unpacked').iterdir()
        if cpu:
            unite(tree / 'mmcv' / 'ops' / 'csrc' / 'pytorch')
        tree.rename(source)  # last: that it is there says it is complete
    env = {
        'MMCV_WITH_OPS': '1',
        'MAX_JOBS': os.environ.get('MAX_JOBS') or str(os.cpu_count()),
        # They follow Python's own, whose -g doubles the time.
        'CFLAGS': f'{os.environ.get("CFLAGS", "")} -g0 -O2',
        # torch finds ninja there; without, it compiles on one core.
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
    }
    if cpu:
        # mmcv's build takes any visible GPU for a reason to compile CUDA.
        env.update(CUDA_VISIBLE_DEVICES='', FORCE_CUDA='0')
    shutil.rmtree(wheel, ignore_errors=True)
    label = 'mmcv: compiling (needs g++ and python3-dev)'
    run(label, *PIP, 'wheel', '-v', *options, source, '-w', wheel, **env)


def install_mmcv(requirement, run):
    """Install mmcv the cheapest way that gives operators which load."""
    key, url = describe_target(*requirement.split('=='))
    kept, build = CACHE / 'wheels' / key, CACHE / 'build' / key
    new = build / 'wheel'  # until it has been seen to load

    def find_wheels():
        yield from kept.glob('*.whl')
        options = [requirement, '-f', url, '--no-index', '--only-binary=:all:']
        options += ['--no-deps', '--timeout=5', '--retries=0', '-d', new]
        run('mmcv: published?', *PIP, 'download', *options, check=False)
        yield from new.glob('*.whl')
        compile_wheel(requirement, build, key.endswith('-cpu'), run)
        yield from new.glob('*.whl')

    force = [*PIP, 'install', '--no-deps', '--force-reinstall']
    load = [sys.executable, '-c', 'import torch, mmcv._ext']
    for wheel in find_wheels():
        installed = run(f'mmcv: {wheel}', *force, wheel, check=False)
        if installed and run('mmcv: operators load?', *load, check=False):
            kept.mkdir(parents=True, exist_ok=True)
            wheel.replace(kept / wheel.name)
            return shutil.rmtree(build, ignore_errors=True)
    run('mmcv: operators load?', *load)  # no: says why
