# SPDX-License-Identifier: BSD-3-Clause
"""A discovery controller of the tests' own, which notes what it is asked and can be wrong in many ways;
and a client that asks by kick-start to be read."""

import contextlib
import os
import pathlib
import socket
import struct
import sys
import threading

from node_harness import free_port

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'conformance'))
from nvmetcp import Connection, build_pdu, icreq, le, text  # noqa: E402

ICREQ, CAPSULE_CMD, CAPSULE_RSP, C2H_DATA = 0, 4, 5, 7
GET_LOG, IDENTIFY, SET_FEATURES, AER, KEEP_ALIVE, FABRICS = 2, 6, 9, 0x0c, 0x18, 0x7f
PROPERTY_SET, CONNECT, PROPERTY_GET = 0, 1, 4
LOG, CHANGED = 0x70, 0x0070f002
BAD_FIELD, BAD_PARAMETER, BAD_OPCODE = 0x8004, 0x8304, 0x8002  # status << 1, with DNR
PATIENCE_S = 60


def entry(nqn, traddr='127.0.0.1', trsvcid='4420', *, trtype=3, adrfam=None, subtype=2, portid=1):
    adrfam = adrfam or (2 if ':' in traddr else 1)
    head = struct.pack('<BBBBHHHH', trtype, adrfam, subtype, 0, portid, 0xffff, 32, 0)
    return (head.ljust(32, b'\0') + trsvcid.encode().ljust(32, b' ') + bytes(192) +
            nqn.encode().ljust(256, b'\0') + traddr.encode().ljust(256, b'\0') + bytes(256))


class Peer:
    """One connection to the controller."""

    def __init__(self, ddc, sock):
        self.ddc, self.sock = ddc, sock
        self.cc = self.kato = self.cattr = 0
        self.hostnqn = ''
        self.event = None  # the CID of the event request
        self.lock = threading.Lock()

    def take(self, size):
        data = b''
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def send(self, data):
        with self.lock:
            self.sock.sendall(data)

    def complete(self, cid, status=0, dw0=0, dw1=0):
        self.send(build_pdu(CAPSULE_RSP, struct.pack('<IIHHHH', dw0, dw1, 0, 0, cid, status)))

    def data(self, cid, data):
        self.send(build_pdu(C2H_DATA, struct.pack('<HHII4x', cid, 0, 0, len(data)), data, flags=4))
        self.complete(cid)

    def serve(self):
        self.take(128)
        if self.ddc.how == 'hang':
            self.ddc.stopped.wait(PATIENCE_S)
            return
        if self.ddc.how == 'noise':
            self.send(os.urandom(4096))
            return
        self.send(build_pdu(1, struct.pack('<HBBI', 0, 0, 0, 65536).ljust(120, b'\0')))
        while True:
            head = self.take(8)
            body = head + self.take(le(head, 4, 4) - 8)
            if head[0] == CAPSULE_CMD:
                self.command(body[8:72], body[72:])

    def command(self, sqe, data):
        opcode, cid = sqe[0], le(sqe, 2, 2)
        if opcode == FABRICS:
            self.fabrics(cid, sqe, data)
        elif opcode == IDENTIFY:
            self.data(cid, self.ddc.identify())
        elif opcode == GET_LOG:
            self.log(cid, sqe)
        elif opcode in (SET_FEATURES, KEEP_ALIVE):
            self.complete(cid)
        elif opcode == AER:
            with self.ddc.lock:
                self.event = cid
                is_due, self.ddc.is_due = self.ddc.is_due, False
            if is_due:
                self.tell()
        else:
            self.complete(cid, BAD_OPCODE)

    def fabrics(self, cid, sqe, data):
        if sqe[4] == CONNECT:
            self.cattr, self.kato, self.hostnqn = sqe[46], le(sqe, 48, 4), text(data, 512, 256)
            self.ddc.note(self)
            if self.kato != 0 and not self.ddc.is_persistent:
                self.complete(cid, BAD_PARAMETER, 48)
                return
            self.complete(cid, 0, 1)
        elif sqe[4] == PROPERTY_SET:
            self.cc = le(sqe, 48, 4)
            self.complete(cid)
        else:
            value = {0: 0x201e01007f, 8: 0x10400, 0x14: self.cc, 0x1c: self.cc & 1}[le(sqe, 44, 4)]
            self.complete(cid, 0, value & 0xffffffff, value >> 32)

    def log(self, cid, sqe):
        lsp, offset = sqe[41] & 0x7f, le(sqe, 48, 8)
        length = 4 * ((le(sqe, 44, 2) << 16 | le(sqe, 42, 2)) + 1)
        self.ddc.lsps.append(lsp)
        if lsp != 0 and self.ddc.how == 'no options':
            self.complete(cid, BAD_FIELD)
            return
        log = self.ddc.log(is_extended=bool(lsp & 1 and self.ddc.label))
        self.data(cid, log[offset:offset + length].ljust(length, b'\0'))

    def tell(self):
        cid, self.event = self.event, None
        self.complete(cid, 0, CHANGED)

    def run(self):
        try:
            self.serve()
        except (EOFError, OSError):
            pass
        finally:
            self.ddc.forget(self)
            self.sock.close()


class Ddc:
    """Listens until stop(). `how`: 'good', or what is wrong with it."""

    def __init__(self, entries=(), *, nqn='nqn.2026-11.io.xsan:ddc', how='good', persistent=True,
                 address='127.0.0.1', port=0):
        self.entries, self.nqn, self.how, self.is_persistent = list(entries), nqn, how, persistent
        self.genctr, self.numrec = 1, None
        self.label = b''  # of each entry, for those who ask for attributes
        self.lock = threading.Lock()
        self.peers, self.seen, self.lsps, self.is_due = [], [], [], False
        self.stopped = threading.Event()
        # No port that the kernel picks: another one is to listen there when this one has ended.
        self.listener = socket.create_server((address, port or free_port()))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            peer = Peer(self, sock)
            with self.lock:
                self.peers.append(peer)
                self.threads.append(threading.Thread(target=peer.run, daemon=True))
                self.threads[-1].start()

    def note(self, peer):
        with self.lock:
            self.seen.append((peer.hostnqn, peer.cattr, peer.kato))

    def forget(self, peer):
        with self.lock:
            self.peers.remove(peer)

    def identify(self):
        data = bytearray(4096)
        data[111], data[92:96], data[261], data[320] = 2, struct.pack('<I', 1 << 31), 4, 1
        data[768:768 + len(self.nqn)] = self.nqn.encode()
        return bytes(data)

    def log(self, is_extended=False):
        with self.lock:
            if self.how == 'moving':
                self.genctr += 1
            numrec = len(self.entries) if self.numrec is None else self.numrec
            label = self.label.ljust(-len(self.label) // 4 * -4, b'\0')
            more = struct.pack('<IHxxHH', 1036 + len(label), 1, 3, len(label)) + label
            entries = b''.join(one + (more if is_extended else b'') for one in self.entries)
            head = struct.pack('<QQHBxI', self.genctr, numrec, 0, is_extended, 1024 + len(entries))
            return head.ljust(1024, b'\0') + entries

    def change(self, entries):
        """Another log, which those who wait are told of."""
        with self.lock:
            self.entries = list(entries)
            self.genctr += 1
            waiting = [peer for peer in self.peers if peer.event is not None]
            self.is_due = not waiting
        for peer in waiting:
            with contextlib.suppress(OSError):  # it has gone, and its thread does not know that yet
                peer.tell()

    def nr_connected(self):
        with self.lock:
            return len(self.peers)

    def cut(self):
        """Ends all connections."""
        with self.lock:
            peers = list(self.peers)
        for peer in peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        if self.stopped.is_set():
            return
        self.stopped.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        for thread in self.threads:
            thread.join(PATIENCE_S)


def kick_start(port, *places, numdie=1, trtype=3, adrfam=1):
    """Asks the controller at a port to read those at the places (address, port): KSSTAT and FAILRSN of its
    answer, and its NQN."""
    connection = Connection(('127.0.0.1', port))
    try:
        connection.send(icreq(raw_flags=0x80))
        connection.recv()
        records = b''.join(bytes([trtype, adrfam]) + str(service).encode().ljust(32, b' ') +
                           address.encode().ljust(256, b'\0') for address, service in places)
        connection.send(build_pdu(0x0a, struct.pack('<HH', len(places), numdie), records))
        data = b''
        while len(data) < 274:
            piece = connection.sock.recv(274 - len(data))
            if not piece:
                raise EOFError(f'closed after {len(data)} bytes of KDResp')
            data += piece
        return data[8], data[9], text(data, 10, 256)
    finally:
        connection.close()
