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
import signal
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


# A signal that is to come in the middle of something comes too early on a busy machine when it is sent
# after a time; these wait until the tool is where it is to be.

def wait_for(condition, what, timeout=60):
    end = time.monotonic() + timeout
    while not condition():
        check(time.monotonic() < end, f'{what}: not within {timeout} s')
        time.sleep(0.01)


def catches(process, number):
    """Whether the process has a handler for the signal."""
    status = pathlib.Path(f'/proc/{process.pid}/status').read_text()
    return int(re.search(r'^SigCgt:\s*([0-9a-f]+)', status, re.M)[1], 16) >> (number - 1) & 1


def wait_until_caught(process, number=signal.SIGINT):
    wait_for(lambda: process.poll() is not None or catches(process, number), f'a handler of signal {number}')
    check(process.poll() is None, f'it ended with {process.returncode}')


def cpu_ticks(process):
    fields = pathlib.Path(f'/proc/{process.pid}/stat').read_text().rpartition(')')[2].split()
    return int(fields[11]) + int(fields[12])


def wait_until_it_computes(process, seconds=0.5):
    """Until it catches signals, and has used that much CPU time since: more than a start costs."""
    wait_until_caught(process)
    before = cpu_ticks(process)
    wait_for(lambda: cpu_ticks(process) - before > seconds * os.sysconf('SC_CLK_TCK'), 'it computes')


def is_asleep(process):
    """Whether all its threads wait for something."""
    try:
        return all(path.read_text().rpartition(')')[2].split()[0] == 'S'
                   for path in pathlib.Path(f'/proc/{process.pid}/task').glob('*/stat'))
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread has just ended


def wait_until_it_waits(process, looks=30):
    """Until it catches signals, and all that it still does is to wait."""
    wait_until_caught(process)
    seen = 0

    def sleeps():
        nonlocal seen
        seen = seen + 1 if is_asleep(process) else 0
        return seen == looks

    wait_for(sleeps, 'it waits')


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
