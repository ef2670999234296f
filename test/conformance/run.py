#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the conformance suite against an NVMe/TCP target and says what passed.

  run.py --xsand PROGRAM                    starts xsand itself, in several configurations
  run.py --address A --port P --nqn NQN     any target; its data in that subsystem is destroyed
  run.py --central PROGRAM                  the central discovery controller, started the same way

Cases that sleep run in threads beside the others. One line per case; the last line is
"N passed, N failed, N skipped"; the exit status is 1 when something failed.
"""

import argparse
import concurrent.futures
import copy
import importlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
from harness import CASES, Central, Context, Daemon, Rpc, Skip, Target, free_port, listener_address
from nvmetcp import Failure

TOPICS = ['self', 'icreq', 'pdu', 'connect', 'properties', 'identify', 'logs', 'features', 'aer',
          'keepalive', 'abort', 'io', 'datatransfer', 'digest', 'discovery', 'hostile', 'limits',
          'multi', 'central']

NQN = 'nqn.2026-11.io.xsan:conf'
CENTRAL_NQN = 'nqn.2026-11.io.xsan:central'
CENTRAL_TARGETS = 200
CONNECT_TIMEOUT_MS = 4000
WAITING_THREADS = 32

# What differs from base_config(): the transport's options and the reactors.
CONFIGS = {
    'default': ({}, {}),
    'no-capsule': ({'in_capsule_data_size': 0, 'max_io_size': '128KiB', 'max_h2c_data': 8192},
                   {'count': 2}),
    'capsule-4k': ({'in_capsule_data_size': 4096, 'max_io_size': '256KiB', 'max_h2c_data': 65536,
                    'max_queue_depth': 32, 'max_queues': 4}, {'count': 2}),
    'few-buffers': ({}, {'buffer_size': '4MiB'}),
}


def base_config(directory, port):
    return {
        'log': {'level': 'info', 'target': 'stderr', 'format': 'text'},
        'reactors': {'count': 1},
        'rpc': {'socket': f'{directory}/xsand.sock'},
        'state_dir': f'{directory}/state',
        'devices': [
            {'driver': 'malloc', 'name': 'mem0', 'size': '64MiB', 'block_size': 512},
            {'driver': 'file', 'name': 'disk0', 'filename': f'{directory}/disk0.img',
             'size': '64MiB', 'block_size': 4096}],
        'nvmf': {
            'transport': {'in_capsule_data_size': 8192, 'max_io_size': '1MiB', 'max_h2c_data': 0,
                          'max_queue_depth': 128, 'max_queues': 16,
                          'connect_timeout_ms': CONNECT_TIMEOUT_MS},
            'subsystems': [{
                'nqn': NQN, 'serial_number': 'XSAN0001', 'allow_any_host': True,
                'namespaces': [{'nsid': 1, 'device': 'mem0'}, {'nsid': 2, 'device': 'disk0'}],
                'listeners': [{'trtype': 'tcp', 'traddr': '127.0.0.1', 'trsvcid': str(port)}]}]}}


class Report:
    """Counts and prints outcomes; cases in threads report too."""

    def __init__(self, verbose):
        self.verbose = verbose
        self.counts = {'ok': 0, 'FAIL': 0, 'skip': 0}
        self.failures = []
        self.lock = threading.Lock()

    def add(self, outcome, name, seconds=0.0, message=''):
        with self.lock:
            self.counts[outcome] += 1
            line = f'{outcome:4} {name} ({seconds:.2f} s)'
            print(line + (f': {message}' if message else ''), flush=True)
            if outcome == 'FAIL':
                self.failures.append(name)

    def take(self, counts, failures):
        """What another process has reported."""
        for outcome, count in counts.items():
            self.counts[outcome] += count
        self.failures += failures

    def finish(self):
        if self.failures:
            print(f'failed: {" ".join(self.failures)}')
        print(f'{self.counts["ok"]} passed, {self.counts["FAIL"]} failed, '
              f'{self.counts["skip"]} skipped', flush=True)
        return 1 if self.counts['FAIL'] or not self.counts['ok'] else 0


def where(error):
    """The line of a case in which it failed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if os.path.basename(frame.filename).startswith('test_')]
    return f' [{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}]' if frames else ''


def run_case(case, target, label, report, seed):
    name = f'{label}{case.name}'
    start = time.monotonic()
    context = Context(target, case.name, seed)
    try:
        if case.rpc and not target.rpc:
            raise Skip('needs the management socket (--rpc)')
        if case.rpc:
            # Two of these at once would see each other's events.
            with target.rpc_lock:
                try:
                    case.function(context)
                finally:
                    context.close()
        else:
            case.function(context)
        outcome, message = 'ok', ''
    except Skip as reason:
        outcome, message = 'skip', str(reason)
    except Failure as error:
        outcome, message = 'FAIL', f'{error}{where(error)} -- {case.rule}'
    except Exception as error:  # pylint: disable=broad-exception-caught
        outcome, message = 'FAIL', f'{type(error).__name__}: {error}{where(error)}'
        if report.verbose:
            message += '\n' + traceback.format_exc()
    finally:
        context.close()
    report.add(outcome, name, time.monotonic() - start, message)


class Run:
    """One target, from its start to its end, and the cases for it."""

    def __init__(self, label, cases, report, seed):
        self.label, self.cases, self.report, self.seed = label, cases, report, seed

    def run(self, target, still_alive, restart):
        """Runs the cases. still_alive() says whether the target lives; restart() revives it."""
        waiting = [case for case in self.cases if case.waits]
        with concurrent.futures.ThreadPoolExecutor(WAITING_THREADS) as pool:
            futures = [pool.submit(run_case, case, target, self.label, self.report, self.seed)
                       for case in waiting]
            for case in self.cases:
                if case.waits:
                    continue
                run_case(case, target, self.label, self.report, self.seed)
                if not still_alive():
                    self.report.add('FAIL', f'{self.label}{case.name}', 0.0,
                                    'the target died during this case')
                    restart()
            for future in futures:
                future.result()


def run_configuration(name, program, cases, report, options):
    """Starts xsand in one configuration, runs the cases, stops it and looks at how it ended."""
    changes, reactors = CONFIGS[name]
    directory = tempfile.mkdtemp(prefix='xsan-conf-')
    config = copy.deepcopy(base_config(directory, free_port()))
    config['nvmf']['transport'].update(changes)
    config['reactors'].update(reactors)
    label = f'{name}/'
    daemon = None
    is_good = False
    start = time.monotonic()

    def revive():
        nonlocal daemon
        print(f'--- the log of the dead xsand:\n{daemon.log_tail()}\n---', flush=True)
        os.rename(daemon.log_path, f'{daemon.log_path}.{int(time.time() * 1000)}')
        daemon = Daemon(program, directory, config)

    try:
        daemon = Daemon(program, directory, config)
        target = Target(listener_address(config), NQN, Rpc(config['rpc']['socket']), config,
                        CONNECT_TIMEOUT_MS / 1000)
        Run(label, cases, report, options.seed).run(target, lambda: daemon.is_running(), revive)
        problems = daemon.stop()
        is_good = not problems
        report.add('ok' if is_good else 'FAIL', f'{label}end', time.monotonic() - start,
                   '; '.join(problems) + (f'\n{daemon.log_tail()}' if problems else ''))
    except Failure as error:
        report.add('FAIL', f'{label}start', time.monotonic() - start, str(error))
    finally:
        if daemon and daemon.is_running():
            daemon.kill()
        if is_good and not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f'--- kept: {directory}', flush=True)


def in_process(function, *args):
    """What function(*args, pipe) sends through the pipe, from a process that is forked for it."""
    context = multiprocessing.get_context('fork')
    theirs, ours = context.Pipe()
    process = context.Process(target=function, args=(*args, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        process.join()
        return {'FAIL': 1}, [f'a process that ended with {process.exitcode}']
    finally:
        process.join()


def run_configurations(cases, report, options):
    """Runs the cases against each configuration that is asked for, two at a time: in processes of
    their own, which tell what came of it."""
    program = os.path.abspath(options.xsand)
    jobs = []
    for name in CONFIGS:
        chosen = [case for case in cases if case.config == name or not case.config and
                  (case.every or name == 'default' or options.config)]
        if chosen and (not options.config or name in options.config):
            jobs.append((name, chosen))

    def run(number, results):
        name, chosen = jobs[number]
        own = Report(options.verbose)
        run_configuration(name, program, chosen, own, options)
        results.send((own.counts, own.failures))

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(in_process, run, number) for number in range(len(jobs))]:
            report.take(*future.result())


def run_central(program, cases, report, options):
    """Starts the program `central`, runs the cases for it, ends it and looks at how it ended."""
    directory = tempfile.mkdtemp(prefix='xsan-conf-')
    start = time.monotonic()
    central = None
    problems = []
    try:
        central = Central(program, directory, CENTRAL_TARGETS)
        target = Target(('127.0.0.1', central.port), CENTRAL_NQN, None, None,
                        CONNECT_TIMEOUT_MS / 1000)
        target.central = central
        # When it has died all that follow fail, and say so.
        Run('', cases, report, options.seed).run(target, central.is_running, lambda: None)
        problems = central.stop()
        report.add('FAIL' if problems else 'ok', 'central/end', time.monotonic() - start,
                   '; '.join(problems) + (f'\n{central.log_text()}' if problems else ''))
    except Failure as error:
        report.add('FAIL', 'central/start', time.monotonic() - start, str(error))
    finally:
        if central and central.is_running():
            central.kill()
        if not problems and not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f'--- kept: {directory}', flush=True)


def parse_options():
    parser = argparse.ArgumentParser(description='NVMe/TCP conformance suite',
                                     epilog='The target\'s namespaces are overwritten.')
    parser.add_argument('--xsand', metavar='PROGRAM', help='start this xsand for the run')
    parser.add_argument('--central', metavar='PROGRAM',
                        help='start this central discovery controller, for its cases alone')
    parser.add_argument('--config', choices=sorted(CONFIGS), action='append',
                        help='with --xsand: only this configuration (may be repeated)')
    parser.add_argument('--address', default='127.0.0.1')
    parser.add_argument('--port', type=int)
    parser.add_argument('--nqn', default=NQN)
    parser.add_argument('--rpc', metavar='SOCKET', help='management socket of the target')
    parser.add_argument('--connect-timeout', type=float, default=30.0, metavar='SECONDS',
                        help='within which the target closes a silent connection (30)')
    parser.add_argument('-k', dest='pattern', default='', metavar='PATTERN',
                        help='only cases whose name contains PATTERN')
    parser.add_argument('--seed', type=int, default=None, help='of every random choice')
    parser.add_argument('--keep', action='store_true', help='keep xsand\'s directory')
    parser.add_argument('--list', action='store_true', help='print the cases and their rules')
    parser.add_argument('-v', '--verbose', action='store_true', help='tracebacks of broken cases')
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().getrandbits(32)
    return options


def main():
    options = parse_options()
    for topic in TOPICS:
        importlib.import_module(f'test_{topic}')
    cases = [case for case in CASES if options.pattern in case.name]
    if options.list:
        for case in cases:
            print(f'{case.name}: {case.rule}')
        return 0
    report = Report(options.verbose)
    print(f'seed {options.seed}', flush=True)
    own = [case for case in cases if case.name.startswith('self.')]
    cases = [case for case in cases if not case.name.startswith('self.')]
    for case in own:
        run_case(case, None, '', report, options.seed)
    central = [case for case in cases if case.central]
    cases = [case for case in cases if not case.central]
    if options.central:
        run_central(os.path.abspath(options.central), central, report, options)
    elif options.xsand:
        run_configurations(cases, report, options)
    elif options.port:
        target = Target((options.address, options.port), options.nqn,
                        Rpc(options.rpc) if options.rpc else None, None, options.connect_timeout)
        cases = [case for case in cases if not case.config]
        Run('', cases, report, options.seed).run(target, lambda: True, lambda: None)
    elif cases and not own:
        print('run.py: neither --xsand nor --port is given', file=sys.stderr)
        return 2
    return report.finish()


if __name__ == '__main__':
    sys.exit(main())
