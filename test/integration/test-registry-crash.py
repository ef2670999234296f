#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The registry is killed at random moments while clients change it: what was acknowledged is there after
the next start, what was not is there wholly or not at all, and revisions go on. XSAN_LONG: 200 rounds."""

import json
import os
import random
import threading
import time

from registry_harness import RegistryTest, main, registration

ROUNDS = 200 if os.environ.get('XSAN_LONG') else 8
CLIENTS = 4


class Client(threading.Thread):
    """Registers, changes and removes targets of its own until the registry is gone. `sure` is what it
    was told; `doubt` the change that was under way then: (id or None, number, what it would make)."""

    def __init__(self, test, number, sure):
        super().__init__()
        self.test, self.number, self.sure = test, number, sure
        self.doubt = None
        self.next = 0
        self.revision = 0

    def call(self, connection, method, path, body):
        connection.request(method, path, json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def step(self, connection, rng):
        known = list(self.sure)
        choice = rng.random()
        if choice < 0.5 or not known:
            self.next += 1
            number = self.number * 100000000 + self.test.round * 10000 + self.next
            self.doubt = (None, number, 1)
            status, body = self.call(connection, 'POST', '/api/v1/targets',
                                     registration(number, config={'weight': 1}))
            assert status == 201, body
            self.sure[body['target_id']] = (number, 1)
            self.revision = max(self.revision, body['revision'])
        elif choice < 0.8:
            target = rng.choice(known)
            number, _ = self.sure[target]
            weight = rng.randrange(2, 1000)
            self.doubt = (target, number, weight)
            status, body = self.call(connection, 'PATCH', f'/api/v1/targets/{target}',
                                     {'config': {'weight': weight}})
            assert status == 200, body
            self.sure[target] = (number, weight)
        else:
            target = rng.choice(known)
            self.doubt = (target, self.sure[target][0], None)
            status, body = self.call(connection, 'DELETE', f'/api/v1/targets/{target}',
                                     {'force': True})
            assert status == 200, body
            del self.sure[target]
        self.doubt = None

    def run(self):
        connection = self.test.connect()
        rng = random.Random(f'{self.test.seed} {self.test.round} {self.number}')
        try:
            while True:
                self.step(connection, rng)
        except (OSError, ValueError, Exception) as problem:  # pylint: disable=broad-except
            if isinstance(problem, AssertionError):
                self.test.wrong.append(problem)
        finally:
            connection.close()


class Crash(RegistryTest):
    def test_what_was_acknowledged_is_there(self):
        self.seed = os.environ.get('XSAN_SEED', str(random.randrange(1 << 32)))
        print(f'seed {self.seed}')
        rng = random.Random(self.seed)
        self.wrong, self.round, last = [], 0, 0
        sure = [{} for _ in range(CLIENTS)]
        acknowledged = 0
        for self.round in range(ROUNDS):
            self.start()
            revision = self.good('GET', '/api/v1/status')['revision']
            self.assertGreaterEqual(revision, last)
            clients = [Client(self, i, sure[i]) for i in range(CLIENTS)]
            for client in clients:
                client.start()
            time.sleep(rng.uniform(0.01, 0.4))
            self.process.kill()
            self.process.wait()
            for client in clients:
                client.join()
            self.assertEqual(self.wrong, [])
            last = max(client.revision for client in clients)
            acknowledged += sum(client.next for client in clients)
            self.start()
            self.compare(clients, sure)
            self.assertEqual(self.stop(), 0)
        print(f'{ROUNDS} rounds, {acknowledged} registrations')

    def compare(self, clients, sure):
        found = {}
        cursor = ''
        while True:
            page = self.good('GET', f'/api/v1/targets?full=true&limit=1000{cursor}')
            for target in page['targets']:
                number = int(target['nqn'].rsplit(':', 1)[1]) - 1
                found[target['target_id']] = (number, target['config']['weight'])
            if 'next_cursor' not in page:
                break
            cursor = '&cursor=' + page['next_cursor']
        for client, mine in zip(clients, sure):
            if client.doubt is not None:
                self.settle(client.doubt, mine, found)
        expected = {}
        for mine in sure:
            expected.update(mine)
        self.assertEqual(found, expected)

    def settle(self, doubt, mine, found):
        """The change that was under way is made, or it is not."""
        target, number, weight = doubt
        if target is None:
            made = [key for key, value in found.items() if value == (number, weight)]
            mine.update({key: (number, weight) for key in made})
        elif weight is None and target not in found:
            del mine[target]
        elif weight is not None and found.get(target) == (number, weight):
            mine[target] = (number, weight)


if __name__ == '__main__':
    main()
