"""One session's knowledge: what its marks ask for, and what the checks, at most one per set of needs, have answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from infra_doctor.model.record import record
from infra_doctor.model.report import Report
from infra_doctor.pytest_plugin import MARK, asking
from infra_doctor.pytest_plugin.asking import Answer
from infra_doctor.pytest_plugin.marks import Asked, Names, Need, read_mark
from infra_doctor.pytest_plugin.verdicts import NoAnswerError, Outcome, verdict


@record
class Lacking:
    """What a test needs and has not, a line each; `fails` says that it is not to be skipped for that."""

    texts: list[str]
    fails: bool = False


@dataclass
class Doctor:
    """`root` is where policy files are looked for, `timeout_s` bounds one look at the machine."""

    root: str
    timeout_s: float
    whole: Answer | None = None  # of the check that held all that the session's marks ask for
    _names: Names = field(default_factory=Names)
    _required: dict[str, Answer] = field(default_factory=dict)  # by requirement
    _policies: dict[str, Answer] = field(default_factory=dict)  # by path
    _marks: dict[str, Asked] = field(default_factory=dict)  # by what stands in them

    def read(self, item: pytest.Item) -> list[Asked]:
        """The marks of a test, its own first. Raises UsageError."""
        out = []
        for mark in item.iter_markers(MARK):
            written = repr((mark.args, sorted(mark.kwargs.items())))
            if written not in self._marks:
                self._marks[written] = read_mark(mark.args, mark.kwargs, self._names, self.root)
            out.append(self._marks[written])
        return out

    def lacking(self, item: pytest.Item, mode: str) -> Lacking:
        """What the test has not. Looks at the machine where that has not been done. Raises UsageError, NoAnswerError."""
        texts: dict[str, None] = {}
        fails = False
        for asked in self.read(item):
            for need in asked.needs:
                judged = verdict(need, self._answer(need, item.session.items))
                if judged.outcome is not Outcome.MET:
                    texts[judged.text] = None
                    fails = fails or (asked.on_missing or mode) == "fail"
        return Lacking(texts=list(texts), fails=fails)

    def report(self, items: Sequence[pytest.Item]) -> Report:
        """The report of this session. Raises NoAnswerError where there is none."""
        answer = self._whole(items)
        if answer.report is None:
            raise NoAnswerError(answer.fault or f"this machine could not be looked at: {answer.hung}")
        return answer.report

    def text(self, items: Sequence[pytest.Item]) -> str:
        """The same as JSON, as `check --json` prints it."""
        self.report(items)
        return self._whole(items).text

    def _answer(self, need: Need, items: Sequence[pytest.Item]) -> Answer:
        if need.policy:
            if need.policy not in self._policies:
                self._policies[need.policy] = asking.ask((f"--policy={need.policy}",), self.timeout_s)
            return self._policies[need.policy]
        whole = self._whole(items)
        if not need.requirement or need.requirement in self._required:
            return self._required.get(need.requirement, whole)
        return self._ask(self._together([need, *self._needs(items)]))

    def _whole(self, items: Sequence[pytest.Item]) -> Answer:
        if self.whole is None:
            self.whole = self._ask(self._together(self._needs(items)))
        return self.whole

    def _ask(self, requirements: Sequence[str]) -> Answer:
        answer = asking.ask(("--no-policy", *(f"--require={r}" for r in requirements)), self.timeout_s)
        self._required.update(dict.fromkeys(requirements, answer))
        return answer

    def _together(self, needs: Sequence[Need]) -> list[str]:
        """What one more check can hold: of each key the first value that was not held yet, as several of one would be judged
        as one."""
        found: dict[str, str] = {}
        for need in needs:
            if need.requirement and need.requirement not in self._required:
                found.setdefault(need.key, need.requirement)
        return sorted(found.values())

    def _needs(self, items: Sequence[pytest.Item]) -> list[Need]:
        """What the marks of these tests ask for."""
        found: dict[Need, None] = {}
        for item in items:
            if MARK not in item.keywords:
                continue
            try:
                found.update((need, None) for asked in self.read(item) for need in asked.needs)
            except pytest.UsageError:  # told where that test would run
                continue
        return list(found)
