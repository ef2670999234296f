#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Completion in a real interactive shell on a terminal (argument: bash or zsh), and `xsan complete`
behind it; with bash also that the manual page names every command and option there is."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import cli_harness as h
from cli_harness import NQN, check, check_equal

# The keys that show the line as it is; a terminal takes none of them for itself while the shell
# is busy.
DUMP = b'\x18g'

SHELLS = {
    'bash': (['bash', '--norc', '--noprofile', '-i'],
             'bind "set bell-style none"; source <(xsan completion bash)\n'
             """bind -x '"\\C-xg": printf "<%s>\\n" "$READLINE_LINE"'\n"""),
    'zsh': (['zsh', '-f', '-i'],
            'autoload -U compinit; compinit -D -u; source <(xsan completion zsh); unsetopt beep\n'
            'dump() { print -r -- "<$BUFFER>" }; zle -N dump; bindkey "^Xg" dump\n'),
}

# What is typed before TAB, and what the line is then.
LINES = (
    ('xsan dev', 'xsan device '),
    ('xsan device cre', 'xsan device create '),
    ('xsan device create mal', 'xsan device create malloc '),
    ('xsan device create malloc nam', 'xsan device create malloc name='),
    ('xsan device create malloc name=a siz', 'xsan device create malloc name=a size='),
    ('xsan device show me', 'xsan device show mem0 '),
    ('xsan -j device --so', 'xsan -j device --socket '),
    ('xsan subsystem show nqn', f'xsan subsystem show {NQN} '),
    ('xsan subsystem show nqn.2026-11.io.xsan:d', f'xsan subsystem show {NQN} '),
    ('xsan namespace add nqn.2026-11.io.xsan:demo mem', f'xsan namespace add {NQN} mem0 '),
    ('xsan log level de', 'xsan log level debug '),
    ('xsan device inject x read corr', 'xsan device inject x read corrupt_data '),
    ('xsan rpc xsan_st', 'xsan rpc xsan_status '),
    ('xsan config check xsand.j', 'xsan config check xsand.json '),
    ('xsan iostat --inter', 'xsan iostat --interval '),
    ('xsan help devi', 'xsan help device '),
    ('xsan foo ba', 'xsan foo ba'),
)


COMMON = ['--socket', '--json', '--timeout', '--help', '--version']
# Of all commands that call a registry; the manual page says once what they are.
REGISTRY = ['--url', '--token', '--token-file', '--ca', '--cert', '--key']


class Terminal:
    """An interactive shell in a node's directory."""

    def __init__(self, shell, node):
        command, setup = SHELLS[shell]
        env = h.environment(PATH=f'{h.XSAN.parent}:{os.environ["PATH"]}', PS1='$ ', TERM='dumb',
                            XSAN_SOCKET='xsand.sock', HOME=node.directory, LC_ALL='C')
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(node.directory)
            os.execvpe(command[0], command, env)
        self.text = ''
        self.send(setup.encode() + b'echo re""ady\n')
        self.wait_for(r'^ready(.|\n)*?\$ ')

    def send(self, keys):
        os.write(self.fd, keys)

    def wait_for(self, pattern):
        """Reads until the pattern is there; its match. What is after it stays for the next."""
        deadline = time.monotonic() + h.PATIENCE_S
        while not (match := re.search(pattern, self.text, re.M)):
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            check(ready, f'{pattern} is not shown in {self.text!r}')
            self.text += os.read(self.fd, 4096).decode(errors='replace').replace('\r', '')
        self.text = self.text[match.end():]
        return match

    def complete(self, line):
        self.send(b'\x15' + line.encode() + b'\t' + DUMP)
        return self.wait_for(r'<(.*)>').group(1)

    def close(self):
        os.close(self.fd)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


def test_shell():
    shell = sys.argv[1]
    with h.node() as node:
        terminal = Terminal(shell, node)
        try:
            for line, expected in LINES:
                check_equal(terminal.complete(line), expected, f'{line!r} and TAB')
        finally:
            terminal.close()


def test_script_is_valid():
    shell = sys.argv[1]
    script = h.expect(h.xsan('completion', shell), h.OK).out
    subprocess.run([shell, '-n'], input=script, text=True, check=True, timeout=30)
    installed = h.BUILD / 'cli/completion' / {'bash': 'xsan', 'zsh': '_xsan'}[shell]
    check_equal(installed.read_text(), script, 'what is installed')


def complete(*words, **options):
    result = h.expect(h.xsan('complete', '--', *words, **options), h.OK)
    return result.out.split()


def walk(path=()):
    """All commands, found as completion finds them; with the options of each."""
    for name in complete(*path, ''):
        if f'Usage: xsan {" ".join((*path, name))} COMMAND' in h.xsan(*path, name, '--help').out:
            yield from walk((*path, name))
        else:
            yield (*path, name), complete(*path, name, '--')


def test_manual_page_names_everything():
    if sys.argv[1] != 'bash':
        return
    page = (h.TOP / 'packaging/man/xsan.1').read_text().replace('\\-', '-')
    page = re.sub(r'\\f[BIRP]|"', '', page)
    common = complete('--')
    check_equal(common, COMMON, 'options of all commands')
    commands = list(walk())
    check(len(commands) > 30, f'only {len(commands)} commands')
    entries = re.split(r'^\.(?:TP|SH|SS).*\n', page, flags=re.M)
    for path, options in commands:
        name = ' '.join(path)
        entry = [text for text in entries if re.match(rf'\.B xsan {name}(?: |$)', text, re.M)]
        check(len(entry) == 1, f'xsan.1 has {len(entry)} entries for xsan {name}')
        shared = common + REGISTRY if path[0] == 'registry' else common
        for option in options:
            check(option in (page if option in shared else entry[0]),
                  f'xsan.1 does not name {option} of xsan {name}')
    names = {' '.join(path) for path, _ in commands}
    for name in re.findall(r'^\.B xsan ([a-z -]+?)(?= [A-Z\[]|$)', page, re.M):
        check(name in names, f'xsan.1 names xsan {name}, which there is not')


def test_candidates():
    nowhere = h.environment(XSAN_SOCKET='/nonexistent')
    check('complete' not in complete(''), 'the hidden command is offered')
    check_equal(complete('device', 'c'), ['create', 'clear'], 'commands')
    check_equal(complete('-s', ''), ['@files'], 'a file')
    check_equal(complete('listener', 'add', '--transport', ''), ['tcp'], 'a choice')
    check_equal(complete('-'), COMMON, 'options')
    check_equal(complete('device', 'show', '--', '-'), [], 'after --')
    for words in (('device', 'show', ''), ('subsystem', 'show', ''), ('rpc', ''),
                  ('nix', 'nix', ''), ('device', 'show', 'a', 'b', ''), ('--nix', '')):
        check_equal(complete(*words, env=nowhere), [], f'without a node: {words}')
    # A node that hangs does not hang the shell.
    with h.server(lambda connection, over: over.wait(30)) as path:
        begin = time.monotonic()
        check_equal(complete('-s', path, 'device', 'show', ''), [], 'a node that hangs')
        check(time.monotonic() - begin < 25, 'completion hangs')


if __name__ == '__main__':
    if not shutil.which(sys.argv[1]):
        print(f'there is no {sys.argv[1]} here')
        sys.exit(h.SKIPPED)
    h.main(__name__)
