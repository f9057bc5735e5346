"""The core's own few finding ids: id -> (title, explanation)."""

# Those that are never `fail` or `warn`.
ALWAYS_ERROR = ("PROBE-FAILED", "PLUGIN-FAILED")
CORE_IDS: dict[str, tuple[str, str]] = {
    "PROBE-FAILED": (
        "something that is there could not be looked at",
        """A probe ended by an error or at its deadline, a file could not be read, or a device gave no answer. This is
neither healthy nor broken: the rest of the report stands, and what depends on the missing observation says so. Where the
subject is an accelerator, `check` leaves with exit code 3. `--lenient` turns that off for all of them, a waiver that names
the subject for one; what the policy requires of it stays an error of its own.

What to do: the evidence names the place. Run as a user who may read it, or repair what hangs; a vendor library that
never answers usually means a driver that is stuck: the kernel log says more.""",
    ),
    "PLUGIN-FAILED": (
        "a plug-in could not be loaded or failed",
        """A probe, check, table or report format raised an error, gave something of the wrong form, or needs a newer
plug-in API. The others went on. The subject names it, the evidence the place.

What to do: for a third party's plug-in, update or uninstall the distribution named in the evidence, or run with
`--no-plugins`; for one of our own, send us the output of `--debug`.""",
    ),
    "REQUIREMENT": (
        "the machine is not what the policy requires",
        """A line of the policy's `[require]` (or `--require`) is not met. The first evidence names the line, the others what was
seen. Where the thing could not be looked at (a probe failed, this form of machine does not show it), the status is `error`
and `check` leaves with exit code 3 (`--lenient` turns that off); it never passes for that.

What to do: change the machine, or the line. Where another finding explains it, repair that one first.""",
    ),
    "THRESHOLD": (
        "a measurement is outside what the policy allows",
        """A line of the policy's `[measure]` is not met by a measurement of this run, or of the report named by
`--measurements`. Each device counts for itself. Where nothing of that name was measured, the threshold is skipped.

What to do: look at the conditions that are kept with the measurement (clocks, power, temperature, other processes) and
at the findings about the hardware's state; measure again on an idle machine before the threshold is moved.""",
    ),
    "WAIVER-EXPIRED": (
        "a waiver of the policy has ended",
        """The day in a waiver's `until` has passed (by the real date in UTC; the day itself still counts). What it
covered counts again, where it is still there.

What to do: repair what was waived, or look at the reason again and move the date.""",
    ),
    "BASELINE": (
        "devices or measurements are worse than in the baseline",
        """With `--baseline FILE`, findings that are no worse than in that report do not count. This finding says what
no other one would: a device of the baseline is gone, or a measurement fell by more than its noise.

What to do: find out what changed (`infra-doctor diff BASELINE NOW`); where this is how the machine is meant to be, write a
new baseline: `infra-doctor check --json > FILE`.""",
    ),
}
