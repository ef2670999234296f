#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Alerts of several registries on one etcd: the one that leads tells, another goes on where it was, what was
told is not told again and what was not told is; a silence counts at all of them and is shown by all."""

import json
import time

from alerts_harness import RULE, Hook, rule
from etcd_harness import SharedTest, main_with_etcd

ROUNDS_S = 3.5  # some rounds of the rules, in which nothing may come


class SharedAlerts(SharedTest):
    def setUp(self):
        super().setUp()
        self.hook = Hook()
        self.rules_path = self.etcd.dir / 'rules.json'

    def tearDown(self):
        self.hook.end()
        super().tearDown()

    def begin(self, *rules):
        """Two registries of which the first leads."""
        self.rules_path.write_text(json.dumps({'rules': rules}))
        alerts = {'alerts': {'alert_rules_file': str(self.rules_path), 'evaluation_interval_sec': 1}}
        one = self.registry(**alerts)
        self.wait_for(one.leads, 'the first does not lead')
        other = self.registry(**alerts)
        self.assertFalse(other.leads())
        self.target = one.register(0)
        self.wait_for(lambda: self.target in other.targets(), 'it is not in the other')
        return one, other

    def set_status(self, registry, status):
        registry.good('PUT', f'/api/v1/targets/{self.target}/status', {'status': status})

    def stand(self, registry):
        return next(r for r in registry.good('GET', '/api/v1/alerts')['rules'] if r['rule_name'] == RULE)

    def told(self, *states):
        """All that the hook hears, now and for some rounds, is this."""
        self.wait_for(lambda: len(self.hook.states()) >= len(states), f'it is not told: {states}')
        time.sleep(ROUNDS_S)
        self.assertEqual(self.hook.states(), list(states))

    def wait_for_saved(self, is_told):
        def is_saved():
            words = self.etcd.get('/test/documents/alerts', '--print-value-only').stdout
            return (RULE in json.loads(words or b'{}')) == is_told
        self.wait_for(is_saved, 'it is not saved that it was told')

    def sent_by(self, registry):
        return [(n['status'], n['tries']) for n in registry.good('GET', '/api/v1/alerts')['notifications']]

    def wait_for_sent(self, registry, count):
        self.wait_for(lambda: self.sent_by(registry) == [('sent', 1)] * count,
                      f'they are not sent once each: {count}')

    def test_one_tells_and_another_goes_on(self):
        one, other = self.begin(rule(self.hook))
        self.set_status(one, 'failed')
        self.told('firing')
        self.wait_for_sent(one, 1)
        self.assertEqual(self.sent_by(other), [])
        # Both know how it stands.
        self.wait_for(lambda: self.stand(other)['state'] == 'firing', 'the other does not see it')
        self.wait_for_saved(True)
        one.kill()
        self.wait_for(other.leads, 'the other does not lead')
        self.told('firing')
        self.set_status(other, 'available')
        self.told('firing', 'resolved')
        self.set_status(other, 'failed')
        self.told('firing', 'resolved', 'firing')
        self.wait_for_sent(other, 2)
        self.wait_for_saved(True)
        # The first is back and tells nothing, until the other is ended in good order.
        one.start()
        self.told('firing', 'resolved', 'firing')
        self.assertEqual(self.sent_by(one), [])
        self.assertEqual(other.stop(), 0)
        self.wait_for(one.leads, 'the first does not lead again')
        self.set_status(one, 'available')
        self.told('firing', 'resolved', 'firing', 'resolved')
        self.wait_for_sent(one, 1)

    def test_what_the_leader_did_not_get_out_is_told_by_the_next(self):
        one, other = self.begin(rule(self.hook))
        self.hook.hold()
        self.set_status(one, 'failed')
        self.wait_for(lambda: self.hook.held, 'it is not sent')
        one.kill()
        self.hook.release()
        self.told('firing')
        self.wait_for_sent(other, 1)

    def test_a_silence_counts_at_all(self):
        one, other = self.begin(rule(self.hook, repeat_interval_sec=1))
        self.set_status(one, 'failed')
        self.wait_for(lambda: len(self.hook.got) >= 3, 'it is not repeated')
        path = f'/api/v1/alerts/{RULE.replace(" ", "%20")}/silence'
        answer = other.good('PUT', path, {'duration_minutes': 5, 'comment': 'we know'})
        silence = next(r for r in answer['rules'] if r['rule_name'] == RULE)
        self.assertGreater(silence['silenced_until_ms'], time.time() * 1000)

        def shown(registry):
            stand = self.stand(registry)
            return stand['silenced_until_ms'], stand['comment']
        expected = (silence['silenced_until_ms'], 'we know')
        self.wait_for(lambda: shown(one) == expected, 'the one that leads does not have it')
        time.sleep(1.5)
        self.wait_for(lambda: all(status != 'waiting' for status, _ in self.sent_by(one)),
                      'what was on its way is not told')
        told = len(self.hook.got)
        time.sleep(ROUNDS_S)
        self.assertEqual(len(self.hook.got), told)
        # Whoever leads honours it, and who comes later has it.
        one.kill()
        self.wait_for(other.leads, 'the other does not lead')
        one.start()
        self.assertEqual(shown(one), expected)
        time.sleep(ROUNDS_S)
        self.assertEqual(len(self.hook.got), told)
        one.good('DELETE', path)
        self.wait_for(lambda: len(self.hook.got) > told, 'nobody is told after the silence')
        self.wait_for(lambda: shown(other) == (0, ''), 'it is not over at the other')
        self.assertEqual(self.sent_by(one), [])


if __name__ == '__main__':
    main_with_etcd()
