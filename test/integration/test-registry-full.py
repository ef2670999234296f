#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A full disk below the registry: what changes something is refused with a sentence, what reads goes
on, and when there is room again everything does. Nothing is half done, also after a kill.

The data is on a small tmpfs in a mount namespace of the registry's own. Skipped (77) where this
machine makes none."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from registry_harness import PATIENCE_S, REGISTRY, RegistryTest, main, registration

ROOM = '3m'
OWN = ['unshare', '--mount', *([] if os.geteuid() == 0 else ['--map-root-user'])]


def can_mount():
    try:
        return subprocess.run([*OWN, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], capture_output=True,
                              timeout=PATIENCE_S, check=False).returncode == 0
    except OSError:
        return False


if not can_mount():
    print('SKIP: this machine makes no mount namespace with a tmpfs')
    sys.exit(77)


class Full(RegistryTest):
    def setUp(self):
        super().setUp()
        self.data_dir.mkdir()
        # Outside of the tmpfs, so that the log can say what happens.
        self.config['logging'] = {'audit_log_file': str(self.dir / 'audit')}

    def start(self):
        """As the harness does, with the data on a file system that is gone with the process."""
        self.config_path.write_text(json.dumps(self.config))
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(
                [*OWN, 'sh', '-c', f'mount -t tmpfs -o size={ROOM} tmpfs "$1" && '
                 'if [ -d "$2" ]; then cp -a "$2/." "$1"; fi && exec "$3" --config "$4"', 'sh',
                 self.data_dir, self.dir / 'kept', REGISTRY, self.config_path], stdout=log, stderr=log)
        self.wait_for(self.is_ready, 'the registry does not answer')
        self.inside = pathlib.Path(f'/proc/{self.process.pid}/root{self.data_dir}')

    def fill(self):
        """Takes all the room that there is."""
        with open(self.inside / 'filler', 'ab', buffering=0) as filler:
            for size in (65536, 4096, 512, 1):
                try:
                    while True:
                        filler.write(b'x' * size)
                except OSError:
                    pass

    def free(self):
        (self.inside / 'filler').unlink()

    def counts(self):
        status = self.good('GET', '/api/v1/status')
        return status['total_targets'], status['revision']

    def try_until_full(self, first):
        """Registers until there is no room: the ids that were given out, and the refusal."""
        made = {}
        for number in range(first, first + 2000):
            answer = self.call('POST', '/api/v1/targets', registration(number))
            if answer.status != 201:
                return made, answer
            made[number] = answer.json['target_id']
        self.fail('it never gets full')

    def ids(self):
        return {target['target_id'] for target in self.good('GET', '/api/v1/targets?limit=10000')['targets']}

    def test_changes_are_refused_and_reads_go_on(self):
        self.start()
        known = {self.register(number) for number in range(20)}
        target = next(iter(known))
        path = f'/api/v1/targets/{target}'
        self.fill()
        made, answer = self.try_until_full(100)
        known |= set(made.values())
        self.assertEqual((answer.status, answer.headers['Content-Type']),
                         (507, 'application/problem+json'), answer.text)
        self.assertRegex(answer.json['detail'], r'full|space|room')
        before = self.counts()
        self.assertEqual(before[0], len(known))
        # Everything that would have to be kept is refused …
        for method, where, body in (
                ('PUT', path + '/status', {'status': 'busy'}),
                ('PATCH', path, {'metadata': {'location': 'elsewhere'}}),
                ('DELETE', path, {'force': True}),
                ('POST', '/api/v1/targets', registration(5000))):
            with self.subTest(method=method, path=where):
                problem = self.refused(507, method, where, body)
                self.assertRegex(problem['detail'], r'full|space|room')
        bulk = self.good('POST', '/api/v1/targets/bulk',
                         {'targets': [registration(number) for number in range(6000, 6010)]})
        self.assertEqual((bulk['registered_count'], bulk['refused_count']), (0, 10))
        self.assertEqual({result['code'] for result in bulk['results']}, {507})
        group = {'zones': [{'name': 'one', 'hosts': [f'nqn.2026-11.io.xsan:h{i:04}-' + 'x' * 150
                                                     for i in range(100)],
                            'targets': [f'node:{"n" * 60}-{i}' for i in range(100)]}]}
        answer = self.call('PUT', '/api/v1/zones/prod', group)
        self.assertEqual(answer.status, 507, answer.text)
        self.assertEqual(self.call('GET', '/api/v1/zones/prod').status, 404)
        # … a copy, too; what is only in memory, and reading, goes on.
        self.assertEqual(self.call('GET', '/api/v1/backup').status, 507)
        self.good('PUT', path + '/metrics', {'current_iops': 1})
        self.good('GET', path)
        self.good('GET', '/api/v1/events')
        self.good('GET', '/api/v1/targets/select')
        self.assertIn('xsan_registry_targets', self.call('GET', '/metrics').text)
        self.assertEqual(self.counts(), before)
        self.assertEqual(self.ids(), known)
        self.assertEqual(self.good('GET', path)['status'], 'available')
        # Room again: everything goes on, without a restart.
        self.free()
        self.good('PUT', path + '/status', {'status': 'busy'})
        known.add(self.register(7000))
        self.assertEqual(self.call('PUT', '/api/v1/zones/prod', group).status, 200)
        self.assertTrue(self.call('GET', '/api/v1/backup').body.startswith(b'SQLite format 3'))
        self.assertEqual(self.counts(), (len(known), before[1] + 2))
        self.assertEqual(self.stop(), 0)

    def test_what_was_answered_is_there_after_a_kill(self):
        self.start()
        known = {self.register(number) for number in range(20)}
        for first in (1000, 4000):
            self.fill()
            made, answer = self.try_until_full(first)
            known |= set(made.values())
            self.assertEqual(answer.status, 507)
            self.refused(507, 'PUT', f'/api/v1/targets/{next(iter(known))}/status', {'status': 'busy'})
            if first == 1000:
                self.free()
        revision = self.counts()[1]
        # The file system ends with the process: what is on it when it is killed is kept aside. It
        # must not write meanwhile.
        self.process.send_signal(signal.SIGSTOP)
        shutil.copytree(self.inside, self.dir / 'kept', ignore=lambda *_: {'filler'})
        self.stop(signal.SIGKILL)
        self.start()
        self.assertEqual(self.ids(), known)
        self.assertEqual(self.counts(), (len(known), revision))
        for target in self.good('GET', '/api/v1/targets?limit=10000')['targets']:
            self.assertEqual(target['status'], 'available')
        self.register(9000)
        self.assertEqual(self.stop(), 0)

    def test_no_room_at_the_start(self):
        """Nothing is served that could not be kept, and the reason is said."""
        done = subprocess.run(
            [*OWN, 'sh', '-c', 'mount -t tmpfs -o size=4k tmpfs "$1" && echo x > "$1/filler"; '
             'exec "$2" --data-dir "$1" --listen-port 0 --grpc-port 0 --discovery-port 0', 'sh',
             self.data_dir, REGISTRY], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r'full|space|room')


if __name__ == '__main__':
    main()
