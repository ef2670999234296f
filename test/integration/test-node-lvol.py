#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Logical volumes of a node: stores are found on their devices by themselves, arrays included;
namespaces name volumes in the file and by RPC and are there after a restart, a kill and a reload;
stores and volumes that the file names are made once, found, compared and changed;
what a store is on does not go under it."""

import subprocess

from node_harness import NQN, XSAND, NodeTest, main

STORE = '01234567-89ab-4def-8011-223344556677'
VOLUME = '11234567-89ab-4def-8011-223344556677'
IMAGE = '21234567-89ab-4def-8011-223344556677'
CLUSTER = 64 << 10


class LvolTest(NodeTest):
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

    def check(self, text):
        """What xsand --check says of the configuration."""
        self.write_config()
        result = subprocess.run([XSAND, '--check', '--config', self.config_path],
                                capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)
        self.assertIn(text, result.stderr)

    def restart(self):
        self.stop()
        self.start()


class Lvol(LvolTest):
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


class InTheFile(LvolTest):
    """Stores and volumes that the configuration names."""

    def setUp(self):
        super().setUp()
        self.config['lvol_stores'] = [{'name': 's', 'base_bdev': 'a', 'cluster_size': '64KiB',
                                       'space_wait_ms': 1500}]
        self.volume = {'name': 'v', 'lvs_name': 's', 'size': '4MiB', 'thin_provision': True}
        self.config['lvol_volumes'] = [self.volume]
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 's/v'}]

    def reload(self):
        self.write_config()
        return self.call('config_reload')

    def failed(self, report):
        return [(f['step'], f['error']) for f in report['failed']]

    def test_made_once_and_found_from_then_on(self):
        self.start('--strict')
        store, volume = self.stores()['s'], self.volumes()['s/v']
        self.assertEqual((store['cluster_size'], store['space_wait_ms']), (CLUSTER, 1500))
        self.assertEqual((volume['size'], volume['is_thin_provisioned']), (4 << 20, True))
        self.assertEqual([n['bdev_name'] for n in self.namespaces()], ['s/v'])
        saved = self.call('save_config')
        self.assertEqual(saved['lvol_volumes'][0]['uuid'], volume['uuid'])
        report = self.reload()
        self.assertEqual((report['done'], report['failed'], report['notes']), ([], [], []))
        # What has been changed at run time stays as long as nobody edits its entry.
        self.call('bdev_lvol_set_lvstore_options', {'lvs_name': 's', 'space_wait_ms': 7})
        self.call('bdev_lvol_resize', {'name': 's/v', 'size': '6MiB'})
        for stop in (self.stop, self.kill):
            stop()
            self.start('--strict')
            self.assertEqual(self.volumes()['s/v']['uuid'], volume['uuid'])
            self.assertEqual(self.volumes()['s/v']['size'], 6 << 20)
            self.assertEqual(self.stores()['s']['space_wait_ms'], 7)
            self.assertEqual(self.call('save_config'), saved)
        # So does what the node itself wrote as a file.
        self.stop()
        self.config = saved
        self.start('--strict')
        self.assertEqual(self.volumes()['s/v']['size'], 6 << 20)

    def test_edits(self):
        self.start()
        self.volume['size'] = '8MiB'
        self.config['lvol_stores'][0]['low_percent'] = 50
        self.config['lvol_stores'][0]['high_percent'] = 60
        self.config['lvol_volumes'].append({'name': 'w', 'lvs_name': 's', 'size_mb': 1})
        report = self.reload()
        self.assertEqual((report['failed'], sorted(report['done'])),
                         ([], ['make store s', 'make volume s/v', 'make volume s/w']))
        self.assertEqual(self.volumes()['s/v']['size'], 8 << 20)
        self.assertEqual(self.stores()['s']['low_percent'], 50)
        self.volume['size'] = '2MiB'
        ((step, error),) = self.failed(self.reload())
        self.assertEqual(step, 'make volume s/v')
        self.assertIn('with 8388608 bytes; a document makes no volume smaller', error)
        self.assertIn('make volume s/v', self.problems()[0])
        # What the file names no more stays where it is.
        self.config['lvol_volumes'] = []
        self.config['lvol_stores'] = []
        self.assertEqual(self.reload()['failed'], [])
        self.assertEqual(self.problems(), [])
        self.restart()
        self.assertEqual(set(self.volumes()), {'s/v', 's/w'})
        self.assertEqual(len(self.namespaces()), 1)

    def test_what_was_there_is_not_made_anew(self):
        self.start()
        self.call('nvmf_subsystem_remove_ns', {'nqn': NQN, 'nsid': 1})
        self.call('bdev_lvol_delete', {'name': 's/v'})
        ((step, error),) = self.failed(self.reload())
        self.assertEqual(step, 'make volume s/v')
        self.assertIn('not to be made', error)
        self.stop()
        # Nor is a store whose disk has been replaced by a blank one.
        (self.dir / 'a').write_bytes(bytes(16 << 20))
        self.start()
        self.assertEqual(self.stores(), {})
        self.assertTrue(any('make store s' in p for p in self.problems()), self.problems())
        self.assertEqual((self.dir / 'a').read_bytes()[:4096], bytes(4096))
        # Unless the file says so.
        self.config['lvol_stores'][0]['create'] = True
        self.volume['create'] = True
        self.assertEqual(self.failed(self.reload()), [])
        self.assertEqual(set(self.volumes()), {'s/v'})

    def test_what_holds_something_is_left_alone(self):
        disk = b'\0' * 1080 + b'\x53\xef' + b'\0' * ((16 << 20) - 1082)
        (self.dir / 'a').write_bytes(disk)
        self.config['lvol_stores'].append({'name': 't', 'base_bdev': 'b'})
        self.start()
        self.assertEqual(set(self.stores()), {'t'})
        self.assertTrue(any("make store s: making store 's': " in p and "'a'" in p
                            for p in self.problems()), self.problems())
        self.assertEqual((self.dir / 'a').read_bytes(), disk)
        self.assertEqual(self.namespaces(), [])

    def test_one_that_is_there_is_compared(self):
        made = self.config.pop('lvol_stores'), self.config.pop('lvol_volumes')
        self.subsystem()['namespaces'] = []
        self.start()
        self.make_store()
        self.make_volume()
        self.config['lvol_stores'], self.config['lvol_volumes'] = made
        self.volume['uuid'] = STORE
        self.config['lvol_stores'][0]['cluster_size'] = '1MiB'
        failed = dict(self.failed(self.reload()))
        self.assertIn('with clusters of 65536 bytes', failed['make store s'])
        self.assertIn(f'with the UUID {VOLUME}', failed['make volume s/v'])
        self.volume['uuid'] = VOLUME
        self.config['lvol_stores'][0]['cluster_size'] = CLUSTER
        self.config['lvol_stores'][0]['uuid'] = STORE
        self.assertEqual(self.failed(self.reload()), [])
        self.assertEqual(self.stores()['s']['space_wait_ms'], 1500)

    def test_a_store_on_a_volume_on_an_array(self):
        self.config['devices'].insert(0, {'driver': 'raid', 'name': 'md0', 'level': 'raid5',
                                          'members': ['a', 'b', 'c'], 'chunk_size': '64KiB',
                                          'assume_clean': True})
        self.config['lvol_stores'] = [
            {'name': 'inner', 'base_bdev': 's/v', 'cluster_size': '64KiB'},
            {'name': 's', 'base_bdev': 'md0', 'cluster_size': '64KiB'}]
        self.volume['size'] = '8MiB'
        self.config['lvol_volumes'].insert(0, {'name': 'x', 'lvs_name': 'inner', 'size_mb': 1})
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'inner/x'}]
        self.start('--strict')
        for stop in (self.stop, self.kill):
            stop()
            self.start('--strict')
            self.assertEqual(set(self.volumes()), {'s/v', 'inner/x'})
            self.assertEqual([n['bdev_name'] for n in self.namespaces()], ['inner/x'])

    def test_what_is_wrong_is_told_by_its_place(self):
        self.subsystem()['namespaces'] = []
        store = self.config['lvol_stores'][0]
        store['base_bdev'] = 'x'
        self.check("lvol_stores[0].base_bdev: there is no device 'x'; name one of the list")
        store['base_bdev'] = 'a'
        store['low_percent'] = 5
        self.check('lvol_stores[0].low_percent: low_percent and high_percent go together')
        del store['low_percent']
        self.subsystem()['namespaces'] = [{'nsid': 1, 'device': 'a'}]
        self.check("namespaces[0].device: 'a' is used by lvol_stores[0] already")


if __name__ == '__main__':
    main()
