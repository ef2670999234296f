#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for Consul, for tests on machines that have none (Debian 12 has no package of it): the
part of its KV store that the registry uses, on one loopback port, with its data in a file that
outlives a kill. It is not Consul: there are no other servers, no leader and no Raft, so what happens
when those fail is not shown by it.

What it does is what Consul 1.8.7 was seen to do: one index for all writes; transactions that hold or
do not, with at most 64 operations and 512 KiB; a write of what is there already does not change the
ModifyIndex; blocking queries with their index; a token that is needed, when one is given."""

import argparse
import base64
import bisect
import http.server
import json
import os
import random
import re
import threading
import time
import urllib.parse

OPS_MAX = 64
REQUEST_MAX = 512 << 10
WAIT_DEFAULT_S, WAIT_MAX_S = 300, 600


class Stale(Exception):
    """Why an operation of a transaction does not hold."""


class Store:
    """The keys. A transaction is made on a draft, so that one that does not hold leaves nothing."""

    def __init__(self, path):
        self.index = 6
        self.entries = {}  # key: (value in base64 or None, CreateIndex, ModifyIndex)
        self.keys = []  # sorted
        self.changed = threading.Condition()
        self.path = path
        if os.path.exists(path):
            self._replay()
        self.log = open(path, "a", encoding="utf-8")

    def _replay(self):
        with open(self.path, "r+", encoding="utf-8") as log:
            good = 0
            for line in iter(log.readline, ""):
                if not line.endswith("\n"):
                    break  # the last one was being written
                good = log.tell()
                self._apply(json.loads(line))
            log.truncate(good)

    def _apply(self, record):
        self.index = record["index"]
        for key, entry in record["changes"].items():
            if key in self.entries:
                self.keys.pop(bisect.bisect_left(self.keys, key))
                del self.entries[key]
            if entry is not None:
                bisect.insort(self.keys, key)
                self.entries[key] = tuple(entry)

    def below(self, prefix):
        """The keys that begin with it."""
        at = bisect.bisect_left(self.keys, prefix)
        while at < len(self.keys) and self.keys[at].startswith(prefix):
            yield self.keys[at]
            at += 1

    @staticmethod
    def shown(key, entry, with_value=True):
        return {"LockIndex": 0, "Key": key, "Flags": 0, "Value": entry[0] if with_value else None,
                "CreateIndex": entry[1], "ModifyIndex": entry[2]}

    def _run(self, op, index, draft):
        """One operation on the draft, which has what it changes; its results."""
        verb, key = op["Verb"], op["Key"]
        entry = draft[key] if key in draft else self.entries.get(key)
        if verb in ("cas", "set"):
            expected = op.get("Index", 0)
            if verb == "cas" and expected != (entry[2] if entry else 0):
                raise Stale(f'failed to set key "{key}", index is stale')
            value = op.get("Value")
            if not entry or entry[0] != value:
                entry = draft[key] = (value, entry[1] if entry else index, index)
            return [self.shown(key, entry, False)]
        if verb == "get":
            if not entry:
                raise Stale(f'key "{key}" doesn\'t exist')
            return [self.shown(key, entry)]
        if verb == "get-tree":
            found = {each: self.entries[each] for each in self.below(key)}
            found.update({each: it for each, it in draft.items() if each.startswith(key)})
            return [self.shown(each, found[each]) for each in sorted(found) if found[each]]
        if verb in ("delete", "delete-cas"):
            if verb == "delete-cas" and entry and entry[2] != op.get("Index", 0):
                raise Stale(f'failed to delete key "{key}", index is stale')
            if entry:
                draft[key] = None
            return []
        if verb == "delete-tree":
            draft.update({each: None for each in self.below(key)})
            draft.update({each: None for each in draft if each.startswith(key)})
            return []
        raise Stale(f'unknown KV verb "{verb}"')

    def transaction(self, ops):
        """(results, errors), one of them None."""
        draft, results, errors = {}, [], []
        with self.changed:
            index = self.index + 1
            for number, op in enumerate(ops):
                try:
                    results += self._run(op["KV"], index, draft)
                except Stale as why:
                    errors.append({"OpIndex": number, "What": str(why)})
            if errors:
                return None, errors
            if any(op["KV"]["Verb"] not in ("get", "get-tree") for op in ops):
                record = {"index": index, "changes": draft}
                self.log.write(json.dumps(record) + "\n")
                self.log.flush()
                self._apply(record)
                self.changed.notify_all()
        return results, None

    def query(self, key, after, wait_s):
        """One key, when it has another index than `after`, or after the wait: (index, entry)."""
        until = time.monotonic() + wait_s + random.random() * wait_s / 16
        with self.changed:
            while True:
                entry = self.entries.get(key)
                index = entry[2] if entry else self.index
                left = until - time.monotonic()
                if after == 0 or index > after or left <= 0:
                    return index, entry
                self.changed.wait(left)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", index=None):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if index is not None:
            self.send_header("X-Consul-Index", str(index))
            self.send_header("X-Consul-Knownleader", "true")
        self.end_headers()
        self.wfile.write(body)

    def begin(self):
        """(path, query, whether the token is right), or None when it was answered: an unknown one."""
        parts = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
        token = self.headers.get("X-Consul-Token", "")
        if self.server.token and token not in ("", self.server.token):
            self.read_body()
            self.answer(403, b"ACL not found")
            return None
        return parts.path, query, not self.server.token or token == self.server.token

    def read_body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self):
        request = self.begin()
        if request is None:
            return
        path, query, is_allowed = request
        store, key = self.server.store, path.removeprefix("/v1/kv/")
        if path == "/v1/status/leader":
            self.answer(200, "127.0.0.1:8300")
        elif key == path:
            self.answer(404)
        elif "keys" in query:
            with store.changed:
                keys = list(store.below(key)) if is_allowed else []
                self.answer(200 if keys else 404, keys or b"", store.index)
        elif not is_allowed:
            self.answer(403, b"Permission denied")
        else:
            wait = re.fullmatch(r"(\d+)s", query.get("wait", [f"{WAIT_DEFAULT_S}s"])[0])
            after = query.get("index", ["0"])[0]
            if not wait or not after.isdigit():
                self.answer(400, b"Invalid wait time or index")
                return
            index, entry = store.query(key, int(after), min(int(wait[1]), WAIT_MAX_S))
            self.answer(*((200, [store.shown(key, entry)]) if entry else (404,)), index=index)

    def do_PUT(self):
        request = self.begin()
        if request is None:
            return
        path, _, is_allowed = request
        body = self.read_body()
        if len(body) > REQUEST_MAX:
            self.answer(413, f"Request body({len(body)} bytes) too large".encode())
        elif path == "/v1/txn":
            self.transaction(body, is_allowed)
        elif path.startswith("/v1/kv/") and is_allowed:
            value = base64.b64encode(body).decode()
            op = {"Verb": "set", "Key": path.removeprefix("/v1/kv/"), "Value": value}
            self.server.store.transaction([{"KV": op}])
            self.answer(200, b"true")
        else:
            self.answer(403, b"Permission denied")

    def transaction(self, body, is_allowed):
        try:
            ops = json.loads(body)
            for op in ops:
                base64.b64decode(op["KV"].get("Value") or "", validate=True)
        except (ValueError, TypeError, KeyError, AttributeError) as why:
            self.answer(400, f"Failed to parse body: {why}".encode())
            return
        if len(ops) > OPS_MAX:
            self.answer(413, f"Transaction contains too many operations ({len(ops)} > {OPS_MAX})"
                        .encode())
            return
        if not is_allowed:
            results, errors = None, [{"OpIndex": 0, "What": "Permission denied"}]
        else:
            results, errors = self.server.store.transaction(ops)
        results = [{"KV": result} for result in results] if results is not None else None
        self.answer(409 if errors else 200, {"Results": results, "Errors": errors})

    def do_DELETE(self):
        request = self.begin()
        if request is None:
            return
        path, query, is_allowed = request
        if not is_allowed:
            self.answer(403, b"Permission denied")
            return
        verb = "delete-tree" if "recurse" in query else "delete"
        self.server.store.transaction(
            [{"KV": {"Verb": verb, "Key": path.removeprefix("/v1/kv/")}}])
        self.answer(200, b"true")


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", required=True, help="the file that its data is in")
    parser.add_argument("--token", default="", help="what X-Consul-Token must be")
    args = parser.parse_args()
    server = Server(("127.0.0.1", args.port), Handler)
    server.store, server.token = Store(args.data), args.token
    server.serve_forever()


if __name__ == "__main__":
    main()
