"""The public plug-in API: what probes, checks, tables and report formats may use. Everything else of the core is private.

A plug-in package is named by an entry point (groups `infra_doctor.probes`, `.checks`, `.tables`, `.reports`, …); each of
its modules offers the tuples `PROBES`, `CHECKS`, `RULES` or `FORMATS`. `API_VERSION` is raised when something here changes
its meaning; a plug-in package may set `REQUIRES_API` to the version that it was written for."""

API_VERSION = 1
