"""The HTML report: well-formed, self-contained, readable without JavaScript, closed to text that attacks a browser."""

import base64
import hashlib
import json
import re
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

import infra_doctor_reports.html as html_format
from infra_doctor.plugin import causes, encode_json, waived
from infra_doctor_reports.html import render
from tests.support.chromium import CHROMIUM, chromium
from tests.support.sample_report import HOSTILE, empty_report, quiet_report, sample_report

VOID = {"meta", "link", "input", "br", "img", "hr"}
REPORTS = {
    "sample": sample_report(),
    "hostile": sample_report(hostile=True),
    "quiet": quiet_report(),
    "empty": empty_report(),
}


class Page(HTMLParser):
    """Elements with attributes and text; raises where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[tuple[dict[str, str | None], str]]] = {"script": [], "style": []}
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], self._open

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag in self.raw:
            self.raw[tag].append((dict(attrs), ""))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] in self.raw:
            attrs, text = self.raw[self._open[-1]].pop()
            self.raw[self._open[-1]].append((attrs, text + data))
        else:
            self.words.append(data)

    def having(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.elements if attribute in attrs]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


@pytest.fixture(scope="module", params=REPORTS)
def rendered(request):
    text = render(REPORTS[request.param], {})
    return REPORTS[request.param], text, Page(text)


def test_ids_are_unique_and_inner_links_lead_somewhere(rendered):
    _, _, page = rendered
    ids = page.having("id")
    assert len(ids) == len(set(ids))
    inner = {href[1:] for href in page.having("href") if href.startswith("#")}
    assert inner <= set(ids)
    assert set(page.having("aria-labelledby")) <= set(ids)
    assert set(page.having("for")) <= set(ids)


def test_links_are_web_links_or_inner_ones(rendered):
    _, _, page = rendered
    for tag, attrs in page.elements:
        if tag == "a":
            assert re.match(r"https?://|#", attrs["href"] or "")
            assert (attrs["href"] or "").startswith("#") or attrs["rel"] == "noopener noreferrer"
        elif "href" in attrs:
            assert (tag, attrs["href"]) == ("link", "data:,")


def test_nothing_is_fetched_and_nothing_stands_in_attributes_that_run(rendered):
    _, _, page = rendered
    for tag, attrs in page.elements:
        assert tag not in {"img", "iframe", "object", "embed", "base", "form", "audio", "video"}
        assert not {"src", "srcset", "style", "action", "formaction", "ping"} & set(attrs)
        assert not [name for name in attrs if name.startswith("on")]
    style = page.raw["style"][0][1]
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_admits_exactly_the_blocks_of_the_page(rendered):
    _, _, page = rendered
    policy = next(
        a["content"] for t, a in page.elements if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )

    def source(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    directives = dict(part.strip().split(" ", 1) for part in (policy or "").split(";"))
    scripts = [text for attrs, text in page.raw["script"] if "type" not in attrs]
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == " ".join(map(source, scripts))
    assert directives["style-src"] == " ".join(source(text) for _, text in page.raw["style"])
    assert directives["base-uri"] == directives["form-action"] == "'none'"
    assert len(scripts) == len(page.raw["style"]) == 1
    # Before it could be looked at, the policy must be there.
    names = [t for t, a in page.elements]
    assert names.index("meta") < names.index("style") < names.index("script")


def test_the_page_holds_the_whole_report_as_data(rendered):
    report, _, page = rendered
    data = next(body for attrs, body in page.raw["script"] if attrs.get("type") == "application/json")
    assert json.loads(data) == json.loads(encode_json(report))
    assert not set("<>&\u2028\u2029") & set(data)


def test_every_finding_has_an_anchor_and_shows_its_id_and_title(rendered):
    report, _, page = rendered
    ids = set(page.having("id"))
    for finding in report.findings:
        assert f"f-{finding.fingerprint}" in ids
        assert finding.id in page.text
    for cause in causes(report):
        assert cause.root.id in page.text


def test_every_component_pair_and_path_is_in_the_page():
    report = REPORTS["sample"]
    page = Page(render(report, {}))
    assert sum("part" in (a.get("class") or "").split() for _, a in page.elements) == len(report.components)
    for component in report.components:
        assert component.key in page.text
        for use in component.loaded_by:
            assert use.via in page.text
    for pair in report.compatibility:
        assert pair.detail in page.text
        assert pair.source in page.text
    for target in report.targets:
        assert all(path in page.text for path in (*target.sys_path, *target.notes))
    assert "the child did not answer in 5 s" in page.text
    assert "passwords and tokens are left out" in page.text
    assert all((f.waived.reason if f.waived else "") in page.text for f in waived(report))


def test_consequences_stand_inside_of_their_cause():
    text = render(REPORTS["sample"], {})
    root, effect = (next(f for f in REPORTS["sample"].findings if f.id == i) for i in ("CUDNN-MISSING", "ORT-FALLBACK"))
    article = text[text.index(f'id="f-{root.fingerprint}"') :]
    assert (
        article.index("Follows from CUDNN-MISSING")
        < article.index(f'id="f-{effect.fingerprint}"')
        < article.index("PROBE-FAILED")
    )


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_text(hostile):
    text = render(REPORTS["hostile"], {})
    page = Page(text)
    assert {t for t, _ in page.elements} <= {t for t, _ in Page(render(REPORTS["sample"], {})).elements}
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text.partition('id="report-data"')[0]
    )
    text.encode("utf-8")
    visible = re.sub(r"\s+", " ", hostile.split("\x1b")[0].split("\udce9")[0])
    assert f"title {visible}" in page.text
    assert "49" not in re.findall(r"and (\S+) ", page.text)


def test_states_are_words_beside_signs(rendered):
    _, text, _ = rendered
    badges = re.findall(r'<span class="badge (\w+)"><span aria-hidden="true">(.)</span> ([\w ]+)</span>', text)
    assert badges
    assert len(badges) == text.count('class="badge')
    words = {"incompatible": "fail", "compatible": "pass", "unknown": "unknown"}
    assert all(word.lower() == status or words[word] == status for status, _, word in badges)


def test_the_page_is_built_for_keyboard_and_reader(rendered):
    _, text, page = rendered
    assert ("html", {"lang": "en"}) in page.elements
    tags = [t for t, _ in page.elements]
    assert tags.count("main") == tags.count("h1") == tags.count("header") == 1
    assert next(a for t, a in page.elements if t == "a") == {"class": "skip-link", "href": "#main"}
    levels = [int(t[1]) for t in tags if re.fullmatch(r"h[1-6]", t)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert ":focus-visible" in text
    # What only works by JavaScript does not show without it.
    for tag, attrs in page.elements:
        if tag == "button" and attrs.get("id") != "unfold":
            assert "hidden" in attrs
    assert next(a for _, a in page.elements if a.get("id") == "filter") == {
        "class": "filter",
        "id": "filter",
        "hidden": None,
    }


def test_the_page_is_small():
    text = render(REPORTS["sample"], {})
    assert len(text.encode()) - len(encode_json(REPORTS["sample"], indent=0)) < 100_000


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_meet_wcag_aa_in_both_themes():
    style = (Path(html_format.__file__).parent / "style.css").read_text()
    palettes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for block in re.findall(r"\{[^{}]*--bg: #\w{6};[^{}]*\}", style)
    ]
    assert len(palettes) == 3
    assert palettes[1] == palettes[2], "the system's dark theme and the chosen one differ"
    for palette in palettes:
        pairs = [(palette[text], palette[ground]) for text in ("text", "muted", "link") for ground in ("bg", "surface")]
        pairs += [(palette[s], palette[f"{s}-bg"]) for s in ("fail", "warn", "error", "unknown", "pass", "skip")]
        for text, ground in pairs:
            light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("name", REPORTS)
def test_a_real_browser_runs_the_script_and_reports_no_error(name, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(render(REPORTS[name], {}), encoding="utf-8")
    done = chromium(page, "--dump-dom", "--enable-logging=stderr")
    assert "CONSOLE" not in done.stderr, done.stderr
    assert '<button type="button" id="theme" class="quiet">Theme: system</button>' in done.stdout
    assert done.stdout.count(">Copy</button>") == sum(
        len(f.remediation.commands) for c in causes(REPORTS[name]) for f in (c.root, *c.follows) if f.remediation
    )
    # Chromium's own reading of the page has nothing that the escaping should have kept out.
    parsed = Page(done.stdout)
    assert {tag for tag, _ in parsed.elements} <= {tag for tag, _ in Page(page.read_text(encoding="utf-8")).elements}
    assert not [attrs for _, attrs in parsed.elements for key in attrs if key.startswith("on")]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_browser_check_sees_a_violated_policy(tmp_path):
    """The test above can fail: the same page with a script that the policy does not admit is reported."""
    page = tmp_path / "report.html"
    page.write_text(render(REPORTS["sample"], {}).replace("</main>", "<script>1</script></main>"), encoding="utf-8")
    assert "Content Security Policy" in chromium(page, "--dump-dom", "--enable-logging=stderr").stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_does_not_scroll_sideways(width, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(render(REPORTS["hostile"], {}), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe src="report.html" style="border:0;width:{width}px;height:900px"></iframe><p id="out">wait</p><script>'
        'const f = document.querySelector("iframe"); f.onload = () => { const d = f.contentDocument;'
        'document.getElementById("out").textContent = d ? `${d.documentElement.scrollWidth}` : "closed"; };</script>',
        encoding="utf-8",
    )
    done = chromium(frame, "--dump-dom", "--allow-file-access-from-files", f"--window-size={width + 40},1000")
    found = re.search(r'<p id="out">(\w+)</p>', done.stdout)
    assert found is not None
    assert found.group(1) == str(width)


def test_chromium_helper_gives_up_on_a_hang(tmp_path, monkeypatch):
    """A browser that never ends fails the test instead of the run."""
    import tests.support.chromium as helper

    sleeper = tmp_path / "browser"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(helper, "CHROMIUM", str(sleeper))
    with pytest.raises(subprocess.TimeoutExpired):
        helper.chromium(tmp_path / "x.html", timeout_s=0.2)
