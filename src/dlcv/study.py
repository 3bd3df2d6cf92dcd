"""Many trainings, one after the other or a few at a time: finished ones are skipped, interrupted ones resumed."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dlcv.cli import ArgumentParser, UsageError


@dataclass(frozen=True)
class Job:
    """A script and its flags without --out; done when out/`product` exists. `resume`: flags that let it continue."""

    out: Path
    script: Path
    flags: tuple[str, ...]
    product: str = "model.pth"
    resume: tuple[str, ...] = ("--resume",)

    def is_done(self) -> bool:
        return (self.out / self.product).exists()

    def is_begun(self) -> bool:
        return (self.out / "last.pt").exists() and not self.is_done()


def arguments(parser: ArgumentParser) -> tuple[argparse.Namespace, tuple[str, ...]]:
    """Parses the command line, with --jobs and --list; the words behind -- are for the scripts that are run."""
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (default 2)")
    parser.add_argument("--list", action="store_true", help="only say what is done and what is left")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    return parser.parse_args(sys.argv[1:split]), tuple(sys.argv[split + 1 :])


def work(jobs: Sequence[Job], at_once: int, list_only: bool) -> int:
    """Runs what is left, `at_once` at a time, one thread each, and says what came of it. Exit code 0 if all went well.

    SIGTERM, SIGINT and SIGHUP are passed on: the trainings save and end, the next call continues them.
    """
    if at_once < 1:
        raise UsageError(f"--jobs {at_once}: must be at least 1")
    left = [job for job in jobs if not job.is_done()]
    begun = [job for job in left if job.is_begun()]
    print(
        f"{len(jobs) - len(left)} of {len(jobs)} runs are done, {len(begun)} begun, {len(left) - len(begun)} not begun"
    )
    if list_only:
        for job in left:
            print(f"  left: {job.out}{' (begun)' if job in begun else ''}")
        return 0

    running: list[subprocess.Popen[bytes]] = []

    def stop(number: int, _: object) -> None:
        left.clear()
        for process in running:
            process.send_signal(signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)

    def train(job: Job) -> bool:
        if job not in left:  # stopped meanwhile
            return False
        job.out.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(job.script), *job.flags, "--out", str(job.out), *job.resume]
        with (job.out / "stderr.txt").open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
            running.append(process)
            code = process.wait()
        last_line = (job.out / "stderr.txt").read_text().strip().splitlines()[-1:]
        print(f"{'done' if code == 0 else 'FAILED'}: {job.out}: {' '.join(last_line)}", flush=True)
        return code == 0

    with ThreadPoolExecutor(at_once) as pool:
        return 0 if all(list(pool.map(train, list(left)))) else 1
