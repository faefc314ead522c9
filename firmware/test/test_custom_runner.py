"""PlatformIO test runner: starts the program on the environment's board and reads "PASS ..." and "FAIL ..." lines.

Nothing is fetched; check.h is all that tests need.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import click
from platformio.public import TestCase, TestRunnerBase, TestStatus

TIMEOUT_S = 900
SOURCES = str(Path(__file__).resolve().parents[2])
STATUS = {"PASS": TestStatus.PASSED, "FAIL": TestStatus.FAILED}


class CustomTestRunner(TestRunnerBase):
    """PlatformIO finds it by its name."""

    def stage_testing(self) -> None:
        if self.options.without_testing:
            return
        environment = self.test_suite.env_name
        folder = Path(self.project_config.get("platformio", "build_dir"), environment)
        python = (folder / "python.txt").read_text(encoding="utf-8")  # the one that built it
        command = [python, "-P", "-m", "nanou_deploy.flash.launch", "test", environment, str(folder / "test.elf")]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        found = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (SOURCES, os.environ.get("PYTHONPATH"))))}
        done = subprocess.run(command, stdin=subprocess.DEVNULL, env=found, timeout=TIMEOUT_S, check=False, **output)
        for line in done.stdout.splitlines(keepends=True):
            self.on_testing_line_output(line)
        if not self.test_suite.cases:
            self._add("output", TestStatus.FAILED, f"the program printed no case; exit code {done.returncode}")
        elif done.returncode != 0 and not any(case.status is TestStatus.FAILED for case in self.test_suite.cases):
            self._add("exit code", TestStatus.FAILED, f"{done.returncode}: it ended before its last case")

    def on_testing_line_output(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        if word in STATUS:
            place, _, condition = rest.partition(" ")
            self._add(f"{Path(place).parent.name}/{Path(place).name} {condition}", STATUS[word], "")
        if word != "PASS" or self.options.verbose:
            click.echo(line, nl=False)

    def _add(self, name: str, status: TestStatus, message: str) -> None:
        self.test_suite.add_case(TestCase(name=name, status=status, message=message))
