"""The core's own few finding ids: id -> (title, explanation)."""

CORE_IDS: dict[str, tuple[str, str]] = {
    "PROBE-FAILED": (
        "something that is there could not be looked at",
        """A probe ended by an error or at its deadline, a file could not be read, or a device gave no answer. This is
neither healthy nor broken: the rest of the report stands, and what depends on the missing observation says so. Where the
subject is an accelerator, `check` leaves with exit code 3 (`--lenient` turns that off).

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
}
