#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The host of the library and a node that dies: an application reads, writes and flushes through
SIGKILL and restart, hears of nothing but slow I/O, and finds what was acknowledged; afterwards the
node's file holds it too. A connected host that does nothing costs nothing."""

import json
import pathlib
import subprocess
import threading
import time

from node_harness import BUILD, NQN, PATIENCE_S, NodeTest, main

DD = BUILD / 'tools/xbdev-dd'
USER = BUILD / 'test/integration/nvmf-user'
WORK_S = 6
KILLS = 3
IDLE_S = 3
IDLE_CPU_MAX = 0.01


class HostRestart(NodeTest):
    def start_user(self, path):
        """The application, and what it says, line by line."""
        self.user = subprocess.Popen(
            [USER, '127.0.0.1', str(self.port), NQN, str(WORK_S), path], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end_user)
        timer = threading.Timer(5 * PATIENCE_S, self.user.kill)
        timer.start()
        self.addCleanup(timer.cancel)

    def end_user(self):
        if self.user.poll() is None:
            self.user.kill()
            self.user.wait()
        for pipe in (self.user.stdin, self.user.stdout, self.user.stderr):
            pipe.close()

    def line(self):
        line = self.user.stdout.readline().strip()
        if line == '':
            self.fail(f'the application ended: {self.user.stderr.read()}')
        return line

    def work_through_kills(self, content):
        """The application works while the node dies again and again, and is idle in the end."""
        self.start()
        self.start_user(content)
        for _ in range(KILLS):
            self.assertNotEqual(self.line(), 'idle')
            self.kill()
            self.start()
        self.user.stdin.write('enough\n')
        self.user.stdin.flush()
        while self.line() != 'idle':
            pass

    def test_nothing_is_lost_and_idle_costs_nothing(self):
        content = pathlib.Path(self.dir / 'content')
        self.work_through_kills(content)
        time.sleep(IDLE_S)
        begin, before = time.monotonic(), self.node_cpu()
        time.sleep(IDLE_S)
        node_cpu = (self.node_cpu() - before) / (time.monotonic() - begin)
        self.user.stdin.close()
        user_cpu = float(self.line())
        self.assertEqual(self.user.wait(PATIENCE_S), 0)
        print(f'idle: host {user_cpu:.2%} of a core, node {node_cpu:.2%}')
        self.assertLess(user_cpu, IDLE_CPU_MAX)
        self.assertLess(node_cpu, IDLE_CPU_MAX)
        self.kill()
        right = content.read_bytes()
        with open(self.dir / 'disk0.img', 'rb') as disk:
            self.assertTrue(disk.read(len(right)) == right, 'the disk differs')

    def test_nothing_is_lost_on_an_array(self):
        """The same on a raid5, which the library then assembles from the node's files."""
        content, copy = self.dir / 'content', self.dir / 'copy'
        files = [{'driver': 'file', 'name': name, 'size': '16MiB',
                  'filename': str(self.dir / name)} for name in 'abc']
        self.config['devices'] = files + [
            {'driver': 'raid', 'name': 'md0', 'level': 'raid5', 'chunk_size': '64KiB',
             'members': ['a', 'b', 'c']}]
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'md0'}]
        self.work_through_kills(content)
        self.user.stdin.close()
        self.line()
        self.assertEqual(self.user.wait(PATIENCE_S), 0)
        self.stop()
        document = self.dir / 'document.json'
        document.write_text(json.dumps({
            'base_devices': [{'method': 'aio', 'params': {'name': f['name'],
                                                          'filename': f['filename']}}
                             for f in files],
            'raid_devices': [{'method': 'raid5', 'params': {'name': 'md0', 'base_bdevs': [
                'c', 'a', 'b']}}]}))
        right = content.read_bytes()
        subprocess.run([DD, 'from=md0', f'to={copy}', '--config', document, '--count',
                        f'{len(right)}B'], check=True, capture_output=True)
        self.assertTrue(copy.read_bytes() == right, 'the array differs')

    def node_cpu(self):
        """Seconds of CPU time that the node has used."""
        tasks = pathlib.Path(f'/proc/{self.process.pid}/task')
        return sum(int((task / 'schedstat').read_text().split()[0])
                   for task in tasks.iterdir()) * 1e-9


if __name__ == '__main__':
    main()
