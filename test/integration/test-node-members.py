#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Reloads that take devices away from under others that stay. An array lets go of a member before its
device is removed, a store of logical volumes and an exported namespace on it see nothing of that, and
where nobody else has the data the device stays."""

import json
import random
import signal
import subprocess
import time

from node_harness import BUILD, NQN, PATIENCE_S, NodeTest, main

DD = BUILD / 'tools/xbdev-dd'
DATA_SIZE = 1 << 20


class Members(NodeTest):
    def setUp(self):
        super().setUp()
        self.config['devices'] = []
        for name in 'abcd':
            self.add_file(name)
        self.subsystem()['namespaces'] = []

    def add_file(self, name, file=None):
        self.config['devices'].append({'driver': 'file', 'name': name, 'size': '16MiB',
                                       'filename': str(self.dir / (file or name))})

    def add_array(self, level, members, name='md0', **more):
        self.config['devices'].append({'driver': 'raid', 'name': name, 'level': level,
                                       'members': members, **more})
        return self.config['devices'][-1]

    def drop(self, *names):
        self.config['devices'] = [d for d in self.config['devices'] if d['name'] not in names]

    def reload(self, done, failed=(), restart=()):
        """Reloads and compares what was done; the errors of what failed."""
        self.write_config()
        report = self.call('config_reload')
        self.assertEqual((report['done'], [f['step'] for f in report['failed']],
                          report['restart']), (list(done), list(failed), list(restart)), report)
        return [f['error'] for f in report['failed']]

    def detail(self, name='md0'):
        return self.call('bdev_raid_get_detail', {'name': name})

    def serving(self, name='md0'):
        return sorted(disk['name'] for disk in self.detail(name)['disks']
                      if disk['state'] == 'active')

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

    def problems(self):
        return self.call('xsan_status')['problems']

    # ---- data, over the network ----

    def remote(self, **more):
        return json.dumps({'driver': 'nvmf', 'traddr': '127.0.0.1', 'trsvcid': str(self.port),
                           'subnqn': NQN, **more})

    def copy(self, source, target):
        subprocess.run([DD, f'from={source}', f'to={target}', '--count', f'{DATA_SIZE}B'],
                       check=True, capture_output=True, timeout=PATIENCE_S)

    def write_data(self):
        self.data = random.Random(7).randbytes(DATA_SIZE)
        (self.dir / 'data').write_bytes(self.data)
        self.copy(self.dir / 'data', self.remote())

    def check_data(self):
        self.copy(self.remote(), self.dir / 'copy')
        self.assertTrue((self.dir / 'copy').read_bytes() == self.data, 'the data differ')

    # ---- what goes ----

    def test_a_spare_and_a_member_go_with_their_devices(self):
        array = self.add_array('raid1', ['a', 'b', 'c'], raid_disks=2)
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'md0'}]
        self.start()
        self.wait_idle()
        self.write_data()
        array['members'] = ['a', 'b']
        self.drop('c')
        self.write_config()
        self.process.send_signal(signal.SIGHUP)
        self.wait_log(f'reloaded {self.config_path}: 2 steps done, 0 failed')
        text = self.log_text()
        self.assertLess(text.index('done: take member c off md0'),
                        text.index('done: remove device c'))
        self.assertEqual((self.serving(), self.detail()['degraded']), (['a', 'b'], False))
        array['members'] = ['b']
        self.drop('a')
        self.reload(['take member a off md0', 'remove device a'])
        self.assertEqual((self.serving(), self.detail()['degraded']), (['b'], True))
        self.assertEqual(self.problems(), [])
        self.check_data()
        self.stop()
        self.start('--strict')
        self.assertEqual(self.serving(), ['b'])
        self.check_data()

    def test_the_only_one_with_the_data_stays(self):
        array = self.add_array('raid1', ['a', 'b'])
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'md0'}]
        self.start()
        self.wait_idle()
        self.write_data()
        self.call('bdev_raid_fail', {'raid_bdev': 'md0', 'base_bdev': 'a'})
        steps = ['take member b off md0', 'remove device b']
        array['members'] = ['a']
        array['raid_disks'] = 2
        self.drop('b')
        for _ in range(2):
            errors = self.reload([], steps)
            self.assertIn("there is no other member for what 'b' holds", errors[0])
            self.assertIn("device 'md0' still stands on it, so it stays", errors[1])
            self.assertEqual(self.serving(), ['b'])
            self.check_data()
            self.assertEqual([p.split(': ')[0] for p in self.problems()], steps)
        # It is put back, and goes when another has the data.
        self.add_file('b')
        array['members'] = ['a', 'b']
        self.reload(['change device md0'])
        self.assertEqual(self.problems(), [])
        self.call('bdev_raid_remove_base_bdev', {'name': 'a'})
        self.call('bdev_raid_add_base_bdev', {'raid_bdev': 'md0', 'base_bdev': 'a'})
        self.wait_whole()
        self.drop('b')
        array['members'] = ['a']
        self.reload([*steps, 'change device md0'])
        self.assertEqual(self.serving(), ['a'])
        self.check_data()

    def test_of_a_level_without_redundancy_none_goes(self):
        array = self.add_array('raid0', ['a', 'b'], chunk_size='64KiB')
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'md0'}]
        self.start()
        self.write_data()
        array['members'] = ['a', 'd']
        self.drop('b')
        errors = self.reload([], ['take member b off md0', 'remove device b', 'change device md0'])
        self.assertIn("there is no other member for what 'b' holds", errors[0])
        self.check_data()
        # To let go of all is to be another array.
        self.drop('a')
        array['members'] = ['c', 'd']
        self.write_config()
        report = self.call('config_reload')
        self.assertEqual((report['done'], report['failed']), ([], []))
        self.assertEqual(report['restart'][:2], ['device a: removal', 'device b: removal'])
        self.check_data()

    def test_another_device_takes_its_file(self):
        array = self.add_array('raid1', ['a', 'b'])
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'md0'}]
        self.start()
        self.wait_idle()
        self.write_data()
        self.drop('b')
        self.add_file('x', 'b')
        array['members'] = ['a', 'x']
        self.reload(['take member b off md0', 'remove device b', 'add device x',
                     'change device md0'])
        self.wait_whole()
        self.assertEqual(self.serving(), ['a', 'x'])
        self.check_data()

    def test_a_member_goes_amid_its_recovery(self):
        array = self.add_array('raid1', ['a', 'b'])
        self.drop('c', 'd')
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'md0'}]
        self.start()
        self.wait_idle()
        self.write_data()
        old = 'b'
        for new in 'cbcbcb':
            self.drop(old)
            self.add_file(new)
            array['members'] = ['a', new]
            self.reload([f'take member {old} off md0', f'remove device {old}', f'add device {new}',
                         'change device md0'])
            old = new
        self.wait_whole()
        self.assertEqual(self.serving(), ['a', 'b'])
        self.check_data()

    def test_arrays_exchange_their_spares(self):
        one = self.add_array('raid1', ['a', 'b'], 'md0', raid_disks=1)
        two = self.add_array('raid1', ['c', 'd'], 'md1', raid_disks=1)
        self.start()
        one['members'], two['members'] = ['a', 'd'], ['c', 'b']
        errors = self.reload(['take member b off md0', 'take member d off md1'],
                             ['change device md0', 'change device md1'])
        self.assertIn("'d' belongs to another array", errors[0])
        one['members'], two['members'] = ['a', 'b'], ['c', 'd']
        self.reload(['change device md0', 'change device md1'])
        self.assertEqual((self.detail()['spare_disks'], self.detail('md1')['spare_disks']), (1, 1))

    def test_what_waits_for_a_restart_keeps_its_base(self):
        self.config['devices'].append({'driver': 'delay', 'name': 'slow', 'base': 'a',
                                       'avg_read_latency_us': 1})
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'slow'}]
        self.start()
        self.write_data()
        self.device('slow')['base'] = 'b'
        self.drop('a')
        self.reload([], restart=['device a: removal', 'device slow: base'])
        self.check_data()
        self.assertEqual(self.call('xsan_status')['needs_restart'],
                         ['device a: removal', 'device slow: base'])
        self.stop()
        self.start('--strict')
        self.assertNotIn('a', self.devices())
        self.assertEqual(self.problems(), [])

    # ---- with a store of logical volumes on it ----

    def add_store(self, base):
        self.config['lvol_stores'] = [{'name': 's', 'base_bdev': base, 'cluster_size': '64KiB'}]
        self.config['lvol_volumes'] = [{'name': 'v', 'lvs_name': 's', 'size': '4MiB',
                                        'thin_provision': True}]
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 's/v'}]

    def test_a_store_on_an_array_sees_nothing(self):
        array = self.add_array('raid5', ['a', 'b', 'c', 'd'], raid_disks=3, chunk_size='64KiB')
        self.add_store('md0')
        self.start('--strict')
        self.wait_idle()
        self.write_data()
        array['members'] = ['a', 'b', 'd']
        self.drop('c')
        # The spare takes the place of the member.
        self.reload(['take member c off md0', 'remove device c'])
        self.wait_whole()
        self.assertEqual((self.serving(), self.detail()['degraded']), (['a', 'b', 'd'], False))
        self.check_data()
        array['members'] = ['a', 'd']
        self.drop('b')
        self.reload(['take member b off md0', 'remove device b'])
        self.check_data()
        # One more is too much.
        array['members'] = ['a']
        self.drop('d')
        errors = self.reload([], ['take member d off md0', 'remove device d'])
        self.assertIn("there is no other member for what 'd' holds", errors[0])
        self.check_data()
        for stop in (self.stop, self.kill):
            self.add_file('d')
            array['members'] = ['a', 'd']
            self.write_config()
            stop()
            self.start('--strict')
            self.check_data()
            self.drop('d')

    def test_a_store_goes_with_its_device_and_array(self):
        self.add_array('raid1', ['a', 'b'])
        self.add_store('md0')
        self.start('--strict')
        self.wait_idle()
        self.write_data()
        kept = json.loads(json.dumps(self.config))
        self.drop('a', 'b', 'md0')
        del self.config['lvol_stores'], self.config['lvol_volumes']
        self.subsystem()['namespaces'] = []
        self.reload([f'remove namespace 1 from {NQN}', 'remove device md0', 'remove device a',
                     'remove device b'])
        self.assertEqual(self.call('bdev_lvol_get_lvstores'), [])
        self.config = kept
        for entry in self.config['lvol_stores'] + self.config['lvol_volumes']:
            entry['create'] = False
        self.reload(['add device a', 'add device b', 'add device md0', 'make store s',
                     'make volume s/v', f'add namespace 1 to {NQN}'])
        self.check_data()

    def test_a_store_does_not_move_with_its_entry(self):
        self.add_store('a')
        self.start('--strict')
        self.write_data()
        kept = json.loads(json.dumps(self.config))
        self.config['lvol_stores'][0]['base_bdev'] = 'md0'
        self.drop('a')
        self.add_array('raid1', ['b', 'c'])
        errors = self.reload(['remove device a', 'add device md0'],
                             ['make store s', 'make volume s/v'])
        self.assertIn("'md0': there is no store of volumes on the device", errors[0])
        self.config = kept
        self.write_config()
        self.assertEqual(self.call('config_reload')['failed'], [])
        self.assertEqual(self.problems(), [])
        self.check_data()


if __name__ == '__main__':
    main()
