#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Judges what a registry's discovery controller shows by what its REST shows; the bytes are read by the
conformance suite's own decoder, which knows nothing of the registry's code. Log pages come from the guest
in base64. Prints what it found, and ends with a sentence and exit code 1 when the two differ.

  registry_judge.py log REST-PORT LSP BASE64 ADDRESS PORT REFERRALS    page 70h as a host has read it
  registry_judge.py hosts-log REST-PORT LSP BASE64                     page 71h as a host has read it
  registry_judge.py hosts REST-PORT DISCOVERY-PORT HOSTNQN             page 71h as a discovery controller reads it
  registry_judge.py dim EID NQN ADDRESS PORT                           the data of a registration, in base64
REFERRALS is ADDRESS:PORT,... or -."""

import base64
import json
import pathlib
import struct
import sys
import urllib.request
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'conformance'))
from host import Controller  # noqa: E402
from nvmetcp import DISCOVERY_NQN, DiscoveryEntry, le, text  # noqa: E402

HEADER, ENTRY = 1024, 1024
HOSTS_LOG = 0x71
EXTENDED = 1  # of LSP: extended entries; the others are for discovery controllers
ALL_HOSTS = 1
IS_DDC = 0x10  # of CATTR
HOST_ID, LABEL = 1, 2  # attributes of extended entries
NOT_CONNECTED = 4
REFERRAL, SUBSYSTEM, CURRENT = 1, 2, 3
TRTYPES = {'rdma': 1, 'fc': 2, 'tcp': 3}


def equal(got, wanted, what):
    if got != wanted:
        sys.exit(f'{what}: got {got}, wanted {wanted}')


def rest(port, path):
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/api/v1/{path}', timeout=10) as answer:
        return json.load(answer)


def attributes(data, at):
    """Those behind the entry at `at`, {type: value}, and the length of all of it."""
    length, count = struct.unpack_from('<IH', data, at + ENTRY)
    found, offset = {}, at + ENTRY + 8
    for _ in range(count):
        kind, size = struct.unpack_from('<HH', data, offset)
        if size % 4 or offset + 4 + size > at + length:
            sys.exit(f'attribute {kind} of {size} bytes at {offset} of an entry that ends at {at + length}')
        found[kind] = data[offset + 4:offset + 4 + size]
        offset += 4 + size
    return found, length


def entries_of(data, is_extended):
    """All of a log: each entry and its attributes."""
    found, at = [], HEADER
    for _ in range(le(data, 8, 8)):
        extra, length = attributes(data, at) if is_extended else ({}, ENTRY)
        found.append((DiscoveryEntry(data[at:at + ENTRY]), extra))
        at += length
    equal(at, len(data), 'the end of the last entry')
    return found


def head(data, lsp, options):
    """GENCTR of a log whose header must tell which of the options asked for were taken."""
    equal(le(data, 16, 2), 0, 'RECFMT')
    equal(data[18], lsp & options, 'DLPF')
    return le(data, 0, 8)


def judge_log(port, lsp, page, address, own_port, referrals):
    data, lsp = base64.b64decode(page), int(lsp, 0)
    # It is no host's to see what its zones hide (ALLSUBE), and a port-local log (PLEO) is for controllers
    # that belong to one port.
    genctr = head(data, lsp, EXTENDED)
    equal(le(data, 20, 4), len(data) if lsp & EXTENDED else 0, 'TDLPL')
    entries = entries_of(data, lsp & EXTENDED)
    targets = rest(port, 'targets?full=true&limit=10000')['targets']
    equal(sorted((e.subnqn, e.trtype, e.traddr, e.trsvcid) for e, _ in entries if e.subtype == SUBSYSTEM),
          sorted((t['nqn'], TRTYPES[t['transport']], t['address'], str(t['port'])) for t in targets),
          'subsystems')
    equal(sorted((e.subnqn, e.eflags) for e, _ in entries if e.subtype == SUBSYSTEM),
          sorted((t['nqn'], NOT_CONNECTED if t['status'] in ('failed', 'offline') else 0) for t in targets),
          'flags')
    if lsp & EXTENDED:
        equal(sorted((e.subnqn, text(extra[LABEL], 0, len(extra[LABEL])))
                     for e, extra in entries if e.subtype == SUBSYSTEM),
              sorted((t['nqn'], t['node_id']) for t in targets), 'labels')
    for entry, _ in entries:
        equal((entry.adrfam, entry.cntlid, entry.sectype), (1, 0xffff, 0), f'fields of {entry.subnqn}')
    equal([(e.traddr, e.trsvcid) for e, _ in entries if e.subtype == CURRENT], [(address, own_port)],
          'the controller itself')
    equal([f'{e.traddr}:{e.trsvcid}' for e, _ in entries if e.subtype == REFERRAL],
          [r for r in referrals.split(',') if r != '-'], 'referrals')
    print(f'genctr {genctr} subsystems {len(targets)}')


def judge_hosts_log(_port, lsp, page):
    """Hosts see no hosts, whatever they ask for."""
    data = base64.b64decode(page)
    head(data, int(lsp, 0), 0)
    equal((le(data, 8, 8), le(data, 20, 4)), (0, HEADER), 'NUMREC, THDLPL')
    print('no hosts')


def judge_hosts(port, discovery_port, hostnqn):
    """All registered hosts, as a discovery controller sees them; hostnqn must (+) or must not (-) be one."""
    reader = Controller(('127.0.0.1', int(discovery_port)), DISCOVERY_NQN, cattr=IS_DDC).enable()
    try:
        data = reader.log(HOSTS_LOG, HEADER, lsp=ALL_HOSTS)
        size = le(data, 20, 4)
        while len(data) < size:
            data += reader.log(HOSTS_LOG, min(4096, size - len(data)), len(data), lsp=ALL_HOSTS)
    finally:
        reader.close()
    head(data, ALL_HOSTS, ALL_HOSTS)
    hosts = rest(port, 'hosts')
    connected = {h['hostnqn'] for h in hosts['connected']}
    equal(sorted((e.subnqn, e.traddr, str(uuid.UUID(bytes=extra[HOST_ID])), e.eflags)
                 for e, extra in entries_of(data, True)),
          sorted((h['hostnqn'], h['address'], h['hostid'],
                  0 if h['hostnqn'] in connected else NOT_CONNECTED) for h in hosts['registered']), 'hosts')
    equal(hostnqn[1:] in [h['hostnqn'] for h in hosts['registered']], hostnqn[0] == '+',
          f'{hostnqn[1:]} is registered')
    print(json.dumps(hosts['registered']))


def print_dim(eid, nqn, address, port):
    """What a discovery controller of its own sends of a subsystem: the head, one basic entry."""
    entry = struct.pack('<BBBBHHHH', TRTYPES['tcp'], 1, SUBSYSTEM, 0, 1, 0xffff, 32, 0).ljust(32, b'\0')
    entry += port.encode().ljust(32, b' ') + bytes(192) + nqn.encode().ljust(256, b'\0')
    entry += address.encode().ljust(512, b'\0')
    data = struct.pack('<I4xQHHBxH', HEADER + len(entry), 1, 1, 2, 0, 0x5f) + eid.encode().ljust(256, b'\0')
    data += b'shelf-3'.ljust(256) + b'1.0'.ljust(64)
    print(base64.b64encode(data.ljust(HEADER, b'\0') + entry).decode())


if __name__ == '__main__':
    {'log': judge_log, 'hosts-log': judge_hosts_log, 'hosts': judge_hosts,
     'dim': print_dim}[sys.argv[1]](*sys.argv[2:])
