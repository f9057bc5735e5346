"""JSON: the report as a document, in the form that `infra-doctor schema` publishes."""

from typing import Any

from infra_doctor.plugin import Report, ReportFormat, encode_json


def render(report: Report, options: dict[str, Any]) -> str:
    """The document with two spaces of indent."""
    return encode_json(report)


FORMATS = (ReportFormat(name="json", help="the whole report as JSON", render=render, suffix=".json"),)
