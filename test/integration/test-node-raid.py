#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Arrays of a node: from the configuration file and by RPC, remembered and assembled again after a
restart, stopped cleanly, on each other, exported, without a member, and never over what is foreign."""

import json
import subprocess
import time

from node_harness import NQN, PATIENCE_S, XSAND, NodeTest, main


class Raid(NodeTest):
    def setUp(self):
        super().setUp()
        self.config['devices'] = []
        self.subsystem()['namespaces'] = []
        for name in 'abcdef':
            self.add_file(name)

    def add_file(self, name, **more):
        self.config['devices'].append({'driver': 'file', 'name': name, 'size': '8MiB',
                                       'filename': str(self.dir / name), **more})

    def add_array(self, name, level, members, **more):
        self.config['devices'].append({'driver': 'raid', 'name': name, 'level': level,
                                       'members': members, **more})
        return self.config['devices'][-1]

    def restart(self):
        self.stop()
        self.start()

    def detail(self, name='md0'):
        return self.call('bdev_raid_get_detail', {'name': name})

    def examine(self, name):
        return self.call('bdev_raid_examine', {'name': name})

    def wait_idle(self, name='md0'):
        end = time.monotonic() + PATIENCE_S
        while self.detail(name)['sync']['action'] != 'idle':
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def wait_whole(self, name='md0'):
        """Until what is missing has been made again, which may not have begun yet."""
        end = time.monotonic() + PATIENCE_S
        while self.detail(name)['degraded'] or self.detail(name)['sync']['action'] != 'idle':
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def members(self, name='md0'):
        for device in self.call('save_config')['devices']:
            if device['name'] == name:
                return device['members']
        return None

    def problems(self):
        return self.call('xsan_status')['problems']

    def test_of_the_file(self):
        # Before its members in the file, and on another array: order is found.
        self.config['devices'].insert(0, {'driver': 'raid', 'name': 'top', 'level': 'raid0',
                                          'members': ['left', 'right'], 'chunk_size': '64KiB'})
        self.add_array('left', 'raid1', ['a', 'b'])
        self.add_array('right', 'raid5', ['c', 'd', 'e', 'f'], raid_disks=3, layout='left-asymmetric')
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'top'}]
        self.start()
        self.assertEqual(self.problems(), [])
        shown = {name: self.detail(name)['uuid'] for name in ('top', 'left', 'right')}
        namespace = self.shown_subsystem()['namespaces'][0]
        self.assertEqual(namespace['uuid'], shown['top'])
        self.assertEqual(self.detail('right')['spare_disks'], 1)
        self.assertEqual(self.detail('right')['layout'], 'left-asymmetric')
        for _ in range(2):
            self.restart()
            self.assertEqual(self.problems(), [])
            self.assertEqual({n: self.detail(n)['uuid'] for n in shown}, shown)
            self.assertEqual(self.shown_subsystem()['namespaces'], [namespace])
        # SIGKILL: assembled all the same.
        self.kill()
        self.start()
        self.assertEqual({n: self.detail(n)['uuid'] for n in shown}, shown)

    def test_stopped_cleanly(self):
        self.add_array('md0', 'raid1', ['a', 'b'])
        self.start()
        self.wait_idle()
        self.restart()
        self.assertEqual(self.detail()['sync']['resync_due'], False)
        self.stop()
        self.config['devices'] = [d for d in self.config['devices'] if d['name'] != 'md0']
        self.start()
        self.assertTrue(self.examine('a')['clean'])
        self.assertEqual(self.examine('a')['events'], self.examine('b')['events'])

    def test_spare_group_and_priority_are_remembered(self):
        self.start()
        for name, members, spares in (('md0', ['a', 'b'], ['c']), ('md1', ['d', 'e'], [])):
            self.call('bdev_raid_create', {'name': name, 'raid_level': 'raid1', 'base_bdevs': members,
                                           'spares': spares})
            self.wait_idle(name)
            self.call('bdev_raid_set_options', {'name': name, 'spare_group': 'shelf', 'priority': 6})
        before = self.call('save_config')
        self.restart()
        self.assertEqual(self.problems(), [])
        self.assertEqual(self.call('save_config'), before)
        for name in ('md0', 'md1'):
            self.assertEqual(self.detail(name)['spare_group'], 'shelf')
            self.assertEqual(self.detail(name)['priority'], 6)
        # And it is used: the spare of the one goes to the other.
        self.call('bdev_raid_fail', {'raid_bdev': 'md1', 'base_bdev': 'd'})
        end = time.monotonic() + PATIENCE_S
        while self.detail('md1')['degraded'] or self.detail('md0')['spare_disks'] != 0:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        self.call('bdev_raid_set_options', {'name': 'md0', 'spare_group': 'none'})
        self.restart()
        self.assertEqual(self.detail('md0')['spare_group'], '')
        self.assertEqual(self.detail('md1')['spare_group'], 'shelf')

    def test_write_mostly_is_remembered(self):
        self.start()
        self.call('bdev_raid_create', {'name': 'md0', 'raid_level': 'raid1', 'base_bdevs': ['a', 'b', 'missing'],
                                       'bitmap_chunk_kb': 64, 'write_behind': 8, 'write_mostly': ['b'],
                                       'spare_group': 'shelf', 'priority': 7})
        self.wait_idle()
        self.call('bdev_raid_set_member', {'raid_bdev': 'md0', 'base_bdev': 'a', 'write_mostly': True})
        self.call('bdev_raid_set_member', {'raid_bdev': 'md0', 'base_bdev': 'b', 'write_mostly': False})
        before = self.call('save_config')
        for _ in range(2):
            self.assertEqual(self.members(), ['a', 'b', 'missing'])
            self.assertEqual([d.get('is_write_mostly') for d in self.detail()['disks']], [True, False, None])
            self.assertEqual(self.detail()['write_behind'], 8)
            self.assertEqual(self.detail()['spare_group'], 'shelf')
            self.assertEqual(self.detail()['priority'], 7)
            self.restart()
            self.assertEqual(self.problems(), [])
            self.assertEqual(self.call('save_config'), before)
        # The one that goes is not written of any more.
        self.call('bdev_raid_add_base_bdev', {'raid_bdev': 'md0', 'base_bdev': 'c', 'write_mostly': True})
        self.wait_whole()
        self.call('bdev_raid_remove_base_bdev', {'name': 'a'})
        self.restart()
        self.assertEqual(self.problems(), [])
        self.assertEqual([d['name'] for d in self.detail()['disks']], [None, 'b', 'c'])
        self.assertEqual([d.get('is_write_mostly') for d in self.detail()['disks']], [None, False, True])

    def test_by_rpc(self):
        self.start()
        self.call('bdev_raid_create', {'name': 'md0', 'raid_level': 'raid5', 'strip_size_kb': 64,
                                       'base_bdevs': ['a', 'b', 'c'], 'spares': ['d']})
        self.wait_idle()
        uuid = self.detail()['uuid']
        self.call('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 'md0'}})
        self.assertEqual(sorted(self.members()), list('abcd'))
        before = self.call('save_config')
        self.restart()
        self.assertEqual(self.problems(), [])
        self.assertEqual(self.detail()['uuid'], uuid)
        self.assertEqual(self.detail()['spare_disks'], 1)
        self.assertEqual(self.call('save_config'), before)
        # What changes its members is remembered too.
        self.call('bdev_raid_add_base_bdev', {'raid_bdev': 'md0', 'base_bdev': 'e'})
        self.assertEqual(sorted(self.members()), list('abcde'))
        self.call('bdev_raid_replace', {'raid_bdev': 'md0', 'base_bdev': 'a', 'new_bdev': 'f'})
        end = time.monotonic() + PATIENCE_S
        while ('f', 'active') not in [(d['name'], d['state']) for d in self.detail()['disks']]:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        self.wait_idle()
        self.call('bdev_raid_remove_base_bdev', {'name': 'a'})
        self.assertEqual(sorted(self.members()), list('bcdef'))
        self.restart()
        self.assertEqual(self.problems(), [])
        names = {d['name']: d['state'] for d in self.detail()['disks']}
        self.assertEqual(names, {'b': 'active', 'c': 'active', 'd': 'spare', 'e': 'spare',
                                 'f': 'active'})
        # A namespace is on it, so it stays; then it goes for good, and is still on its members.
        self.assertIn('in use', str(self.refused('bdev_raid_delete', {'name': 'md0'})))
        self.call('nvmf_subsystem_remove_ns', {'nqn': NQN, 'nsid': 1})
        self.call('bdev_raid_delete', {'name': 'md0'})
        self.restart()
        self.assertEqual(self.call('bdev_raid_get_bdevs'), [])
        self.call('bdev_raid_assemble', {'name': 'md1', 'base_bdevs': ['b', 'c', 'f']})
        self.restart()
        self.assertEqual(self.detail('md1')['uuid'], uuid)

    def test_what_cannot_be_remembered_does_not_run(self):
        self.start()
        blocker = self.state_path.with_name('state.json.new')
        blocker.mkdir()
        error = str(self.refused('bdev_raid_create', {'name': 'md0', 'raid_level': 'raid1',
                                                      'base_bdevs': ['a', 'b']}))
        self.assertIn("array 'md0' is on its members and has been stopped again", error)
        self.assertEqual(self.call('bdev_raid_get_bdevs'), [])
        blocker.rmdir()
        self.call('bdev_raid_assemble', {'name': 'md0', 'base_bdevs': ['a', 'b']})
        blocker.mkdir()
        error = str(self.refused('bdev_raid_add_base_bdev', {'raid_bdev': 'md0', 'base_bdev': 'c'}))
        self.assertIn("it is done, but the members of array 'md0' cannot be remembered", error)
        blocker.rmdir()
        # The next change brings it along.
        self.call('bdev_raid_add_base_bdev', {'raid_bdev': 'md0', 'base_bdev': 'd'})
        self.assertEqual(sorted(self.members()), list('abcd'))
        self.restart()
        self.assertEqual(self.detail()['spare_disks'], 2)

    def test_a_member_is_not_deleted_under_its_array(self):
        self.add_array('md0', 'raid1', ['a', 'b'])
        self.start()
        self.assertIn("device 'a' is a member of array 'md0'",
                      str(self.refused('bdev_delete', {'name': 'a'})))
        self.assertEqual(self.detail()['degraded'], False)

    def test_starts_without_a_member(self):
        self.add_array('md0', 'raid5', ['a', 'b', 'c'])
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'md0'}]
        self.start()
        self.wait_idle()
        uuid = self.detail()['uuid']
        self.stop()
        (self.dir / 'b').rename(self.dir / 'away')
        del self.device('b')['size']  # so it is not made anew
        self.start()
        self.assertTrue(any('add device b' in p for p in self.problems()), self.problems())
        self.assertEqual(self.detail()['uuid'], uuid)
        self.assertEqual(self.detail()['degraded'], True)
        self.assertEqual(len(self.shown_subsystem()['namespaces']), 1)
        # An empty file in its place is not taken for it; it can be added by hand.
        self.stop()
        self.device('b')['size'] = '8MiB'
        self.start()
        self.assertEqual(self.detail()['degraded'], True)
        self.wait_log('array md0: member b is left out: it has no RAID superblock')
        self.call('bdev_raid_add_base_bdev', {'raid_bdev': 'md0', 'base_bdev': 'b'})
        self.wait_whole()
        self.assertEqual(self.detail()['degraded'], False)
        self.restart()
        self.assertEqual(self.detail()['degraded'], False)

    def test_nothing_is_made_in_place_of_what_is_lost(self):
        self.add_array('md0', 'raid1', ['a', 'b'])
        self.start()
        self.stop()
        for name in 'ab':
            (self.dir / name).unlink()
        self.start()
        self.assertEqual(len(self.problems()), 1)
        self.assertIn("array 'md0': it was there before, and none of its members has a RAID "
                      'superblock now', self.problems()[0])
        self.assertEqual((self.dir / 'a').read_bytes().count(0), 8 << 20)

    def test_arrays_in_memory_are_made_each_time(self):
        for name in 'wxyz':
            self.config['devices'].append({'driver': 'malloc', 'name': name, 'size': '8MiB'})
        self.add_array('top', 'raid0', ['left', 'right'])
        self.add_array('left', 'raid1', ['w', 'x'])
        self.add_array('right', 'raid1', ['y', 'z'])
        self.start()
        uuid = self.detail('top')['uuid']
        self.restart()
        self.assertEqual(self.problems(), [])
        self.assertEqual(self.detail('top')['uuid'], uuid)

    def test_foreign_members_stay_as_they_are(self):
        self.add_array('old', 'raid1', ['a', 'b'])
        self.start()
        self.stop()
        text = (self.dir / 'a').read_bytes()
        self.config['devices'].pop()
        self.add_array('new', 'raid0', ['a', 'c'])
        (self.dir / 'd').write_bytes(bytes(600) + b'precious' + bytes((8 << 20) - 608))
        self.add_array('other', 'raid1', ['d', 'e'])
        self.start()
        problems = '\n'.join(self.problems())
        self.assertIn("array 'new': 'c' does not belong to the array that others", problems)
        self.assertIn("array 'other': 'd' is not blank: there is something at byte 600", problems)
        self.stop()
        self.assertEqual((self.dir / 'a').read_bytes(), text)
        self.assertEqual((self.dir / 'd').read_bytes()[600:608], b'precious')

    def test_reload(self):
        array = self.add_array('md0', 'raid1', ['a', 'b'])
        self.start()
        self.wait_idle()
        array['members'] = ['a', 'b', 'c']
        self.write_config()
        self.call('config_reload')
        self.assertEqual(self.detail()['spare_disks'], 1)
        array['members'] = ['a', 'b']
        array['level'] = 'raid5'
        self.write_config()
        self.assertTrue(any('device md0: level' in p
                            for p in self.call('config_reload')['restart']))
        array['level'] = 'raid1'
        self.config['devices'].remove(array)
        self.write_config()
        self.call('config_reload')
        self.assertEqual(self.call('bdev_raid_get_bdevs'), [])
        self.assertTrue(self.examine('a')['clean'])

    def test_a_file_without_a_disk_of_a_run_time_array(self):
        self.start()
        self.call('bdev_raid_create', {'name': 'md0', 'raid_level': 'raid1',
                                       'base_bdevs': ['a', 'b']})
        self.wait_idle()
        self.config['devices'].remove(self.device('b'))
        self.write_config()
        notes = self.call('config_reload')['notes']
        self.assertTrue(any('md0: it goes on without its member b' in n for n in notes), notes)
        self.assertEqual(self.detail()['degraded'], True)
        self.restart()
        self.assertEqual(self.detail()['degraded'], True)
        self.assertEqual(self.problems(), [])

    def check(self, text):
        """What xsand --check says of the configuration."""
        self.write_config()
        result = subprocess.run([XSAND, '--check', '--config', self.config_path],
                                capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)
        self.assertIn(text, result.stderr)

    def test_what_is_wrong_is_told_by_its_place(self):
        array = self.add_array('md0', 'raid1', ['a', 'b'])
        for change, text in (
                ({'level': 'raid7'}, 'devices[6].level: "raid7" is not accepted; it takes one of: '),
                ({'members': 'a'}, 'devices[6].members: a list [ … ] of 1 to 64 names'),
                ({'members': ['a', 'x']}, "devices[6].members[1]: there is no device 'x'"),
                ({'members': ['a', 'a']}, "devices[6].members[1]: 'a' is the base of devices[6] "
                 'already'),
                ({'members': ['a', 'md0']}, "devices[6].members[1]: 'md0' stands on this device "
                 'itself'),
                ({'level': 'raid6'}, 'devices[6].members: there are 2; raid6 takes 4 to 32'),
                ({'chunk_size': 5000}, 'devices[6].chunk_size: 5000 is not accepted; it takes a '
                 'power of two'),
                ({'layout': 'upside-down'}, 'devices[6].layout: '),
                ({'stripe_cache_size': 64}, 'devices[6].stripe_cache_size: raid1 has none'),
        ):
            old = dict(array)
            array.update(change)
            self.check(text)
            array.clear()
            array.update(old)
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'b'}]
        self.check("namespaces[0].device: 'b' is used by devices[6] already")

    def test_spdk_form_has_arrays_after_their_members(self):
        self.add_array('md0', 'raid1', ['a', 'b'])
        self.config['devices'].insert(0, {'driver': 'delay', 'name': 'slow', 'base': 'md0',
                                          'avg_read_latency_us': 1})
        self.start()
        calls = [c['params']['name'] for c in self.call('framework_get_config', {'name': 'bdev'})]
        self.assertLess(calls.index('a'), calls.index('md0'))
        self.assertLess(calls.index('b'), calls.index('md0'))
        self.assertLess(calls.index('md0'), calls.index('slow'))
        self.assertEqual(len(calls), 8)
        self.assertEqual(json.loads(json.dumps(calls)).count('md0'), 1)


if __name__ == '__main__':
    main()
