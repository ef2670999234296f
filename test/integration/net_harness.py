# SPDX-License-Identifier: BSD-3-Clause
"""What the tests that need a network of their own share: the test is run again in a network namespace,
where nothing it sends gets out, and may have a second one, joined to it by a pair of virtual cables."""

import os
import subprocess
import sys
import time

PATIENCE_S = 60
SKIPPED = 77
HERE, THERE = 'xsan-here', 'xsan-there'


def ip(*words, inside=()):
    subprocess.run([*inside, 'ip', *words], check=True, timeout=PATIENCE_S)


def own_network():
    """Goes on in a namespace whose only interface is loopback. Skips the test where that cannot be."""
    if os.environ.get('XSAN_OWN_NETWORK') != str(os.getppid()):
        words = ['unshare', '--net'] if os.geteuid() == 0 else [
            'unshare', '--user', '--map-root-user', '--net']
        done = subprocess.run([*words, 'true'], capture_output=True, text=True, timeout=PATIENCE_S,
                              check=False)
        if done.returncode != 0:
            print(f'skipped: no network namespace can be had: {done.stderr.strip()}')
            sys.exit(SKIPPED)
        env = dict(os.environ, XSAN_OWN_NETWORK=str(os.getpid()))
        sys.exit(subprocess.run([*words, sys.executable, *sys.argv], env=env, check=False).returncode)
    ip('link', 'set', 'lo', 'up')


class Peer:
    """A second network: 192.0.2.1 and 2001:db8::1 are HERE, .2 and ::2 are THERE. Programs are run in it
    with `inside` in front."""

    def __init__(self):
        self.process = subprocess.Popen(['unshare', '--net', 'sleep', '3600'])
        path = f'/proc/{self.process.pid}/ns/net'
        end = time.monotonic() + PATIENCE_S
        while os.readlink(path) == os.readlink('/proc/self/ns/net'):
            if time.monotonic() > end:
                raise TimeoutError('there is no second namespace')
            time.sleep(0.01)
        self.inside = ['nsenter', f'--net={path}']
        ip('link', 'add', HERE, 'type', 'veth', 'peer', 'name', THERE, 'netns', str(self.process.pid))
        for name, number, inside in ((HERE, 1, []), (THERE, 2, self.inside)):
            # No detection of duplicates: the addresses can be used at once.
            ip('link', 'set', name, 'up', inside=inside)
            ip('address', 'add', f'192.0.2.{number}/24', 'broadcast', '+', 'dev', name, inside=inside)
            ip('address', 'add', f'2001:db8::{number}/64', 'dev', name, 'nodad', inside=inside)
            ip('link', 'set', 'lo', 'up', inside=inside)

    def close(self):
        ip('link', 'del', HERE)
        self.process.kill()
        self.process.wait()
