/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libxbdev: configuration documents. A document is a JSON file that says which devices there are
 * and what stands on what; part of libxbdev's public interface.
 *
 *	{
 *	  "base_devices": [
 *	    {"method": "aio", "params": {"name": "aio0", "filename": "/srv/a", "size": "10GiB"}},
 *	    {"method": "nvmf", "params": {"name": "nvmf0", "addr": "192.0.2.1", "port": 4420,
 *	                                  "nqn": "nqn.2016-06.io.spdk:cnode1"}}
 *	  ],
 *	  "raid_devices": [
 *	    {"method": "raid1", "params": {"name": "md0", "base_bdevs": ["aio0", "nvmf0"]}}
 *	  ],
 *	  "lvol_stores": [{"name": "lvs0", "base_bdev": "md0", "cluster_size": 4194304}],
 *	  "lvol_volumes": [{"name": "data", "lvs_name": "lvs0", "size_mb": 1024,
 *	                    "thin_provision": true}],
 *	  "snapshots": [{"source_vol": "lvs0/data", "name": "snap"}],
 *	  "clones": [{"source_snap": "lvs0/snap", "name": "copy"}]
 *	}
 *
 * The method of a base device is a driver: nvme, nvmf, rbd, aio (or file), malloc, null, error,
 * delay; its parameters are those of xbdev_config_device(). Arrays are linear, raid0, raid1, raid4,
 * raid5, raid6 or raid10; besides name and members they may have strip_size_kb, layout (mdadm's
 * name), uuid, bitmap_chunk_kb, consistency_policy (resync, ppl, journal), stripe_cache_size,
 * raid_disks (so many of base_bdevs are members, the others spares) and assume_clean. An array is
 * assembled when its members carry a superblock, and made when they are blank; with a uuid, members
 * that do not carry it are left out as long as the others are enough. What is in a store is opened
 * as STORE/NAME. A device is named by its name or its UUID, may be of any section and in any order,
 * and has one user: an entry that uses what another uses already is refused. A base may also be a
 * device that the program has made by itself. Keys that begin with "_" are comments. At most 16
 * MiB, 4096 entries, 32 devices on each other.
 *
 * Stores and what is in them lie on their devices: what is there is compared and stays, what is
 * missing is made, a volume is made larger but never smaller; what a document lacks stays where it
 * is, and goes with its device. A clone may be of a device outside of its store: {"source_bdev":
 * "aio0", "lvs_name": "lvs0", "name": "copy"}. It knows that by its UUID, which the device's entry
 * should say.
 *
 * What this version cannot make (a method without a driver) is refused by name with -EOPNOTSUPP,
 * never passed over.
 *
 * Every call checks the whole document before it touches anything, makes things in the order in
 * which they need each other, and takes back what it has done when something fails: then all is as
 * it was. A file that has grown stays so (what was written to it since must not be lost), and
 * xbdev_last_error() names what could not be taken back. No call ever writes over what is on a disk
 * or in a file; arrays, stores and volumes are created on blank devices only.
 *
 * Errors have the place: "FILE:LINE:COLUMN: base_devices[0].params.size: \"x\" is not accepted; it
 * takes …". Besides what opening the devices gives:
 *
 *	-EINVAL      the document is wrong
 *	-EBUSY       used twice; or in use, and so it cannot change or go
 *	-EOPNOTSUPP  this version cannot make it; or it is there and cannot be changed so
 *	-EEXIST      something else has the name or UUID
 *	-ENOENT, -EACCES, -EISDIR, -EFBIG  the document cannot be read
 *	-ENOMEM, -ESHUTDOWN (the library does not run), -EDEADLK (in a completion callback)
 *
 * Any thread; they block, and take turns with each other.
 */
#ifndef XBDEV_CONFIG_H
#define XBDEV_CONFIG_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Brings what there is to what the document says. What is on the media is loaded; what is missing
 * is created: a file of an entry with a "size", metadata on blank devices. What is there and
 * differs is changed if it can be changed while it runs (a size, the latencies of a delay device,
 * the spares and failed members of an array), or taken down and made again if nobody has it or
 * anything on it open, else -EBUSY.
 *
 * There is one configuration: what an earlier call of these functions made and this document lacks
 * is removed, -EBUSY while it is open. What the program made by itself (xbdev_config_aio() and the
 * like) is never removed or made again: an entry of that name is fine as long as what it says is
 * so or can be changed to be so, else -EEXIST. An entry with the same words as in the document
 * before has not been touched, so what has been changed since by other means stays. A device in
 * memory goes last, when nothing can fail any more, and is never made again in place.
 */
int xbdev_parse_config(const char *json_file);

/*
 * Writes a document of what there is now, whoever made it, that would make the same again, with
 * sizes and UUIDs as they are. Parsing it changes nothing. The file is replaced as a whole, by way
 * of one beside it: after any failure or crash it is the old one or the new one. A symbolic link is
 * followed; an existing file keeps its mode, a new one has 0600. -EINVAL: the path is something
 * else than a file; what writing gives (-ENOSPC, -EROFS …).
 */
int xbdev_save_config(const char *json_file);

/*
 * Makes what the document says by loading only: nothing on any media is created or changed, no file
 * is made or made larger. A file that is missing is -ENOENT, one that is smaller than its entry's
 * "size" -EINVAL. Devices without media of their own (null, malloc) are made. What is there already
 * may stay if it is the same, else -EEXIST. Nothing is removed.
 */
int xbdev_open_from_json(const char *json_file);

/*
 * Makes what the document says by creating only: none of its names may be there yet (-EEXIST).
 * Base devices are attached, files of entries with a "size" made or made larger, their content left
 * as it is; everything above is created, on blank devices. Nothing is removed.
 */
int xbdev_create_from_json(const char *json_file);

#ifdef __cplusplus
}
#endif

#endif
