# SPDX-License-Identifier: BSD-3-Clause
"""An NVMe/TCP host for tests: queues, a controller, and the commands.

Queue is one queue pair over a Connection. submit() sends a command, pump() takes one PDU from the
target, judges it against what the host knows (offsets, order, LAST, SUCCESS, SQHD) and answers
R2Ts; wait() pumps until a command has completed. Controller is an association: an admin queue and
I/O queues. Everything runs in the caller's thread, every wait is bounded by the connection's
timeout, and every doubtful answer of the target raises Violation."""

import struct
import time
import uuid

import nvmetcp
from nvmetcp import (C2H_DATA, CAPSULE_RESP, LAST, R2T, SGL_IN_CAPSULE, SGL_TRANSPORT, SUCCESS,
                     Connection, Cqe, DataHeader, Failure, Violation, le)

# Opcodes: admin, then I/O.
GET_LOG, IDENTIFY, ABORT, SET_FEATURES, GET_FEATURES, AER, KEEP_ALIVE, FABRICS = (
    0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18, 0x7f)
FLUSH, WRITE, READ, COMPARE, WRITE_ZEROES, DSM, VERIFY = 0x00, 0x01, 0x02, 0x05, 0x08, 0x09, 0x0c

PROPERTY_SET, CONNECT, PROPERTY_GET, DISCONNECT = 0x00, 0x01, 0x04, 0x08

CAP, VS, CC, CSTS = 0x00, 0x08, 0x14, 0x1c
CC_ENABLE = 0x00460001
CSTS_RDY, CSTS_CFS = 1, 2

FUA = 1 << 30

ADMIN_CAPSULE_MAX = 8192
TRANSFER_MAX = 4 << 20


class Command:
    """One command in flight or done: its SQE, its data and, at the end, its completion."""

    def __init__(self, entry, data_out=b'', read_bytes=0, hold=False, piece=0):
        self.entry = bytearray(entry)
        self.data_out = data_out
        self.read_bytes = read_bytes
        self.data = bytearray()
        self.hold = hold        # leave R2Ts to the case
        self.piece = piece      # largest H2CData of the answer, 0: the target's limit
        self.r2ts = []
        self.r2t_next = 0
        self.r2t_answered = 0
        self.cqe = None
        self.was_success_flag = False

    @property
    def cid(self):
        return le(self.entry, 2, 2)

    @property
    def done(self):
        return self.cqe is not None

    @property
    def status(self):
        return str(self.cqe)

    def __str__(self):
        return f'opcode {self.entry[0]:02X} cid {self.cid:04X}'


class Queue:
    """A queue pair. `size` counts entries; -1 stands for a queue whose Connect is not done."""

    def __init__(self, connection, qid, size, flow_control=True):
        self.connection, self.qid, self.size = connection, qid, size
        self.flow_control = flow_control
        self.commands = {}
        self.sent = 0           # capsules on this queue, Connect included
        self.sqhd = 0
        self.next_cid = 0
        self.capsule_max = ADMIN_CAPSULE_MAX if qid == 0 else 0
        self.nr_pdus = {}       # received, by type

    def take_cid(self):
        """Sparse identifiers over all 16 bits: an odd stride, as no array of a queue's size has."""
        for _ in range(65536):
            self.next_cid = (self.next_cid + 0x9e37) & 0xffff
            if self.next_cid not in self.commands:
                return self.next_cid
        raise Failure('65536 commands in flight')

    # Sending.

    def prepare(self, opcode, *, data_out=b'', read_bytes=0, how='auto', descriptor=None, cid=None,
                hold=False, piece=0, **fields):
        """A command and the bytes of its capsule. `how`: capsule, r2t or auto."""
        if how == 'auto':
            how = 'capsule' if len(data_out) <= self.capsule_max else 'r2t'
        in_capsule = data_out if how == 'capsule' else b''
        if descriptor is None:
            if in_capsule:
                descriptor = nvmetcp.sgl(SGL_IN_CAPSULE, len(data_out))
            else:
                descriptor = nvmetcp.sgl(SGL_TRANSPORT, len(data_out) or read_bytes)
        entry = nvmetcp.sqe(opcode, self.take_cid() if cid is None else cid, descriptor=descriptor,
                            **fields)
        command = Command(entry, data_out, read_bytes, hold, piece)
        return command, self.connection.capsule(entry, in_capsule)

    def register(self, command):
        """Makes the command known to the queue, for a capsule that the case sends itself."""
        self.commands[command.cid] = command
        self.sent += 1
        return command

    def submit(self, opcode, **options):
        command, capsule = self.prepare(opcode, **options)
        self.register(command)
        self.connection.send(capsule)
        return command

    def run(self, opcode, *, timeout=None, **options):
        return self.wait(self.submit(opcode, **options), timeout)

    def answer_r2t(self, command, r2t):
        """Sends what one R2T asks for."""
        limit = min(command.piece or r2t.length, self.connection.maxh2cdata)
        end = r2t.offset + r2t.length
        for offset in range(r2t.offset, end, limit):
            stop = min(offset + limit, end)
            self.connection.send(self.connection.h2c_data(
                command.cid, r2t.ttag, offset, command.data_out[offset:stop], stop == end))
        command.r2t_answered += 1

    # Receiving.

    def pump(self, timeout=None):
        """Takes one PDU and returns the command that it belongs to."""
        pdu = self.connection.recv(timeout)
        self.nr_pdus[pdu.type] = self.nr_pdus.get(pdu.type, 0) + 1
        if pdu.type == CAPSULE_RESP:
            return self._take_response(Cqe(pdu.header[8:24]))
        if pdu.type == C2H_DATA:
            return self._take_data(pdu)
        if pdu.type == R2T:
            return self._take_r2t(pdu)
        raise Violation(f'{pdu} on a connected queue')

    def _find(self, cid, what):
        command = self.commands.get(cid)
        if command is None:
            raise Violation(f'{what} for command {cid:04X}, which is not in flight')
        return command

    def _take_response(self, cqe):
        command = self._find(cqe.cid, 'CapsuleResp')
        if cqe.phase:
            raise Violation(f'{command}: phase bit set in the completion')
        if cqe.is_ok and (cqe.dnr or cqe.crd or cqe.more):
            raise Violation(f'{command}: success with DNR, CRD or More')
        if cqe.sqid not in (0, self.qid):
            raise Violation(f'{command}: SQID {cqe.sqid} on queue {self.qid}')
        if self.size > 0:
            self._check_sqhd(command, cqe)
        if cqe.is_ok and len(command.data) != command.read_bytes:
            raise Violation(f'{command}: success with {len(command.data)} of '
                            f'{command.read_bytes} bytes')
        if cqe.is_ok and command.r2t_next and command.r2t_next != len(command.data_out):
            raise Violation(f'{command}: success, but R2Ts asked for {command.r2t_next} of '
                            f'{len(command.data_out)} bytes')
        self._finish(command, cqe)
        return command

    def _check_sqhd(self, command, cqe):
        if not self.flow_control:
            if cqe.sqhd != 0:
                raise Violation(f'{command}: SQHD {cqe.sqhd:04X} without flow control')
            return
        if cqe.sqhd >= self.size:
            raise Violation(f'{command}: SQHD {cqe.sqhd} in a queue of {self.size}')
        moved = (cqe.sqhd - self.sqhd) % self.size
        possible = (self.sent - self.sqhd) % self.size
        if moved > possible:
            raise Violation(f'{command}: SQHD went from {self.sqhd} to {cqe.sqhd} with '
                            f'{self.sent} capsules sent to a queue of {self.size}')
        self.sqhd = cqe.sqhd

    def _finish(self, command, cqe):
        command.cqe = cqe
        del self.commands[cqe.cid]

    def _take_data(self, pdu):
        part = DataHeader(pdu.header)
        command = self._find(part.cccid, 'C2HData')
        if part.length == 0:
            raise Violation(f'{command}: C2HData without data')
        if part.ttag or any(pdu.header[20:24]):
            raise Violation(f'{command}: C2HData with reserved bytes set')
        if part.offset != len(command.data):
            raise Violation(f'{command}: C2HData at {part.offset}, expected {len(command.data)}')
        if part.offset + part.length > command.read_bytes:
            raise Violation(f'{command}: C2HData up to {part.offset + part.length} of '
                            f'{command.read_bytes}')
        command.data += pdu.data
        is_last = len(command.data) == command.read_bytes
        if bool(pdu.flags & LAST) != is_last:
            raise Violation(f'{command}: C2HData flags {pdu.flags:#x} at {len(command.data)} of '
                            f'{command.read_bytes}')
        if pdu.flags & SUCCESS:
            if not is_last or self.flow_control:
                raise Violation(f'{command}: SUCCESS flag, last {is_last}, flow control '
                                f'{self.flow_control}')
            command.was_success_flag = True
            self._finish(command, Cqe(struct.pack('<IIHHHH', 0, 0, 0, self.qid, command.cid, 0)))
        return command

    def _take_r2t(self, pdu):
        r2t = DataHeader(pdu.header)
        command = self._find(r2t.cccid, 'R2T')
        if any(pdu.header[20:24]):
            raise Violation(f'{command}: R2T with reserved bytes set')
        if r2t.length == 0 or r2t.length % 4 or r2t.offset % 4:
            raise Violation(f'{command}: R2T for {r2t.length} bytes at {r2t.offset}')
        if r2t.offset != command.r2t_next:
            raise Violation(f'{command}: R2T at {r2t.offset}, expected {command.r2t_next}')
        if r2t.offset + r2t.length > len(command.data_out) or command.entry[39] != SGL_TRANSPORT:
            raise Violation(f'{command}: R2T up to {r2t.offset + r2t.length} of '
                            f'{len(command.data_out)} bytes')
        if r2t.length > self.connection.maxh2cdata:
            raise Violation(f'{command}: R2T of {r2t.length} bytes, MAXH2CDATA is '
                            f'{self.connection.maxh2cdata}')
        command.r2t_next += r2t.length
        command.r2ts.append(r2t)
        if len(command.r2ts) - command.r2t_answered > self.connection.maxr2t + 1:
            raise Violation(f'{command}: {len(command.r2ts) - command.r2t_answered} R2Ts '
                            f'outstanding, MAXR2T is {self.connection.maxr2t}')
        if not command.hold:
            self.answer_r2t(command, r2t)
        return command

    def pump_until(self, condition, timeout=None):
        deadline = time.monotonic() + (timeout or self.connection.timeout)
        while not condition():
            self.pump(max(deadline - time.monotonic(), 0.001))

    def wait(self, command, timeout=None):
        self.pump_until(lambda: command.done, timeout)
        return command

    def wait_all(self, commands, timeout=None):
        self.pump_until(lambda: all(command.done for command in commands), timeout)
        return commands

    def wait_r2t(self, command, count=1, timeout=None):
        """Waits for the command's R2T number `count` and returns it."""
        self.pump_until(lambda: command.done or len(command.r2ts) >= count, timeout)
        if command.done:
            raise Failure(f'{command}: {command.status} instead of an R2T')
        return command.r2ts[count - 1]

    def is_quiet(self, seconds):
        return self.connection.is_quiet(seconds)

    # Fabrics commands.

    def fabrics(self, fctype, **options):
        return self.run(FABRICS, nsid=fctype, **options)

    def connect(self, subnqn, hostnqn, hostid, *, cntlid=0xffff, sqsize=None, kato=0, cattr=None,
                recfmt=0, how='capsule', data=None, **options):
        """Sends Connect and waits for its answer; a success makes the queue usable."""
        sqsize = self.size - 1 if sqsize is None else sqsize
        cattr = (0 if self.flow_control else 4) if cattr is None else cattr
        if data is None:
            data = nvmetcp.connect_data(hostid, cntlid, subnqn, hostnqn)
        real, self.size = self.size, -1
        command = self.fabrics(CONNECT, data_out=data, how=how, cdw10=recfmt | self.qid << 16,
                               cdw11=sqsize | cattr << 16, cdw12=kato, **options)
        self.size = real
        if command.cqe.is_ok:
            want = 1 % self.size if self.flow_control else 0xffff
            if command.cqe.sqhd != want:
                raise Violation(f'Connect answered with SQHD {command.cqe.sqhd:04X}, '
                                f'not {want:04X}')
            self.sqhd = want if self.flow_control else 0
        elif command.cqe.sqhd == 0xffff:
            raise Violation('a refused Connect with SQHD FFFFh')
        return command

    def property_get(self, offset, size=4):
        return self.fabrics(PROPERTY_GET, cdw10=1 if size == 8 else 0, cdw11=offset)

    def property_set(self, offset, value, size=4):
        return self.fabrics(PROPERTY_SET, cdw10=1 if size == 8 else 0, cdw11=offset,
                            cdw12=value & 0xffffffff, cdw13=value >> 32)

    # I/O commands. `ns` is a Namespace.

    def read(self, ns, slba, blocks, *, cdw12=0, **options):
        return self.run(READ, **read_fields(ns, slba, blocks, cdw12), **options)

    def write(self, ns, slba, data, *, cdw12=0, **options):
        return self.run(WRITE, **write_fields(ns, slba, data, cdw12), **options)

    def compare(self, ns, slba, data, **options):
        return self.run(COMPARE, **write_fields(ns, slba, data), **options)

    def write_zeroes(self, ns, slba, blocks, *, cdw12=0, **options):
        return self.run(WRITE_ZEROES, **range_fields(ns.nsid, slba, blocks, cdw12), **options)

    def verify(self, ns, slba, blocks, **options):
        return self.run(VERIFY, **range_fields(ns.nsid, slba, blocks), **options)

    def flush(self, nsid, **options):
        return self.run(FLUSH, nsid=nsid, **options)

    def dsm(self, nsid, ranges, *, attributes=4, payload=None, nr=None, **options):
        if payload is None:
            payload = nvmetcp.dsm_ranges(ranges).ljust(4096, b'\0')
        return self.run(DSM, nsid=nsid, cdw10=len(ranges) - 1 if nr is None else nr,
                        cdw11=attributes, data_out=payload, **options)


def range_fields(nsid, slba, blocks, cdw12=0):
    return {'nsid': nsid, 'cdw10': slba & 0xffffffff, 'cdw11': slba >> 32,
            'cdw12': cdw12 | (blocks - 1)}


def read_fields(ns, slba, blocks, cdw12=0):
    return {**range_fields(ns.nsid, slba, blocks, cdw12), 'read_bytes': blocks * ns.block_size}


def write_fields(ns, slba, data, cdw12=0):
    return {**range_fields(ns.nsid, slba, len(data) // ns.block_size, cdw12), 'data_out': data}


class Namespace:
    """What a host knows from Identify CNS 00h."""

    def __init__(self, nsid, data):
        self.nsid, self.data = nsid, data
        self.nr_blocks = le(data, 0, 8)
        self.block_size = 1 << data[128 + 4 * (data[26] & 0xf) + 2]
        self.dlfeat = data[33]


class Controller:
    """An association with the target, from the admin queue's Connect to its end."""

    def __init__(self, address, subnqn, *, hostnqn=None, hostid=None, dgst=0, hpda=0, maxr2t=0,
                 kato=0, sqsize=31, flow_control=True, cattr=None):
        self.address, self.subnqn = address, subnqn
        self.hostid = hostid if hostid is not None else uuid.uuid4().bytes
        self.hostnqn = hostnqn or f'nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(bytes=self.hostid)}'
        self.ic = {'dgst': dgst, 'hpda': hpda, 'maxr2t': maxr2t}
        self.flow_control = flow_control
        self.queues = {}
        self.ids = None
        self.admin = self._open(0, sqsize + 1)
        self.connect_answer = self.admin.connect(subnqn, self.hostnqn, self.hostid, kato=kato,
                                                 cattr=cattr)
        if not self.connect_answer.cqe.is_ok:
            self.close()
            raise Failure(f'Connect refused: {self.connect_answer.status}, '
                          f'DW0 {self.connect_answer.cqe.dw0:08X}')
        self.cntlid = self.connect_answer.cqe.dw0 & 0xffff

    def _open(self, qid, size, flow_control=None):
        connection = Connection(self.address)
        try:
            connection.connect_ic(**self.ic)
        except Exception:
            connection.close()
            raise
        flow_control = self.flow_control if flow_control is None else flow_control
        queue = Queue(connection, qid, size, flow_control)
        self.queues[qid] = queue
        return queue

    # Properties and the controller's life.

    def property_get(self, offset, size=4):
        cqe = ok(self.admin.property_get(offset, size)).cqe
        return cqe.dw0 | (cqe.dw1 << 32 if size == 8 else 0)

    def property_set(self, offset, value, size=4):
        ok(self.admin.property_set(offset, value, size))

    def poll_csts(self, mask, value, timeout=30.0):
        deadline = time.monotonic() + timeout
        while True:
            csts = self.property_get(CSTS)
            if csts & mask == value:
                return csts
            if time.monotonic() > deadline:
                raise Failure(f'CSTS {csts:#x} after {timeout} s, expected {value:#x} in {mask:#x}')
            time.sleep(0.01)

    def enable(self):
        self.property_set(CC, CC_ENABLE)
        self.poll_csts(CSTS_RDY | CSTS_CFS, CSTS_RDY)
        return self

    # Admin commands.

    def identify_command(self, cns, nsid=0, csi=0, length=4096, **options):
        return self.admin.run(IDENTIFY, nsid=nsid, cdw10=cns, cdw11=csi << 24, read_bytes=length,
                              **options)

    def identify(self, cns, nsid=0, csi=0):
        return bytes(ok(self.identify_command(cns, nsid, csi)).data)

    def identify_controller(self):
        if self.ids is None:
            self.ids = self.identify(1)
        return self.ids

    def namespace(self, nsid):
        return Namespace(nsid, self.identify(0, nsid))

    def active_nsids(self, start=0):
        data = self.identify(2, start)
        nsids = list(struct.unpack('<1024I', data))
        return nsids[:nsids.index(0)] if 0 in nsids else nsids

    def log_command(self, lid, length, offset=0, *, nsid=0, rae=0, lsp=0, cdw14=0, **options):
        numd = length // 4 - 1
        options.setdefault('read_bytes', length)
        return self.admin.run(GET_LOG, nsid=nsid, cdw10=lid | lsp << 8 | rae << 15 |
                              (numd & 0xffff) << 16, cdw11=numd >> 16, cdw12=offset & 0xffffffff,
                              cdw13=offset >> 32, cdw14=cdw14, **options)

    def log(self, lid, length, offset=0, **options):
        return bytes(ok(self.log_command(lid, length, offset, **options)).data)

    def get_feature(self, fid, sel=0, nsid=0, cdw11=0, read_bytes=0):
        return self.admin.run(GET_FEATURES, nsid=nsid, cdw10=fid | sel << 8, cdw11=cdw11,
                              read_bytes=read_bytes)

    def set_feature(self, fid, value=0, nsid=0, save=0, data=b'', **options):
        return self.admin.run(SET_FEATURES, nsid=nsid, cdw10=fid | save << 31, cdw11=value,
                              data_out=data, **options)

    def keep_alive(self):
        return ok(self.admin.run(KEEP_ALIVE))

    def arm_event(self, **options):
        return self.admin.submit(AER, **options)

    def abort(self, command, qid):
        return self.admin.run(ABORT, cdw10=qid | command.cid << 16)

    # I/O queues.

    def ask_queues(self, count):
        """Feature 07h: asks for `count` I/O queues and returns how many are granted."""
        dw0 = ok(self.set_feature(7, (count - 1) | (count - 1) << 16)).cqe.dw0
        return min(dw0 & 0xffff, dw0 >> 16) + 1

    def capsule_max(self):
        """Data bytes that fit a capsule of an I/O queue."""
        return le(self.identify_controller(), 1792, 4) * 16 - 64

    def max_transfer(self):
        """MDTS in bytes; our own bound where the target has none."""
        mdts = self.identify_controller()[77]
        return min(4096 << mdts, TRANSFER_MAX) if mdts else TRANSFER_MAX

    def try_io_queue(self, qid, *, sqsize=31, flow_control=None, **options):
        """A new connection with the answer to its Connect, whatever it is."""
        queue = self._open(qid, sqsize + 1, flow_control)
        arguments = {'subnqn': self.subnqn, 'hostnqn': self.hostnqn, 'hostid': self.hostid,
                     'cntlid': self.cntlid, **options}
        answer = queue.connect(**arguments)
        if not answer.cqe.is_ok:
            queue.connection.close()
            del self.queues[qid]
        return queue, answer

    def queue_entries(self):
        """Entries of the largest I/O queue: CAP.MQES + 1."""
        return (self.property_get(CAP, 8) & 0xffff) + 1

    def io_queue(self, qid=1, *, sqsize=31, flow_control=None):
        """A connected I/O queue, with fewer entries where the target has no more."""
        capsule_max = self.capsule_max()
        sqsize = min(sqsize, self.queue_entries() - 1)
        queue, answer = self.try_io_queue(qid, sqsize=sqsize, flow_control=flow_control)
        ok(answer)
        queue.capsule_max = capsule_max
        return queue

    def close(self):
        for queue in self.queues.values():
            queue.connection.close()

    def wait_gone(self, timeout):
        """Waits until the target has closed every connection of this association."""
        deadline = time.monotonic() + timeout
        for queue in self.queues.values():
            queue.connection.wait_closed(max(deadline - time.monotonic(), 0.01))


def ok(command):
    if not command.cqe.is_ok:
        raise Failure(f'{command}: {command.status}, expected success')
    return command
