"""Built-in plug-ins: probes, checks, tables. They use `infra_doctor.plugin` alone, as a third party's would."""
