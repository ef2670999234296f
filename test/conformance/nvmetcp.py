# SPDX-License-Identifier: BSD-3-Clause
"""The wire of NVMe/TCP as a test needs it: every PDU can be made right or wrong, and is read
strictly.

build_pdu(), sqe() and the structures' readers are plain functions over bytes; Connection is one TCP
connection that sends any bytes and receives whole PDUs. What it receives is judged on the way in
(header length, flags, alignment, length, digests, reserved bytes): a peer that breaks the format
raises Violation, one that terminates raises Terminated, one that goes away raises Closed, and one
that says nothing raises Silence. Nothing here waits without a bound.

Nothing in this file was taken from the target: its sources are the published NVMe
specifications."""

import socket
import struct
import time

# PDU types.
ICREQ, ICRESP, H2C_TERM, C2H_TERM = 0, 1, 2, 3
CAPSULE_CMD, CAPSULE_RESP, H2C_DATA, C2H_DATA, R2T = 4, 5, 6, 7, 9

# PDU flags.
HDGSTF, DDGSTF, LAST, SUCCESS = 1, 2, 4, 8

# Digest bits of ICReq and ICResp.
HEADER_DIGEST, DATA_DIGEST = 1, 2

PDU_NAMES = {ICREQ: 'ICReq', ICRESP: 'ICResp', H2C_TERM: 'H2CTermReq', C2H_TERM: 'C2HTermReq',
             CAPSULE_CMD: 'CapsuleCmd', CAPSULE_RESP: 'CapsuleResp', H2C_DATA: 'H2CData',
             C2H_DATA: 'C2HData', R2T: 'R2T'}
HLEN = {ICREQ: 128, ICRESP: 128, H2C_TERM: 24, C2H_TERM: 24, CAPSULE_CMD: 72, CAPSULE_RESP: 24,
        H2C_DATA: 24, C2H_DATA: 24, R2T: 24}

# What a controller may send: flags allowed with each type.
FROM_CONTROLLER = {ICRESP: 0, C2H_TERM: 0, CAPSULE_RESP: HDGSTF,
                   C2H_DATA: HDGSTF | DDGSTF | LAST | SUCCESS, R2T: HDGSTF}

TERM_DATA_MAX = 128
PLEN_MAX = 16 << 20  # larger than any PDU that a target may send here
TIMEOUT_S = 30.0     # of one answer, unless a case says otherwise

DISCOVERY_NQN = 'nqn.2014-08.org.nvmexpress.discovery'
NSID_ALL = 0xffffffff

SGL_IN_CAPSULE, SGL_TRANSPORT = 0x01, 0x5a
PSDT_SGL = 0x40


class Failure(Exception):
    """An expectation of the suite was not met."""


class Violation(Failure):
    """The target sent bytes that the specification does not allow."""


class Silence(Failure):
    """Nothing came within the time that the case gives."""


class Closed(Failure):
    """The target closed or reset the connection."""


class Terminated(Failure):
    """The target sent a C2HTermReq."""

    def __init__(self, fes, fei, data):
        super().__init__(f'C2HTermReq FES {fes:02X} FEI {fei:#x} with {len(data)} bytes of header')
        self.fes, self.fei, self.data = fes, fei, data


# ---- CRC32C ----

def _make_tables():
    one = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ 0x82f63b78 if value & 1 else value >> 1
        one.append(value)
    # Two bytes in one step: what the low byte leaves behind meets the high byte.
    two = [one[(one[v & 0xff] ^ (v >> 8)) & 0xff] ^ (one[v & 0xff] >> 8) for v in range(65536)]
    return one, two


_CRC_ONE, _CRC_TWO = _make_tables()


def crc32c(data):
    """CRC32C of bytes, as a number: reflected 82F63B78h, initial value and final xor all ones."""
    crc = 0xffffffff
    two = _CRC_TWO
    even = len(data) & ~1
    for (word,) in struct.iter_unpack('<H', memoryview(data)[:even]):
        crc = two[(crc ^ word) & 0xffff] ^ (crc >> 16)
    if even != len(data):
        crc = _CRC_ONE[(crc ^ data[even]) & 0xff] ^ (crc >> 8)
    return crc ^ 0xffffffff


def digest(data):
    return struct.pack('<I', crc32c(data))


# ---- encoders ----

def align_up(value, alignment):
    return (value + alignment - 1) // alignment * alignment


def build_pdu(pdu_type, body, data=b'', *, flags=0, hdgst=False, ddgst=False, alignment=4,
              corrupt_hdgst=False, corrupt_ddgst=False, **wrong):
    """One PDU. `body` is the header behind the common header. type, hlen, pdo, plen, raw_flags in
    `wrong` replace the right values before the header digest is made, so only they are wrong."""
    hlen = 8 + len(body)
    pdo = 0
    end = hlen + (4 if hdgst else 0)
    if data:
        pdo = align_up(end, alignment)
        end = pdo + len(data) + (4 if ddgst else 0)
    header_flags = flags | (HDGSTF if hdgst else 0) | (DDGSTF if ddgst and data else 0)
    header = struct.pack('<BBBBI', wrong.get('type', pdu_type),
                         wrong.get('raw_flags', header_flags), wrong.get('hlen', hlen),
                         wrong.get('pdo', pdo), wrong.get('plen', end)) + body
    out = bytearray(header)
    if hdgst:
        out += struct.pack('<I', crc32c(header) ^ (0x01000000 if corrupt_hdgst else 0))
    if data:
        out += bytes(pdo - len(out)) + data
        if ddgst:
            out += struct.pack('<I', crc32c(data) ^ (0x00010000 if corrupt_ddgst else 0))
    return bytes(out)


def icreq(pfv=0, hpda=0, dgst=0, maxr2t=0, **wrong):
    return build_pdu(ICREQ, struct.pack('<HBBI112x', pfv, hpda, dgst, maxr2t), **wrong)


def h2c_term(fes=1, fei=0, data=b'', **wrong):
    body = struct.pack('<HI10x', fes, fei)
    plen = wrong.pop('plen', 24 + len(data))
    return build_pdu(H2C_TERM, body, plen=plen, **wrong) + data


def sgl(sgl_type, length, address=0):
    return struct.pack('<QI3xB', address, length, sgl_type)


def sqe(opcode, cid, *, nsid=0, flags=PSDT_SGL, descriptor=b'', cdw10=0, cdw11=0, cdw12=0, cdw13=0,
        cdw14=0, cdw15=0, cdw2=0, cdw3=0, mptr=0):
    """A submission queue entry. Fabrics commands have their type in `nsid`'s low byte."""
    return struct.pack('<BBHIIIQ16sIIIIII', opcode, flags, cid, nsid, cdw2, cdw3, mptr, descriptor,
                       cdw10, cdw11, cdw12, cdw13, cdw14, cdw15)


def connect_data(hostid, cntlid, subnqn, hostnqn):
    """Data of a Connect command. NQNs may be text (padded with NUL) or 256 bytes as they are."""
    def nqn(value):
        return value if isinstance(value, bytes) else value.encode().ljust(256, b'\0')
    return struct.pack('<16sH238x256s256s256x', hostid, cntlid, nqn(subnqn), nqn(hostnqn))


def dsm_ranges(ranges):
    """Ranges of a Dataset Management command: (slba, blocks) pairs."""
    return b''.join(struct.pack('<IIQ', 0, blocks, slba) for slba, blocks in ranges)


# ---- decoders ----

class Pdu:
    """A PDU as it came; `header` has hlen bytes, without the digest."""

    def __init__(self, pdu_type, flags, pdo, plen, header, data):
        self.type, self.flags, self.pdo, self.plen = pdu_type, flags, pdo, plen
        self.header, self.data = header, data
        self.ddgst_ok = True

    def __repr__(self):
        return (f'{PDU_NAMES.get(self.type, self.type)} flags {self.flags:#x} plen {self.plen} '
                f'{self.header[8:24].hex()}')


class IcResp:
    def __init__(self, header):
        self.pfv, self.cpda, self.dgst, self.maxh2cdata = struct.unpack_from('<HBBI', header, 8)
        self.reserved = header[16:128]


class Cqe:
    def __init__(self, entry):
        (self.dw0, self.dw1, self.sqhd, self.sqid, self.cid,
         status) = struct.unpack('<IIHHHH', entry)
        self.phase = status & 1
        self.sc, self.sct = status >> 1 & 0xff, status >> 9 & 7
        self.crd, self.more, self.dnr = status >> 12 & 3, status >> 14 & 1, status >> 15

    @property
    def is_ok(self):
        return self.sct == 0 and self.sc == 0

    def __str__(self):
        return f'{self.sct}/{self.sc:02X}' + (' DNR' if self.dnr else '')


class DataHeader:
    """The part that R2T, H2CData and C2HData have in common."""

    def __init__(self, header):
        self.cccid, self.ttag, self.offset, self.length = struct.unpack_from('<HHII', header, 8)


def le(data, offset, size):
    return int.from_bytes(data[offset:offset + size], 'little')


def text(data, offset, size):
    """ASCII text of a fixed field without its padding."""
    return data[offset:offset + size].rstrip(b' \0').decode('ascii', 'replace')


class DiscoveryEntry:
    def __init__(self, data):
        (self.trtype, self.adrfam, self.subtype, self.treq, self.portid, self.cntlid, self.asqsz,
         self.eflags) = struct.unpack_from('<BBBBHHHH', data, 0)
        self.trsvcid, self.subnqn = text(data, 32, 32), text(data, 256, 256)
        self.traddr, self.sectype = text(data, 512, 256), data[768]
        self.data = bytes(data)


class DiscoveryLog:
    def __init__(self, data):
        self.genctr, self.numrec, self.recfmt = struct.unpack_from('<QQH', data, 0)
        if len(data) < 1024 + 1024 * self.numrec:
            raise Violation(f'{self.numrec} discovery entries in {len(data)} bytes')
        self.entries = [DiscoveryEntry(data[1024 + 1024 * i:2048 + 1024 * i])
                        for i in range(self.numrec)]


# ---- one connection ----

class Connection:
    """A TCP connection to the target. After connect_ic() the digests and alignments hold."""

    def __init__(self, address):
        self.timeout = TIMEOUT_S
        self.sock = socket.socket(socket.AF_INET6 if ':' in address[0] else socket.AF_INET)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(address)
        except OSError as error:
            self.sock.close()
            raise Closed(f'no connection to {address[0]}:{address[1]}: {error}') from error
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.hdgst = self.ddgst = False
        self.hpda_bytes, self.cpda_bytes = 4, 4
        self.maxh2cdata, self.maxr2t = 4096, 0

    # Sending.

    def send(self, data, timeout=None):
        try:
            self.sock.settimeout(timeout or self.timeout)
            self.sock.sendall(data)
        except socket.timeout as error:
            raise Silence(f'the target did not take {len(data)} bytes') from error
        except OSError as error:
            raise Closed(f'while sending: {error}') from error

    def send_pieces(self, data, *cuts):
        """Sends in pieces that end at the given offsets, each in a segment of its own."""
        last = 0
        for cut in (*cuts, len(data)):
            if cut > last:
                self.send(data[last:cut])
                last = cut

    def send_bytewise(self, data):
        self.send_pieces(data, *range(1, len(data)))

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.sock.close()

    # Receiving.

    def _fill(self, size, deadline):
        while len(self.buffer) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silence(f'{len(self.buffer)} of {size} bytes came in time')
            try:
                self.sock.settimeout(left)
                piece = self.sock.recv(1 << 20)
            except socket.timeout:
                continue
            except OSError as error:
                raise Closed(f'the target reset the connection: {error}') from error
            if not piece:
                raise Closed(f'the target closed the connection, {len(self.buffer)} of {size} '
                             'bytes came')
            self.buffer += piece

    def _take(self, size):
        taken = bytes(memoryview(self.buffer)[:size])
        del self.buffer[:size]
        return taken

    def recv_raw(self, timeout=None):
        """The next PDU, checked; a C2HTermReq too is returned."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        self._fill(8, deadline)
        pdu_type, flags, hlen, pdo, plen = struct.unpack_from('<BBBBI', self.buffer)
        if pdu_type not in FROM_CONTROLLER:
            raise Violation(f'PDU type {pdu_type:02X} from a controller')
        if hlen != HLEN[pdu_type]:
            raise Violation(f'{PDU_NAMES[pdu_type]} with hlen {hlen}')
        if not hlen <= plen <= PLEN_MAX:
            raise Violation(f'{PDU_NAMES[pdu_type]} with plen {plen}')
        self._fill(plen, deadline)
        raw = self._take(plen)
        return self._check(Pdu(pdu_type, flags, pdo, plen, raw[:hlen], b''), raw, hlen)

    def _check(self, pdu, raw, hlen):
        name = PDU_NAMES[pdu.type]
        if pdu.flags & ~FROM_CONTROLLER[pdu.type]:
            raise Violation(f'{name} with flags {pdu.flags:#x}')
        has_hdgst = self.hdgst and pdu.type not in (ICRESP, C2H_TERM)
        if bool(pdu.flags & HDGSTF) != has_hdgst:
            raise Violation(f'{name} with flags {pdu.flags:#x}, header digest '
                            f'{"on" if has_hdgst else "off"}')
        end = hlen
        if has_hdgst:
            if raw[end:end + 4] != digest(raw[:end]):
                raise Violation(f'{name}: header digest {raw[end:end + 4].hex()} is wrong')
            end += 4
        if pdu.type == C2H_TERM:
            if pdu.pdo not in (0, 24) or len(raw) > 24 + TERM_DATA_MAX:
                raise Violation(f'C2HTermReq with pdo {pdu.pdo}, plen {pdu.plen}')
            pdu.data = raw[24:]
            if any(pdu.header[14:24]):
                raise Violation('C2HTermReq with reserved bytes set')
            return pdu
        if pdu.type != C2H_DATA:
            if pdu.pdo != 0 or len(raw) != end:
                raise Violation(f'{name} with pdo {pdu.pdo}, plen {pdu.plen}')
            return pdu
        start = align_up(end, self.hpda_bytes)
        if pdu.pdo != start:
            raise Violation(f'C2HData with pdo {pdu.pdo}, not {start}')
        if any(raw[end:start]):
            raise Violation(f'C2HData with bytes in its padding: {raw[end:start].hex()}')
        length = DataHeader(pdu.header).length
        if bool(pdu.flags & DDGSTF) != self.ddgst:
            raise Violation(f'C2HData with flags {pdu.flags:#x}, data digest {self.ddgst}')
        if pdu.plen != start + length + (4 if self.ddgst else 0):
            raise Violation(f'C2HData with plen {pdu.plen} for {length} bytes at {start}')
        pdu.data = raw[start:start + length]
        if self.ddgst and raw[start + length:] != digest(pdu.data):
            raise Violation(f'C2HData: data digest {raw[start + length:].hex()} is wrong')
        return pdu

    def recv(self, timeout=None):
        """The next PDU; raises Terminated for a C2HTermReq."""
        pdu = self.recv_raw(timeout)
        if pdu.type == C2H_TERM:
            raise Terminated(*struct.unpack_from('<HI', pdu.header, 8), pdu.data)
        return pdu

    def wait_closed(self, timeout):
        """Waits until the target closes; what it sends before is thrown away."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                self.buffer.clear()
                self._fill(1, deadline)
        except Closed:
            return

    def is_quiet(self, seconds):
        """True when nothing comes for so long, not even the end."""
        try:
            self._fill(1, time.monotonic() + seconds)
        except Silence:
            return True
        except Closed:
            return False
        return False

    # Setting up.

    def use(self, dgst, hpda, maxh2cdata, maxr2t=0):
        """The parameters that ICReq and ICResp agreed on."""
        self.hdgst, self.ddgst = bool(dgst & HEADER_DIGEST), bool(dgst & DATA_DIGEST)
        self.hpda_bytes = (hpda + 1) * 4
        self.maxh2cdata, self.maxr2t = maxh2cdata, maxr2t

    def connect_ic(self, dgst=0, hpda=0, maxr2t=0):
        """Exchanges ICReq and ICResp as a host should, with what a host must check."""
        self.send(icreq(hpda=hpda, dgst=dgst, maxr2t=maxr2t))
        pdu = self.recv()
        if pdu.type != ICRESP:
            raise Violation(f'{PDU_NAMES[pdu.type]} in answer to ICReq')
        answer = IcResp(pdu.header)
        if answer.pfv != 0 or answer.cpda > 31 or answer.dgst & ~dgst:
            raise Violation(f'ICResp with PFV {answer.pfv}, CPDA {answer.cpda}, '
                            f'digests {answer.dgst:#x}')
        if answer.maxh2cdata < 4096 or answer.maxh2cdata % 4:
            raise Violation(f'ICResp with MAXH2CDATA {answer.maxh2cdata}')
        if any(answer.reserved):
            raise Violation('ICResp with reserved bytes set')
        self.use(answer.dgst, hpda, answer.maxh2cdata, maxr2t)
        self.cpda_bytes = (answer.cpda + 1) * 4
        return answer

    # PDUs with what was agreed on.

    def capsule(self, entry, data=b'', **wrong):
        return build_pdu(CAPSULE_CMD, entry, data, **{
            'hdgst': self.hdgst, 'ddgst': self.ddgst, 'alignment': self.cpda_bytes, **wrong})

    def h2c_data(self, cccid, ttag, offset, data, last=True, *, length=None, **wrong):
        body = struct.pack('<HHII4x', cccid, ttag, offset,
                           len(data) if length is None else length)
        return build_pdu(H2C_DATA, body, data, **{
            'flags': LAST if last else 0, 'hdgst': self.hdgst, 'ddgst': self.ddgst,
            'alignment': self.cpda_bytes, **wrong})
