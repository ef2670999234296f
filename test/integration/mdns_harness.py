# SPDX-License-Identifier: BSD-3-Clause
"""Two machines for the tests of mDNS: network namespaces joined by a cable (veth), each with a D-Bus and
an avahi-daemon of its own. The test itself is on the first one. Nothing leaves the namespaces."""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

SKIPPED = 77
INSIDE = 'XSAN_MDNS_INSIDE'
PROGRAMS = ('avahi-daemon', 'avahi-publish', 'avahi-browse', 'dbus-daemon', 'ip', 'unshare', 'nsenter')
PATIENCE_S = 60

BUS = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
<allow user="*"/></policy></busconfig>
'''

AVAHI = '''[server]
host-name={name}
use-ipv4=yes
use-ipv6=yes
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
[rlimits]
'''


def enter():
    """Goes on in namespaces of the test's own, or ends as skipped where that is impossible."""
    if os.environ.get(INSIDE):
        subprocess.run(['mount', '-t', 'tmpfs', 'none', '/run'], check=True)
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        return
    os.environ['PATH'] += ':/usr/sbin:/sbin'
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        print(f'SKIP: there is no {", ".join(missing)}')
        sys.exit(SKIPPED)
    if os.geteuid() != 0:
        # Where only one user is mapped it cannot give its directory to its own.
        print('SKIP: avahi-daemon needs root, also in a namespace')
        sys.exit(SKIPPED)
    words = ['unshare', '--net', '--mount']
    if subprocess.run([*words, 'true'], capture_output=True).returncode != 0:
        print('SKIP: no network namespace can be made here')
        sys.exit(SKIPPED)
    os.execvpe(words[0], [*words, sys.executable, *sys.argv], {**os.environ, INSIDE: '1'})


def die_with_parent():
    """Before exec: who is left behind by a test that was killed ends by itself."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def end(process, number=signal.SIGTERM):
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Machine:
    """One machine: its programs, in its namespaces. `holder` is None for the test's own."""

    def __init__(self, name, directory, holder=None):
        self.name = name
        self.dir = pathlib.Path(directory) / name
        self.dir.mkdir()
        self.into = [] if holder is None else ['nsenter', '-t', str(holder.pid), '-n', '-m']
        self.holder = holder
        self.bus = self.avahi = None
        self.children = []
        self.bus_path = self.dir / 'bus'
        self.env = {**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': f'unix:path={self.bus_path}'}

    def popen(self, *words, log='log'):
        with open(self.dir / log, 'ab') as out:
            return subprocess.Popen([*self.into, *map(str, words)], env=self.env, stdout=out,
                                    stderr=out, stdin=subprocess.DEVNULL,
                                    preexec_fn=die_with_parent)

    def run(self, *words, timeout_s=PATIENCE_S):
        return subprocess.run([*self.into, *map(str, words)], env=self.env, capture_output=True,
                              text=True, timeout=timeout_s)

    def ip(self, *words):
        done = self.run('ip', *words)
        assert done.returncode == 0, done.stderr

    # ---- its daemons ----

    def start_bus(self):
        config = self.dir / 'bus.conf'
        config.write_text(BUS.format(path=self.bus_path))
        self.bus_path.unlink(missing_ok=True)
        self.bus = self.popen('dbus-daemon', '--nofork', '--nopidfile', '--config-file', config)
        deadline = time.monotonic() + PATIENCE_S
        while not self.takes_connections():
            assert self.bus.poll() is None and time.monotonic() < deadline, self.log_text()
            time.sleep(0.02)

    def takes_connections(self):
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.bus_path)) == 0

    def start_avahi(self):
        """Returns when it has registered its name, so that its clients work."""
        config = self.dir / 'avahi.conf'
        config.write_text(AVAHI.format(name=self.name))
        self.run('rm', '-rf', '/run/avahi-daemon')
        before = self.log_text().count('startup complete')
        self.avahi = self.popen('avahi-daemon', '--no-drop-root', '--no-chroot', '--no-rlimits',
                                '-f', config)
        deadline = time.monotonic() + PATIENCE_S
        while self.log_text().count('startup complete') == before:
            assert self.avahi.poll() is None and time.monotonic() < deadline, self.log_text()
            time.sleep(0.02)

    def stop_avahi(self, number=signal.SIGTERM):
        end(self.avahi, number)
        self.avahi = None

    def stop_bus(self):
        end(self.bus, signal.SIGKILL)
        self.bus = None

    def log_text(self):
        path = self.dir / 'log'
        return path.read_text(errors='replace') if path.exists() else ''

    # ---- what it says and sees ----

    def publish(self, name, port, *txt, words=(), kind='_nvme-disc._tcp'):
        """A service, until it is ended; waits until it is announced."""
        log = f'publish-{len(self.children)}'
        child = self.popen('avahi-publish', '-s', *words, name, kind, port, *txt, log=log)
        return self.wait_established(child, log)

    def publish_address(self, host, address):
        log = f'publish-{len(self.children)}'
        return self.wait_established(
            self.popen('avahi-publish', '-a', '-R', host, address, log=log), log)

    def wait_established(self, child, log):
        self.children.append(child)
        deadline = time.monotonic() + PATIENCE_S
        while 'Established' not in (text := (self.dir / log).read_text()):
            assert child.poll() is None and time.monotonic() < deadline, text
            time.sleep(0.02)
        return child

    def browsed(self, kind):
        """avahi-browse was seen not to end when a service goes while it asks for its address: it is
        asked anew then."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                done = self.run('avahi-browse', '-r', '-p', '-t', kind, timeout_s=PATIENCE_S / 4)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, f'avahi-browse of {kind} does not end'
                continue
            assert done.returncode == 0, done.stderr
            return done.stdout

    def browse(self, kind='_nvme-disc._tcp'):
        """What is there: (name, protocol, address, port, strings of TXT), once for each."""
        found = set()
        for line in self.browsed(kind).splitlines():
            fields = line.split(';', 9)
            if fields[0] == '=':
                name = fields[3].encode().decode('unicode_escape') if '\\' not in fields[3] \
                    else unescape(fields[3])
                found.add((name, fields[2], fields[7], int(fields[8]),
                           tuple(sorted(fields[9].replace('"', '').split()))))
        return found

    def end(self):
        for child in self.children:
            end(child)
        end(self.avahi)
        end(self.bus)
        end(self.holder, signal.SIGKILL)


def unescape(text):
    """avahi-browse writes \\032 for a space."""
    out, at = '', 0
    while at < len(text):
        if text[at] == '\\' and text[at + 1:at + 4].isdigit():
            out += chr(int(text[at + 1:at + 4]))
            at += 4
        elif text[at] == '\\':
            out += text[at + 1]
            at += 2
        else:
            out += text[at]
            at += 1
    return out


def make_machines(directory):
    """The test's machine and another one, with a cable and addresses, without daemons."""
    holder = subprocess.Popen(
        ['unshare', '--net', '--mount', 'sh', '-c',
         'mount -t tmpfs none /run && ip link set lo up && echo ready && exec sleep 3600'],
        stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    assert holder.stdout.readline() == 'ready\n'
    holder.stdout.close()
    one, two = Machine('one', directory), Machine('two', directory, holder)
    one.ip('link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', holder.pid)
    for number, machine in enumerate((one, two), 1):
        machine.ip('addr', 'add', f'10.77.0.{number}/24', 'dev', 'cable')
        machine.ip('addr', 'add', f'fd77::{number}/64', 'dev', 'cable', 'nodad')
        machine.ip('link', 'set', 'cable', 'up')
    return one, two
