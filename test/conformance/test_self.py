# SPDX-License-Identifier: BSD-3-Clause
"""The suite judged by itself, without a target: test vectors, sizes, and that the checks can fail.

A socket pair stands for the network; what a controller would send is built here by hand."""

import socket
import struct
import zlib

import nvmetcp
from harness import case, check, equal
from host import READ, WRITE, Queue
from nvmetcp import (C2H_DATA, C2H_TERM, CAPSULE_RESP, LAST, R2T, SUCCESS, Connection, Failure,
                     Terminated, Violation)


class Peer:
    """A Connection on one end of a socket pair, the other end for the case to write to."""

    def __init__(self, dgst=0, hpda=0, flow_control=True):
        self.connection = Connection.__new__(Connection)
        self.connection.sock, self.far = socket.socketpair()
        self.connection.timeout, self.connection.buffer = 1.0, bytearray()
        self.connection.cpda_bytes = 4
        self.connection.use(dgst, hpda, 8192)
        self.queue = Queue(self.connection, 1, 32, flow_control)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.connection.sock.close()
        self.far.close()

    def command(self, opcode, **options):
        command, _ = self.queue.prepare(opcode, **options)
        return self.queue.register(command)

    def send(self, pdu_type, body, data=b'', **options):
        self.far.sendall(nvmetcp.build_pdu(
            pdu_type, body, data, hdgst=self.connection.hdgst, ddgst=self.connection.ddgst,
            alignment=self.connection.hpda_bytes, **options))

    def c2h(self, cid, offset, data, flags, **options):
        self.send(C2H_DATA, struct.pack('<HHII4x', cid, 0, offset, len(data)), data, flags=flags,
                  **options)

    def response(self, cid, status=0, sqhd=1, sqid=1, dw0=0):
        self.send(CAPSULE_RESP, struct.pack('<IIHHHH', dw0, 0, sqhd, sqid, cid, status))

    def r2t(self, cid, offset, length):
        self.send(R2T, struct.pack('<HHII4x', cid, 7, offset, length))


def refused(peer, what):
    """The next PDU must be refused."""
    try:
        peer.queue.pump()
    except Violation:
        return
    raise Failure(f'the host takes {what}')


@case
def crc32c_vectors(_):
    """1.7: CRC32C check values; odd lengths and the two-byte steps agree with a plain loop."""
    equal(nvmetcp.crc32c(b'123456789'), 0xe3069283, 'CRC of 123456789')
    equal(nvmetcp.crc32c(bytes(32)), 0x8a9136aa, 'CRC of 32 zero bytes')
    equal(nvmetcp.crc32c(b''), 0, 'CRC of nothing')
    for size in range(1, 40):
        data, crc = bytes(range(size)), 0xffffffff
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = (crc >> 1) ^ (0x82f63b78 if crc & 1 else 0)
        equal(nvmetcp.crc32c(data), crc ^ 0xffffffff, f'CRC of {size} bytes')
    check(nvmetcp.crc32c(b'123456789') != zlib.crc32(b'123456789'), 'this is the other CRC')


@case
def pdu_sizes(_):
    """1.2: lengths and places of the parts of every PDU that a host sends."""
    entry = nvmetcp.sqe(1, 0x1234)
    equal(len(entry), 64, 'SQE')
    equal(len(nvmetcp.icreq()), 128, 'ICReq')
    equal(nvmetcp.icreq(hpda=3, dgst=3, maxr2t=5)[:16].hex(), '00008000800000000000030305000000',
          'ICReq')
    equal(len(nvmetcp.h2c_term(data=bytes(16))), 40, 'H2CTermReq')
    equal(len(nvmetcp.connect_data(bytes(16), 0xffff, 'a', 'b')), 1024, 'Connect data')
    with Peer(dgst=3) as peer:
        capsule = peer.connection.capsule(entry, b'12345678')
        equal(capsule[:8].hex(), '0403484c58000000', 'CapsuleCmd with digests')
        equal(capsule[72:76], nvmetcp.digest(capsule[:72]), 'header digest')
        equal(capsule[76:84], b'12345678', 'in-capsule data')
        equal(capsule[84:], nvmetcp.digest(b'12345678'), 'data digest')
        peer.connection.cpda_bytes = 128
        equal(peer.connection.h2c_data(1, 2, 0, b'abcd')[3], 128, 'pdo with 128-byte alignment')


@case
def sqe_fields(_):
    """2.1: where each field of an SQE lies."""
    entry = nvmetcp.sqe(2, 0xfedc, nsid=0x01020304, descriptor=nvmetcp.sgl(0x5a, 4096, 5),
                        cdw10=10, cdw11=11, cdw12=12, cdw13=13, cdw14=14, cdw15=15)
    equal(entry[:8].hex(), '0240dcfe04030201', 'SQE start')
    equal(struct.unpack_from('<QIxxxB', entry, 24), (5, 4096, 0x5a), 'SGL')
    equal(struct.unpack_from('<6I', entry, 40), (10, 11, 12, 13, 14, 15), 'command dwords')


@case
def host_takes_what_is_right(_):
    """The plain way of a read, with every alignment, with and without digests and flags."""
    for dgst in range(4):
        for hpda in range(32):
            with Peer(dgst, hpda) as peer:
                command = peer.command(READ, read_bytes=1024)
                peer.c2h(command.cid, 0, b'a' * 512, 0)
                peer.c2h(command.cid, 512, b'b' * 512, LAST)
                peer.response(command.cid)
                peer.queue.wait(command)
                equal(bytes(command.data), b'a' * 512 + b'b' * 512, 'data')
    with Peer(flow_control=False) as peer:
        command = peer.command(READ, read_bytes=512)
        peer.c2h(command.cid, 0, b'a' * 512, LAST | SUCCESS)
        peer.queue.wait(command)
        check(command.was_success_flag, 'SUCCESS flag not seen')


@case
def host_refuses_wrong_data(_):
    """1.4, 1.6: data that is out of order, too much, unmarked, empty or damaged is refused."""
    def read(dgst=0, hpda=0, flow_control=True):
        peer = Peer(dgst, hpda, flow_control)
        return peer, peer.command(READ, read_bytes=1024).cid
    wrong = {'a gap': (512, 512, LAST, {}), 'too much': (0, 2048, LAST, {}),
             'no LAST': (0, 1024, 0, {}), 'LAST early': (0, 512, LAST, {}),
             'no data': (0, 0, 0, {}), 'SUCCESS with flow control': (0, 1024, LAST | SUCCESS, {}),
             'a wrong pdo': (0, 1024, LAST, {'pdo': 28}),
             'a wrong plen': (0, 1024, LAST, {'plen': 1044}),
             'reserved flags': (0, 1024, LAST | 0x40, {}),
             'a digest flag': (0, 1024, LAST | 1, {}),
             'a wrong hlen': (0, 1024, LAST, {'hlen': 28})}
    for what, (offset, size, flags, options) in wrong.items():
        peer, cid = read()
        with peer:
            peer.c2h(cid, offset, bytes(size), flags, **options)
            refused(peer, what)
    for options in ({'corrupt_hdgst': True}, {'corrupt_ddgst': True}):
        peer, cid = read(dgst=3)
        with peer:
            peer.c2h(cid, 0, bytes(1024), LAST, **options)
            refused(peer, options)
    peer, cid = read()
    with peer:
        peer.response(cid)
        refused(peer, 'success without data')
    peer, cid = read(hpda=31)
    with peer:
        header = struct.pack('<BBBBIHHII4x', C2H_DATA, LAST, 24, 128, 1152, cid, 0, 0, 1024)
        peer.far.sendall(header + b'leak'.rjust(104, b'\0') + bytes(1024))
        refused(peer, 'padding with content')


@case
def host_refuses_wrong_r2ts(_):
    """1.6: an R2T out of order, empty, too long, above MAXH2CDATA or one too many is refused."""
    for what, r2ts in {'a gap': [(512, 512)], 'nothing': [(0, 0)], 'past the end': [(0, 20480)],
                       'more than MAXH2CDATA': [(0, 12288)], 'an odd length': [(0, 510)],
                       'a second one': [(0, 512), (512, 512)]}.items():
        with Peer() as peer:
            command = peer.command(WRITE, data_out=bytes(16384), hold=True)
            for index, (offset, length) in enumerate(r2ts):
                peer.r2t(command.cid, offset, length)
                if index + 1 < len(r2ts):
                    peer.queue.pump()
            refused(peer, f'an R2T with {what}')
    with Peer() as peer:
        peer.r2t(0x77, 0, 512)
        refused(peer, 'an R2T for nobody')


@case
def host_refuses_wrong_completions(_):
    """2.1: SQHD that runs ahead or back, a foreign CID or SQID, the phase bit, DNR with success."""
    for what, fields in {'SQHD ahead': {'sqhd': 2}, 'SQHD too large': {'sqhd': 32},
                         'a foreign SQID': {'sqid': 3}, 'the phase bit': {'status': 1},
                         'DNR with success': {'status': 0x8000}}.items():
        with Peer() as peer:
            peer.response(peer.command(0).cid, **fields)
            refused(peer, what)
    with Peer() as peer:
        peer.response(9)
        refused(peer, 'a completion for nobody')
    with Peer() as peer:
        first, second, third = (peer.command(0).cid for _ in range(3))
        peer.response(first, sqhd=3)
        peer.queue.pump()
        peer.response(second, sqhd=2)
        refused(peer, 'SQHD that goes back')
        equal(third in peer.queue.commands, True, 'the third command in flight')
    with Peer(flow_control=False) as peer:
        peer.response(peer.command(0).cid, sqhd=0xffff)
        refused(peer, 'SQHD without flow control')


@case
def host_answers_r2ts(_):
    """1.4, 1.6: H2CData covers the R2T in pieces up to MAXH2CDATA, LAST on the final one."""
    with Peer() as peer:
        data = bytes(range(256)) * 64
        command = peer.command(WRITE, data_out=data)
        peer.r2t(command.cid, 0, 8192)
        peer.queue.pump()
        command.piece = 3072
        peer.r2t(command.cid, 8192, 8192)
        peer.queue.pump()
        got, pieces = b'', []
        stream = peer.far.recv(65536)
        while stream:
            plen, cid, ttag, offset, length = struct.unpack_from('<IHHII', stream, 4)
            equal((cid, ttag, offset, plen), (command.cid, 7, len(got), 24 + length), 'H2CData')
            pieces.append((length, stream[1]))
            got += stream[24:plen]
            stream = stream[plen:]
        equal(got, data, 'data')
        equal(pieces, [(8192, LAST), (3072, 0), (3072, 0), (2048, LAST)], 'pieces')


@case
def termination_is_read(_):
    """1.8: FES at 8, FEI unaligned at 10, the offending header behind 24 bytes."""
    with Peer() as peer:
        peer.far.sendall(struct.pack('<BBBBIHI10x', C2H_TERM, 0, 24, 0, 32, 1, 0x01020304) +
                         b'\x04\0\x48\0\0\0\0\0')
        try:
            peer.queue.pump()
        except Terminated as term:
            equal((term.fes, term.fei, term.data[2]), (1, 0x01020304, 0x48), 'C2HTermReq')
            return
        raise Failure('C2HTermReq not seen')
