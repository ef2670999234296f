#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a user of the installed library has: headers, pkg-config, man pages, symbols, tools and
examples. Everything is installed into a directory of its own and used from there."""

import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tools_harness as h
from tools_harness import BUILD, TOP, check, check_equal

HERE = TOP / 'test/integration/install'
C_WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Werror', '-pthread']
# A function that is declared and not defined there.
DECLARATION = re.compile(r'^(?:[a-z][\w ]*?[ *])(xbdev_\w+)\(([^;{]*)\);', re.M | re.S)

installed = None


class Installation:
    def __init__(self, root):
        self.root = root
        done = subprocess.run(['meson', 'install', '-C', BUILD, '--no-rebuild'], env=os.environ | {'DESTDIR': str(root)},
                              capture_output=True, text=True, timeout=120, check=False)
        check(done.returncode == 0, f'meson install: {done.stdout}{done.stderr}')
        pc_file = next(root.rglob('xbdev.pc'))
        self.libdir = pc_file.parents[1]
        self.prefix = pathlib.Path(str(next(root.rglob('include/xbdev/xbdev.h')).parents[2]))
        # As it would have been with --prefix: nothing else in the file is absolute.
        text = pc_file.read_text()
        pc_file.write_text(re.sub(r'^prefix=.*$', f'prefix={self.prefix}', text, flags=re.M))
        self.env = os.environ | {'PKG_CONFIG_PATH': str(pc_file.parent)}
        self.library = (self.libdir / 'libxbdev.so').resolve()
        self.man3 = next(self.prefix.rglob('man3'))

    def flags(self):
        return run(['pkg-config', '--cflags', '--libs', 'xbdev'], env=self.env).split()

    def build(self, directory, source, *command, rpath=True):
        program = directory / (source.stem + '-' + pathlib.Path(command[0]).name)
        words = [f'-Wl,-rpath,{self.libdir}'] if rpath else []
        run([*command, source, '-o', program, *self.flags(), *words], env=self.env)
        return program


def run(words, timeout=120, **options):
    """Runs a program that must succeed; its output."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout, check=False,
                          **options)
    check(done.returncode == 0, f'{" ".join(map(str, words))}\nended with {done.returncode}\n{done.stdout}{done.stderr}')
    return done.stdout


def compilers(*names):
    found = [name for name in names if shutil.which(name)]
    check(found, f'none of {names} is installed')
    return found


# ---- building ----

def test_each_header_stands_alone(directory):
    for header in sorted((installed.prefix / 'include/xbdev').iterdir()):
        is_cxx = header.suffix == '.hpp'
        source = directory / 'header.c'
        source.write_text(f'#include <xbdev/{header.name}>\n#include <xbdev/{header.name}>\nint main(void) {{ return 0; }}\n')
        languages = ['-xc++ -std=c++17'] if is_cxx else ['-xc -std=c99', '-xc -std=gnu17', '-xc++ -std=c++11']
        for words in languages:
            compiler = compilers('g++' if 'c++' in words else 'gcc')[0]
            run([compiler, *words.split(), *C_WARNINGS, '-fsyntax-only', source, *installed.flags()[:1]])


def test_c_programs(directory):
    for compiler in compilers('gcc', 'clang'):
        run([installed.build(directory, HERE / 'use.c', compiler, '-std=c99', *C_WARNINGS)])
        # Without the path in the program, the loader has to be told.
        program = installed.build(directory, HERE / 'use.c', compiler, '-std=gnu17', *C_WARNINGS, rpath=False)
        run([program], env=installed.env | {'LD_LIBRARY_PATH': str(installed.libdir)})


def test_cxx_programs(directory):
    for compiler, words in (('g++', '-O2'), ('clang++', '-fsanitize=address,undefined')):
        run([installed.build(directory, HERE / 'use.cpp', *compilers(compiler), '-std=c++17', *C_WARNINGS, words)])


def test_the_library_has_a_version(directory):
    link = installed.libdir / 'libxbdev.so'
    check(link.is_symlink(), 'libxbdev.so is no link')
    text = run(['readelf', '-d', link])
    check('SONAME' in text and 'libxbdev.so.0]' in text, text)
    check('RUNPATH' not in text and 'RPATH' not in text, text)
    version = run(['pkg-config', '--modversion', 'xbdev'], env=installed.env).strip()
    check(installed.library.name == f'libxbdev.so.{version}', f'{installed.library} is not of version {version}')


def test_installed_tools_find_their_library(directory):
    for name in ('xbdev-perf', 'xbdev-dd'):
        out = run([installed.prefix / 'bin' / name, '--version'])
        check(out.startswith(name), out)
        loaded = run(['ldd', installed.prefix / 'bin' / name])
        check(str(installed.prefix) in loaded, loaded)


# ---- daemons ----

def test_daemons_are_installed_with_their_units_and_pages(directory):
    for name in ('xsand', 'xsan-registry'):
        program = next(installed.prefix.rglob(f'sbin/{name}'))
        check(run([program, '--version']).startswith(name), program)
        unit = next(installed.prefix.rglob(f'systemd/system/{name}.service')).read_text()
        words = re.search(r'^ExecStart=(\S+) --config (\S+)$', unit, re.M)
        check(words, unit)
        check(pathlib.Path(words.group(1)) == pathlib.Path('/') / program.relative_to(installed.root),
              f'{name}.service starts {words.group(1)}, installed is {program}')
        check('@' not in re.sub(r'@(system-service|io-event)', '', unit), f'{name}.service has a name left open')
        for page in (f'man8/{name}.8', f'man5/{name}.json.5'):
            check(list(installed.prefix.rglob(page)), f'{page} is not installed')
            check(page.split('/')[1][:-2] in unit, f'{name}.service does not name {page}')
    board = json.loads(next(installed.prefix.rglob('xsan/grafana/xsan-registry.json')).read_text())
    check_equal(board['title'], 'XSAN registry', 'the board')
    check('registry' in run([installed.prefix / 'bin/xsan', 'registry', '--help']), 'xsan registry')


# ---- examples ----

def test_examples(directory):
    for path in (TOP / 'examples').iterdir():
        if path.suffix in ('.c', '.cpp', '.json') or path.name == 'Makefile':
            shutil.copy(path, directory)
    run(['make', 'CFLAGS=-O1 -Wall -Wextra -Wno-unused-parameter -Werror', 'CXXFLAGS=-O1 -Wall -Wextra -Werror'],
        cwd=directory, env=installed.env)
    def blank(count, size=16 * h.MIB):
        """Names of new files."""
        names = [f'blank{next(numbers)}' for _ in range(count)]
        for name in names:
            with open(directory / name, 'wb') as file:
                file.truncate(size)
        return names

    numbers = itertools.count()
    expected = {
        'basic': (['disk0', 'disk1'], 'holds the block twice: yes'),
        'async': (['disk0'], 'read: 8 blocks, the first begins with "hello"'),
        'batch': ([], '16000 reads: '),
        'eventloop': ([], '100 reads while the timer ticked several times'),
        'health': (['disk0', '1'], 'health: '),
        'lvol_basic': (blank(1, 640 * h.MIB), 'the clone holds "before the snapshot"\n'),
        'lvol_layers': (blank(2, 128 * h.MIB), 'the clone holds "all the way down"; the store has 4 volumes'),
        'manage': ([], 'ended'),
        'raid': (blank(4), 'the mirror holds "safe and sound"'),
        'raid_md': (blank(7), 'md0 holds "still here"'),
        'raid_spares': (blank(7), 'the mirror is well: 2 disks, 1 spares\n'),
        'storage': (['files_config.json', 'slow_log', 'saved.json'], '3 devices\n3 devices again\n'),
        'volume': (['disk1'], 'of 16 blocks are zeroes'),
    }
    sources = [path.stem for path in directory.iterdir() if path.suffix in ('.c', '.cpp')]
    check_equal(sorted(expected), sorted(sources), 'examples that this test runs')
    for name in ('disk0', 'disk1'):
        with open(directory / name, 'wb') as file:
            file.truncate(h.MIB)
    for name, (words, text) in expected.items():
        out = run([directory / name, *words], cwd=directory, stdin=subprocess.DEVNULL)
        check(text in out, f'{name}: {text!r} was expected in {out!r}')
    out = run([directory / 'storage', 'raid_config.json', 'data', 'again.json'], cwd=directory)
    check('8 devices\n8 devices again\n' in out, f'arrays of a document: {out!r}')
    out = run([directory / 'storage', 'lvol_config.json', 'lvs_raid0/data_vol', 'again.json'], cwd=directory)
    check('6 devices\n6 devices again\n' in out, f'volumes of a document: {out!r}')
    saved = json.loads((directory / 'saved.json').read_text())
    check_equal([entry['params']['name'] for entry in saved['base_devices']], ['data', 'log', 'slow_log'], 'saved')
    with open(directory / 'log.img', 'rb') as file:
        check_equal(file.read()[2 * 4096:][:4], b'seen', 'what the example wrote')
    readme = (TOP / 'examples/README.md').read_text()
    for name in expected.keys() | {path.name for path in directory.glob('*_config.json')}:
        check(f'`{name}' in readme, f'examples/README.md does not name {name}')


# ---- symbols, headers and man pages say the same ----

def exported():
    text = (TOP / 'lib/xbdev/api/libxbdev.map').read_text()
    return sorted(re.findall(r'^\s+(\w+);', text.split('local:')[0], re.M))


def one_line(text):
    return re.sub(r'\s+', ' ', text).replace('( ', '(').replace(' )', ')').strip()


def declarations():
    """The declaration of each function in the installed headers, on one line."""
    found = {}
    for header in (installed.prefix / 'include/xbdev').glob('*.h'):
        text = re.sub(r'/\*.*?\*/', '', header.read_text(), flags=re.S)
        for match in DECLARATION.finditer(text):
            if not match.group(0).startswith('typedef'):
                found[match.group(1)] = (header.name, one_line(match.group(0)))
    return found


def rendered(page):
    text = run(['groff', '-man', '-Tascii', '-P-c', '-rLL=200n', page])
    return re.sub(r'.\x08', '', text)


def test_what_is_exported_is_what_the_map_says(directory):
    text = run(['nm', '-D', '--defined-only', installed.library])
    symbols = [line.split() for line in text.splitlines()]
    functions = sorted(name.split('@')[0] for _, kind, name in symbols if kind != 'A')
    check_equal(functions, exported(), 'exported symbols')
    check(all('@@XBDEV_' in name for _, kind, name in symbols if kind != 'A'), f'a symbol has no version:\n{text}')


def test_every_exported_function_is_declared(directory):
    declared = declarations()
    check_equal(sorted(declared), exported(), 'functions that the installed headers declare')


def test_every_exported_function_has_a_man_page(directory):
    declared, pages = declarations(), {}
    for name in exported():
        page = installed.man3 / f'{name}.3'
        check(page.exists(), f'{name} has no man page: write one, or name it in packaging/meson.build')
        real = page.resolve()
        if real not in pages:
            pages[real] = rendered(real)
        text = pages[real]
        names, synopsis = text.split('\nSYNOPSIS\n')[0], text.split('\nSYNOPSIS\n')[1].split('\nDESCRIPTION\n')[0]
        check(re.search(rf'\b{name}\b', names), f'{real.name} does not name {name} in NAME')
        header, declaration = declared[name]
        check(declaration in one_line(synopsis),
              f'{real.name} does not show\n{declaration}\nbut\n{one_line(synopsis)}')
        check(f'#include <xbdev/{header}>' in synopsis, f'{real.name} does not say that {name} is in {header}')
        check(re.search(rf'\b{name}\(', text.split('\nDESCRIPTION\n')[1]), f'{real.name} does not describe {name}()')


def test_man_pages_name_nothing_that_is_not_there(directory):
    links = {page.stem for page in installed.man3.glob('xbdev*.3')}
    there = set(exported()) | {'xbdev', 'xbdev.hpp', 'xbdev_module', 'xbdev_aio', 'xbdev_io_queue'}
    check_equal(sorted(links), sorted(there), 'man pages of section 3')
    for page in installed.man3.glob('xbdev*.3'):
        if page.is_symlink():
            continue
        text = run(['groff', '-man', '-ww', '-Tascii', '-P-c', '-rLL=200n', page])
        for name in re.findall(r'\b(xbdev_\w+)\(', re.sub(r'.\x08', '', text)):
            check(name in there, f'{page.name} speaks of {name}(), which does not exist')


def test_the_examples_of_man_pages_work(directory):
    for page, compiler in (('xbdev.3', 'gcc'), ('xbdev.hpp.3', 'g++')):
        text = (installed.man3 / page).read_text()
        code = re.search(r'\.SH EXAMPLES\n\.nf\n(.*?)\.fi', text, re.S).group(1)
        source = directory / ('example.c' if compiler == 'gcc' else 'example.cpp')
        source.write_text(code.replace('\\e', '\\').replace('\\-', '-'))
        run([installed.build(directory, source, *compilers(compiler), *C_WARNINGS)])


if __name__ == '__main__':
    if b'__asan_init' in next(BUILD.glob('lib/xbdev/api/libxbdev.so')).read_bytes() or \
            b'__tsan_init' in next(BUILD.glob('lib/xbdev/api/libxbdev.so')).read_bytes():
        print('SKIP: this build has a sanitizer in the library; the plain one is tested')
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix='xbdev-install-') as place:
        installed = Installation(pathlib.Path(place))
        h.main(__name__)
