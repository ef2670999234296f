# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of alerts share: a webhook, and a rule that tells it."""

import http.server
import json
import threading

from registry_harness import PATIENCE_S

RULE = 'no targets are well'


class Hook(http.server.ThreadingHTTPServer):
    """Takes what is posted; refuses the first `refusals`, and takes nothing that comes while it holds."""

    def __init__(self, refusals=0):
        self.got, self.refusals, self.refused, self.held = [], refusals, 0, 0
        self.released = threading.Event()
        self.released.set()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                if not hook.released.is_set():
                    hook.held += 1
                    hook.released.wait(PATIENCE_S)
                    self.close_connection = True
                    return
                refuse = hook.refused < hook.refusals
                hook.refused += refuse
                if not refuse:
                    hook.got.append(body)
                self.send_response(500 if refuse else 200)
                self.send_header('Content-Length', '0')
                self.end_headers()

            def log_message(self, *_):
                pass
        super().__init__(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server_address[1]}/hook'
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def hold(self):
        self.released.clear()

    def release(self):
        self.released.set()

    def states(self):
        """What was told, of one rule."""
        return [alert['state'] for body in self.got for alert in body['alerts']]

    def end(self):
        self.release()
        self.shutdown()
        self.server_close()


def rule(hook, name=RULE, **members):
    """One that fires as soon as most targets are ill."""
    return {'rule_name': name, 'metric_type': 'healthy_target_ratio', 'operator': 'less_than',
            'threshold_value': 0.5, 'duration_sec': 0, 'severity': 'high',
            'notification_targets': f'webhook:{hook.url}', **members}
