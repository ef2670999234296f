#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A reader of lvol stores for the tests, independent of lib/xbdev/lvol: written from the description
of SPDK's format alone, with the standard library only, and as strict as SPDK. It changes nothing; what
recovery would do is done in memory.

  lvol_reader.py [--no-content] IMAGE [--esnap FILE]   a line per volume:
      name uuid parent|- size allocated thin read-only sha256|-
      and first: store name, uuid, free clusters
  lvol_reader.py --manifest DIR                         compares all images of a directory

What SPDK refuses ends with status 1 and "refused: ERRNO why" on standard output.
"""
import argparse
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile

PAGE = 4096
NONE32 = 0xFFFFFFFF
ID_BASE = 1 << 32
THIN, TABLE, ESNAP = 1, 4, 8


class Refused(Exception):
    """SPDK would not load the store."""

    def __init__(self, code, why):
        super().__init__(f"{code} {why}")
        self.code = code


class Unusable(Exception):
    """SPDK would not open the blob."""


class Rotten(Unusable):
    """An extent page that recovery stumbles over."""


def crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


TABLE256 = crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE256[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def is_whole(page):
    return any(page) and crc32c(page[:4092]) == struct.unpack_from("<I", page, 4092)[0]


def descriptors(page):
    at = 16
    while at + 5 <= 4088:
        kind, length = struct.unpack_from("<BI", page, at)
        if kind == 0 and length == 0:
            return
        if at + 5 + length > 4088:
            raise Unusable("descriptor beyond the page")
        if kind != 0:
            yield kind, page[at + 5 : at + 5 + length]
        at += 5 + length


class Blob:
    def __init__(self, store, root):
        self.root, self.id = root, ID_BASE + root
        self.flags = [0, 0, 0]
        self.xattrs, self.internal = {}, {}
        self.rle, self.table, self.nr_clusters = None, None, None
        self.pages = []
        self.unknown = False
        self.lost_tail = False
        number, sequence = root, 0
        while number != NONE32:
            if number >= store.md_len or number in self.pages:
                raise Unusable("chain leads astray")
            page = store.page(number)
            if not is_whole(page):
                raise Unusable("page checksum")
            page_id, seq, _ = struct.unpack_from("<QII", page)
            if page_id != self.id or seq != sequence:
                raise Unusable("chain")
            self.pages.append(number)
            for kind, body in descriptors(page):
                self.take(kind, body)
            number = struct.unpack_from("<I", page, 4088)[0]
            sequence += 1

    def take(self, kind, body):
        if kind == 3:
            if len(body) != 24:
                raise Unusable("flags")
            self.flags = list(struct.unpack("<QQQ", body))
        elif kind in (2, 4):
            name_len, value_len = struct.unpack_from("<HH", body)
            if 4 + name_len + value_len != len(body):
                raise Unusable("attribute")
            name = body[4 : 4 + name_len].decode("latin-1")
            (self.xattrs if kind == 2 else self.internal)[name] = body[4 + name_len :]
        elif kind == 1:
            self.rle = self.rle or []
            if len(body) % 8:
                raise Unusable("RLE")
            self.rle += list(struct.iter_unpack("<II", body))
        elif kind == 5:
            self.table = self.table or []
            self.nr_clusters = struct.unpack_from("<Q", body)[0]
            if (len(body) - 8) % 8:
                raise Unusable("table")
            self.table += list(struct.iter_unpack("<II", body[8:]))
        else:
            self.unknown = True

    def load_map(self, store):
        """The clusters, by index in the volume; and the number of them all."""
        self.map, self.extent_pages, count = {}, [], 0
        if self.rle is not None and self.table is not None:
            raise Unusable("two kinds of extents")
        for first, run in self.rle or []:
            for i in range(run if first else 0):
                self.map[count + i] = first + i
            count += run
        for number, run in self.table or []:
            if number == 0:
                count = min(count + 512 * run, self.nr_clusters)
                continue
            page = store.page(number) if number < store.md_len else bytes(PAGE)
            seq, _ = struct.unpack_from("<II", page, 8)
            found = list(descriptors(page)) if is_whole(page) else []
            if len(found) != 1 or found[0][0] != 6 or seq != 0 or len(found[0][1]) <= 4:
                raise Rotten("extent page")
            numbers = struct.unpack(f"<{len(found[0][1]) // 4}I", found[0][1])
            if numbers[0] != count:
                raise Unusable("start_cluster")
            for i, cluster in enumerate(numbers[1:]):
                if cluster:
                    self.map[count + i] = cluster
            count += len(numbers) - 1
            self.extent_pages.append(number)
        self.count = count
        if self.flags[0] & ~15:
            raise Unusable("unknown flags")
        if not self.flags[0] & THIN and len(self.map) != count:
            raise Unusable("unallocated cluster in a thick blob")

    def link(self, name):
        value = self.internal.get(name)
        return struct.unpack("<Q", value)[0] if value else None

    @property
    def parent(self):
        if self.flags[0] & ESNAP or not self.flags[0] & THIN:
            return None
        return self.link("SNAP")

    @property
    def esnap(self):
        return self.internal.get("EXTSNAP") if self.flags[0] & ESNAP else None

    def text(self, name):
        return self.xattrs[name].split(b"\0")[0].decode()


class Store:
    def __init__(self, path):
        self.file = open(path, "rb")
        self.dev_size = os.path.getsize(path)
        self.super()
        if self.clean and self.blobid_len:
            self.load_clean()
        else:
            self.load_unclean()
        self.open_all()

    def at(self, offset, length):
        self.file.seek(offset)
        data = self.file.read(length)
        return data + bytes(length - len(data))

    def page(self, number):
        return self.at((self.md_start + number) * self.page_size, PAGE)

    def super(self):
        raw = self.at(0, PAGE)
        f = struct.unpack_from("<8sIIIQIIIIIII16sIIQII", raw)
        if f[0] != b"SPDKBLOB" or not 1 <= f[1] <= 3:
            raise Refused("EILSEQ", "signature or version")
        if crc32c(raw[:4092]) != struct.unpack_from("<I", raw, 4092)[0]:
            raise Refused("EILSEQ", "super block checksum")
        if f[15] > self.dev_size:
            raise Refused("EILSEQ", "larger than the device")
        if f[12].rstrip(b"\0") != b"LVOLSTORE":
            raise Refused("ENXIO", "store type")
        self.clean, self.super_blob, self.cluster_size = f[3] != 0, f[4], f[5]
        self.mask_pages, self.mask_clusters, self.mask_blobs = f[6], f[8], f[13]
        self.md_start, self.md_len, self.blobid_len = f[10], f[11], f[14]
        self.page_size = f[17] or 4096
        size = f[15] or self.dev_size
        self.total = size // self.cluster_size
        per_cluster = self.cluster_size // self.page_size
        self.first = -(-(self.md_start + self.md_len) // per_cluster)

    def mask(self, start, kind, count):
        raw = self.at(start * self.page_size, 5 + (count + 7) // 8)
        got, length = struct.unpack_from("<BI", raw)
        if (got, length) != (kind, count):
            raise Refused("mask", f"header {got} {length}, not {kind} {count}")
        return {i for i in range(count) if raw[5 + i // 8] >> i % 8 & 1}

    def load_clean(self):
        self.used_pages = self.mask(self.mask_pages, 0, self.md_len)
        self.used = self.mask(self.mask_clusters, 1, self.total)
        self.blobs, self.bad = {}, set()
        for root in sorted(self.mask(self.mask_blobs, 2, self.md_len)):
            try:
                blob = Blob(self, root)
                blob.load_map(self)
                self.blobs[blob.id] = blob
            except Unusable:
                self.bad.add(ID_BASE + root)

    def load_unclean(self):
        self.used_pages, self.used = set(), set(range(self.first))
        self.blobs, self.bad = {}, set()
        for root in range(self.md_len):
            page = self.page(root)
            page_id, seq = struct.unpack_from("<QI", page)
            if root in self.used_pages or seq != 0 or page_id != ID_BASE + root:
                continue
            if not is_whole(page):
                continue
            try:
                blob = Blob(self, root)
                if blob.unknown:
                    raise Refused("EILSEQ", "unknown descriptor")
                blob.load_map(self)
            except Rotten as why:
                raise Refused("EILSEQ", str(why)) from why
            except Unusable:
                self.bad.add(ID_BASE + root)
                continue
            self.used_pages |= set(blob.pages) | set(blob.extent_pages)
            self.used |= set(blob.map.values())
            self.blobs[blob.id] = blob

    def settle(self):
        """Snapshots that were being taken or deleted."""
        for blob in list(self.blobs.values()):
            other_id = blob.link("SNAPTMP") or blob.link("SNAPRM")
            other = self.blobs.get(other_id)
            if other is None:
                continue
            if other.parent == blob.id:
                blob.internal.pop("SNAPTMP", None)
                blob.internal.pop("SNAPRM", None)
                blob.flags[1] |= 1
                # A clone never shares a cluster with its snapshot otherwise.
                for index, cluster in list(other.map.items()):
                    if blob.map.get(index) == cluster:
                        del other.map[index]
            else:
                del self.blobs[blob.id]  # what it alone has stays used until the next load

    def open_all(self):
        self.settle()
        owner = self.blobs.pop(self.super_blob, None)
        if owner is None:
            raise Refused("ENODEV", "super blob")
        if "name" not in owner.xattrs or "uuid" not in owner.xattrs:
            raise Refused("EINVAL", "super blob's attributes")
        self.name, self.uuid = owner.text("name"), owner.text("uuid")
        seen = {}
        for blob in self.blobs.values():
            if "name" not in blob.xattrs or len(blob.xattrs["name"]) > 64:
                raise Refused("EINVAL", "a volume's name")
            for cluster in blob.map.values():
                if not self.first <= cluster < self.total or cluster not in self.used:
                    self.bad.add(blob.id)
                elif seen.setdefault(cluster, blob.id) != blob.id:
                    raise Refused("twice", f"cluster {cluster} is used twice")
        for blob in list(self.blobs.values()):
            up, steps = blob, 0
            while up is not None and steps <= len(self.blobs):
                if up.id in self.bad or (up.parent and up.parent not in self.blobs):
                    self.bad.add(blob.id)
                    break
                up, steps = self.blobs.get(up.parent) if up.parent else None, steps + 1
        self.volumes = {b.text("name"): b for b in self.blobs.values() if b.id not in self.bad}

    def cluster(self, blob, index, esnap):
        while blob is not None and index < blob.count:
            if index in blob.map:
                return self.at(blob.map[index] * self.cluster_size, self.cluster_size)
            if blob.esnap:
                esnap.seek(index * self.cluster_size)
                return esnap.read(self.cluster_size)
            blob = self.blobs.get(blob.parent)
        return None

    def sha256(self, blob, esnap):
        total, zeroes = hashlib.sha256(), bytes(self.cluster_size)
        for index in range(blob.count):
            total.update(self.cluster(blob, index, esnap) or zeroes)
        return total.hexdigest()

    def line(self, name, esnap, content):
        blob = self.volumes[name]
        parent = self.blobs[blob.parent].text("name") if blob.parent else "-"
        return " ".join(
            (
                name,
                blob.text("uuid") if "uuid" in blob.xattrs else "-",
                parent,
                str(blob.count * self.cluster_size),
                str(len(blob.map)),
                str(blob.flags[0] & THIN),
                str(int(blob.flags[1] != 0)),
                self.sha256(blob, esnap) if content else "-",
            )
        )


def compare(store, image, esnap):
    """What differs from the manifest."""
    wrong = []
    lvs = image["lvs"]
    if (store.name, store.uuid) != (lvs["name"], lvs["uuid"]):
        wrong.append(f"store {store.name} {store.uuid}")
    if store.total - len(store.used) != lvs["free_clusters"]:
        wrong.append(f"{store.total - len(store.used)} free clusters")
    wanted = {v["name"] for v in image["lvols"]}
    if wanted != set(store.volumes):
        wrong.append(f"volumes {sorted(store.volumes)}")
    for volume in image["lvols"]:
        if volume["name"] not in store.volumes:
            continue
        want = " ".join(
            (
                volume["name"],
                volume["uuid"],
                volume["clone_of"] or "-",
                str(volume["size"]),
                str(volume["allocated_clusters"]),
                str(int(volume["thin"])),
                str(int(volume["read_only"])),
                volume["sha256"],
            )
        )
        got = store.line(volume["name"], esnap, True)
        if got != want:
            wrong.append(f"'{got}', not '{want}'")
    return wrong


def unpack(directory, name, to):
    with open(to, "wb") as out:
        subprocess.run(["zstd", "-dcq", os.path.join(directory, name)], stdout=out, check=True)


def check_manifest(directory):
    with open(os.path.join(directory, "manifest.json"), encoding="utf-8") as f:
        images = json.load(f)["images"]
    nr_wrong = 0
    with tempfile.TemporaryDirectory(dir=".") as work:
        path, esnap = os.path.join(work, "image"), None
        for image in images:
            unpack(directory, image["file"], path)
            if "external_snapshot" in image:
                base = os.path.join(work, "base")
                unpack(directory, image["external_snapshot"]["file"], base)
                esnap = open(base, "rb")
            try:
                wrong = compare(Store(path), image, esnap)
                if image["expect"] != "opens":
                    wrong = ["it opens"]
            except Refused as why:
                wrong = [] if image.get("errno") == why.code else [f"refused: {why}"]
            print(image["name"], "; ".join(wrong) if wrong else "ok", flush=True)
            nr_wrong += len(wrong)
    print(len(images), "images,", nr_wrong, "wrong")
    return 1 if nr_wrong or len(images) < 30 else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--manifest")
    parser.add_argument("--no-content", action="store_true")
    parser.add_argument("--esnap")
    parser.add_argument("image", nargs="?")
    args = parser.parse_args()
    if args.manifest:
        return check_manifest(args.manifest)
    esnap = open(args.esnap, "rb") if args.esnap else None
    try:
        store = Store(args.image)
    except Refused as why:
        print("refused:", why)
        return 1
    print(store.name, store.uuid, store.total - len(store.used))
    for name in sorted(store.volumes):
        print(store.line(name, esnap, not args.no_content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
