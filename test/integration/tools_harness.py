# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of xbdev-perf and xbdev-dd share. A test is a function test_*(directory) of its
script; main() gives each a directory of its own and says which failed. XSAN_BUILD names the build
directory. Everything has a bound in time."""

import contextlib
import json
import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
import traceback

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('XSAN_BUILD', TOP / 'build'))
MAN = TOP / 'packaging/man'

OK, FAILED, USAGE, PARTIAL, DIFFERS, INTERRUPTED = 0, 1, 2, 3, 4, 130
MIB = 1 << 20


class Failure(Exception):
    """An expectation that did not hold; the message says which."""


def check(condition, message):
    if not condition:
        raise Failure(message)


def check_equal(got, expected, what):
    if got != expected:
        raise Failure(f'{what}: expected {expected!r}, got {got!r}')


class Tool:
    """A tool of the build, run in a directory."""

    def __init__(self, name):
        self.name, self.path = name, BUILD / 'tools' / name

    def command(self, words):
        return [str(self.path)] + [str(word) for word in words]

    def run(self, *words, code=OK, err=None, cwd=None, stdin=b'', stdout=subprocess.PIPE, timeout=120):
        """Runs it; its exit code must be `code` and `err` a part of what it says on stderr."""
        done = subprocess.run(self.command(words), cwd=cwd, input=stdin, stdout=stdout, stderr=subprocess.PIPE,
                              timeout=timeout, check=False)
        done.text = done.stderr.decode(errors='replace')
        about = f'{self.name} {" ".join(map(str, words))}\nexit code {done.returncode}\nstdout: {done.stdout!r}\n' \
                f'stderr: {done.text}'
        check(done.returncode == code, f'exit code {code} was expected of {about}')
        if err is not None:
            check(err in done.text, f'{err!r} was expected on stderr of {about}')
        if code not in (OK, INTERRUPTED):
            check(f'{self.name}: ' in done.text, f'a sentence was expected on stderr of {about}')
        check(code != OK or self.name == 'xbdev-dd' or done.text == '', f'nothing was expected on stderr of {about}')
        return done

    def json(self, *words, **options):
        return json.loads(self.run('--json', *words, **options).stdout)

    def start(self, *words, cwd=None, **options):
        return subprocess.Popen(self.command(words), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def on_terminal(self, *words, cwd=None, timeout=60):
        """Runs it with stderr on a terminal; the exit code and what that shows."""
        master, slave = pty.openpty()
        with subprocess.Popen(self.command(words), cwd=cwd, stdout=subprocess.DEVNULL, stderr=slave) as process:
            os.close(slave)
            text, end = b'', time.monotonic() + timeout
            with contextlib.suppress(OSError):  # EIO: the other end is closed
                while time.monotonic() < end and select.select([master], [], [], end - time.monotonic())[0]:
                    text += os.read(master, 4096)
            os.close(master)
            return process.wait(timeout), text.decode(errors='replace')


def check_man_page(tool, *words):
    """The man page describes the options of --help and no others."""
    text = tool.run('--help').stdout.decode()
    helped = set(re.findall(r'^ +(--[a-z-]+)', text, re.M)) | set(words)
    page = (MAN / f'{tool.name}.1').read_text().replace('\\-', '-')
    # Options begin a paragraph: the line behind .TP.
    described = set()
    for line in re.findall(r'^\.TP\n(.*)$', page, re.M):
        described |= set(re.findall(r'--[a-z][a-z-]*', line))
        described |= {word for word in words if re.search(rf'\b{re.escape(word)}', line)}
    check_equal(sorted(described), sorted(helped), f'options in {tool.name}.1 (expected: those of --help)')


def main(module):
    """Runs the tests of a script, or those named; exits with 0 when all passed."""
    failed = 0
    for name, function in list(vars(sys.modules[module]).items()):
        if not name.startswith('test_') or (len(sys.argv) > 1 and name not in sys.argv[1:]):
            continue
        begin = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix='xbdev-tools-') as directory:
                function(pathlib.Path(directory))
            verdict = 'ok'
        except Failure as failure:
            failed, verdict = failed + 1, f'FAILED: {failure}'
        except Exception:  # a broken test fails, and the others still run
            failed, verdict = failed + 1, f'FAILED: {traceback.format_exc()}'
        print(f'{name} ({time.monotonic() - begin:.1f} s): {verdict}', flush=True)
    sys.exit(1 if failed else 0)
