#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Logical volumes of a node: stores are found on their devices by themselves, arrays included;
namespaces name volumes in the file and by RPC and are there after a restart, a kill and a reload;
what a store is on does not go under it."""

import subprocess

from node_harness import NQN, XSAND, NodeTest, main

STORE = '01234567-89ab-4def-8011-223344556677'
VOLUME = '11234567-89ab-4def-8011-223344556677'
IMAGE = '21234567-89ab-4def-8011-223344556677'
CLUSTER = 64 << 10


class Lvol(NodeTest):
    def setUp(self):
        super().setUp()
        self.config['devices'] = [
            {'driver': 'file', 'name': name, 'size': '16MiB', 'filename': str(self.dir / name)}
            for name in 'abc']
        self.subsystem()['namespaces'] = []

    def make_store(self, device='a', name='s', uuid=STORE):
        self.call('bdev_lvol_create_lvstore', {'bdev_name': device, 'lvs_name': name,
                                               'cluster_sz': CLUSTER, 'uuid': uuid})

    def make_volume(self, name='v', store='s', uuid=VOLUME):
        self.call('bdev_lvol_create', {'lvs_name': store, 'lvol_name': name, 'size_in_mib': 4,
                                       'thin_provision': True, 'lvol_uuid': uuid})

    def stores(self):
        return {s['name']: s for s in self.call('bdev_lvol_get_lvstores')}

    def volumes(self):
        return {v['alias']: v for v in self.call('bdev_lvol_get_lvols')}

    def problems(self):
        return self.call('xsan_status')['problems']

    def namespaces(self):
        return self.shown_subsystem()['namespaces']

    def restart(self):
        self.stop()
        self.start()

    def test_by_rpc(self):
        self.start()
        self.make_store()
        self.make_volume()
        # As SPDK's clients do it: by the UUID that making it has given.
        self.call('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': VOLUME}})
        shown = self.namespaces()
        self.assertEqual((shown[0]['bdev_name'], shown[0]['uuid']), ('s/v', VOLUME))
        saved = self.call('save_config')
        self.assertEqual(saved['nvmf']['subsystems'][0]['namespaces'][0]['device'], 's/v')
        for stop in (self.stop, self.kill, self.stop):
            stop()
            self.start()
            self.assertEqual(self.problems(), [])
            self.assertEqual(self.namespaces(), shown)
            self.assertEqual(self.call('save_config'), saved)
        self.assertIn("'s/v' is used by namespace 1", str(self.refused(
            'nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 's/v'}})))
        self.assertIn('in use', str(self.refused('bdev_lvol_delete', {'name': 's/v'})))
        self.assertIn('in use', str(self.refused('bdev_lvol_detach_lvstore', {'lvs_name': 's'})))
        self.call('nvmf_subsystem_remove_ns', {'nqn': NQN, 'nsid': 1})
        self.call('bdev_lvol_delete', {'name': VOLUME})
        self.restart()
        self.assertEqual(self.namespaces(), [])
        self.assertEqual(self.volumes(), {})
        self.assertEqual(self.problems(), [])

    def test_stopped_cleanly_and_recovered(self):
        self.start()
        self.make_store()
        self.make_volume()
        self.call('bdev_lvol_snapshot', {'lvol_name': 's/v', 'snapshot_name': 'one'})
        for stop, is_clean in ((self.stop, True), (self.kill, False)):
            if not is_clean:
                # The first change says on disk that the store is in use.
                self.call('bdev_lvol_snapshot', {'lvol_name': 's/v', 'snapshot_name': 'two'})
            stop()
            super_block = (self.dir / 'a').read_bytes()[:4096]
            self.assertEqual(super_block[:8], b'SPDKBLOB')
            self.assertEqual(super_block[16:20] != bytes(4), is_clean)
            self.start()
            self.assertEqual(set(self.volumes()),
                             {'s/v', 's/one'} | (set() if is_clean else {'s/two'}))

    def test_of_the_file_on_an_array(self):
        self.config['devices'].insert(0, {'driver': 'raid', 'name': 'md0', 'level': 'raid5',
                                          'members': ['a', 'b', 'c'], 'chunk_size': '64KiB',
                                          'assume_clean': True})
        self.start()
        self.make_store('md0')
        self.make_volume()
        self.subsystem()['namespaces'] = [{'nsid': 3, 'device': 's/v'}]
        self.write_config()
        self.assertEqual(self.call('config_reload')['failed'], [])
        self.assertEqual([(n['nsid'], n['bdev_name']) for n in self.namespaces()], [(3, 's/v')])
        for stop in (self.stop, self.kill):
            stop()
            self.start('--strict')
            self.assertEqual(self.problems(), [])
            self.assertEqual(self.namespaces()[0]['uuid'], VOLUME)
        # A member that carries the array carries no store of its own.
        self.assertEqual(self.stores()['s']['base_bdev'], 'md0')
        self.stop()
        self.assertNotIn('still in use', self.log_text())

    def test_clones_of_a_device(self):
        # Whether their device comes before that of the store or behind it.
        image = self.device('c')
        image['uuid'] = IMAGE
        self.start()
        self.make_store()
        self.call('bdev_lvol_clone_bdev', {'bdev': 'c', 'lvs_name': 's', 'clone_name': 'v',
                                           'uuid': VOLUME})
        self.call('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 's/v'}})
        for place, stop in ((0, self.stop), (0, self.kill), (2, self.kill), (2, self.stop)):
            self.config['devices'].remove(image)
            self.config['devices'].insert(place, image)
            self.write_config()
            stop()
            self.start('--strict')
            self.assertEqual(self.problems(), [])
            self.assertEqual(self.namespaces()[0]['uuid'], VOLUME)
            self.assertFalse(self.volumes()['s/v']['is_degraded'])
        # Without the device: the store is there, and the volume says what it lacks.
        self.config['devices'].remove(image)
        self.write_config()
        self.restart()
        self.assertTrue(self.volumes()['s/v']['is_degraded'])
        self.assertIn(IMAGE, self.volumes()['s/v']['reason'])
        self.assertEqual(len(self.problems()), 1)
        self.config['devices'].append(image)
        self.write_config()
        self.assertEqual(self.call('config_reload')['failed'], [])
        self.assertFalse(self.volumes()['s/v']['is_degraded'])
        self.assertEqual(self.problems(), [])
        self.assertEqual(self.namespaces()[0]['uuid'], VOLUME)
        self.stop()
        self.assertNotIn('still in use', self.log_text())
        self.assertNotEqual((self.dir / 'a').read_bytes()[16:20], bytes(4)) # clean

    def test_a_volume_that_is_not_there(self):
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 's/v'}]
        self.start()
        self.assertEqual(len(self.problems()), 1)
        self.assertIn("add namespace 1", self.problems()[0])
        self.make_store()
        self.make_volume()
        self.assertEqual(self.call('config_reload')['failed'], [])
        self.assertEqual(self.problems(), [])
        self.assertEqual(len(self.namespaces()), 1)

    def test_what_goes_takes_its_namespaces_along(self):
        self.start()
        self.make_store()
        self.make_volume()
        self.call('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 's/v'}})
        self.assertIn("device 'a' has the store of logical volumes 's'; detach that first",
                      str(self.refused('bdev_delete', {'name': 'a'})))
        self.assertIn("'s/v' is a logical volume; bdev_lvol_delete",
                      str(self.refused('bdev_delete', {'name': 's/v'})))
        self.assertIn("'s/v' is a logical volume",
                      str(self.refused('bdev_resize', {'name': 's/v', 'size': '8MiB'})))
        # An edit of the file takes the device away, as it is wanted.
        device = self.device('a')
        self.config['devices'].remove(device)
        self.write_config()
        self.call('config_reload')
        self.assertEqual(self.stores(), {})
        self.assertEqual(self.namespaces(), [])
        self.config['devices'].append(device)
        self.write_config()
        self.assertEqual(self.call('config_reload')['failed'], [])
        self.assertEqual(self.problems(), [])
        self.assertEqual([n['bdev_name'] for n in self.namespaces()], ['s/v'])

    def test_two_stores_of_one_name(self):
        self.start()
        self.make_store()
        self.call('bdev_lvol_detach_lvstore', {'lvs_name': 's'})
        self.make_store('b', uuid=VOLUME)
        self.refused('bdev_examine', {'name': 'a'})
        refused = self.call('bdev_lvol_get_refused_lvstores')
        self.assertEqual([r['base_bdev'] for r in refused], ['a'])
        self.assertIn("'s'", refused[0]['reason'])
        self.call('bdev_lvol_rename_lvstore', {'old_name': 's', 'new_name': 't'})
        self.call('bdev_examine', {'name': 'a'})
        self.assertEqual({n: s['base_bdev'] for n, s in self.stores().items()},
                         {'s': 'a', 't': 'b'})
        self.assertEqual(self.call('bdev_lvol_get_refused_lvstores'), [])

    def check(self, text):
        """What xsand --check says of the configuration."""
        self.write_config()
        result = subprocess.run([XSAND, '--check', '--config', self.config_path],
                                capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)
        self.assertIn(text, result.stderr)

    def test_what_is_wrong_is_told_by_its_place(self):
        namespaces = self.subsystem()['namespaces']
        namespaces += [{'nsid': 1, 'device': 's/v'}, {'nsid': 2, 'device': 's/v'}]
        self.check("namespaces[1].device: 's/v' is used by namespace 1 of")
        for name in ('sv', '/v', 's/', 's/v/w'):
            namespaces[1]['device'] = name
            self.check(f"namespaces[1].device: there is no device '{name}'; name one of the list "
                       '"devices", or a logical volume as STORE/VOLUME')

    def test_an_edit_of_the_file_wins_a_volume(self):
        self.config['nvmf']['subsystems'].append({'nqn': NQN + '2', 'allow_any_host': True})
        self.start()
        self.make_store()
        self.make_volume()
        self.call('nvmf_subsystem_add_ns', {'nqn': NQN, 'namespace': {'bdev_name': 's/v'}})
        self.config['nvmf']['subsystems'][1]['namespaces'] = [{'nsid': 1, 'device': 's/v'}]
        self.write_config()
        report = self.call('config_reload')
        self.assertEqual(report['failed'], [])
        self.assertTrue(any('uses its device elsewhere' in n for n in report['notes']), report)
        self.assertEqual(self.namespaces(), [])


if __name__ == '__main__':
    main()
