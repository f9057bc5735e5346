"""Whether the text around a match says that nothing failed: it is denied, quoted from a program's source or a document,
the name of a test, or a search for the message. The words are those of any program, not of one failure."""

import re

NEAR = 160  # how much of the message before and after a match is looked at

# "no X", "0 X", "without X": directly before.
_DENIED = re.compile(r"(?:^|[\s(\[:])(?:no|zero|0|without|never|free of)\s+(?:\w{1,20}\s+)?$", re.IGNORECASE)
# "X: 0", "X errors = none", "X handling enabled": directly after. Not "X: no", which may be the half of "no such file".
_NOTHING = re.compile(
    r"^['\"`]?(?:\s{0,3}\w{1,20}){0,2}\s{0,3}[:=]\s{0,3}(?:0|0x0+|none|n/?a|false|ok|pass(?:ed)?|disabled|\[\]|\{\})"
    r"(?=\s{0,3}(?:$|[,;)\]|]|\.(?:\s|$)))"
    r"|^[\"'`]\s{0,2}[:=-]{1,2}\s{0,3}(?:not (?:found|seen)|absent|none|no|ok|pass(?:ed)?)\s{0,3}$"
    r"|^(?:\s\w{1,20})?\s(?:handling|handlers?|checking|checks?|detection|detectors?|recovery|reporting|monitoring|tests?)\b",
    re.IGNORECASE,
)
# The statement of a program that would raise, print or compare the message, after what `grep -n` and `diff` put before it.
_STATEMENT = re.compile(
    r"^\s{0,80}(?:[\w./-]{1,200}:\d{1,7}[:-]\s{0,80}|[+>-]\s{1,80}|\d{1,6}[:|-]?\s{1,80}|-->\s{0,20})?"
    r"(?:(?:raise|throw|return|assert|if|elif|else|case|def|for|while|with|except|const|static|constexpr|char|auto|let|var)\b"
    r"|#define\b|(?:f|s|sn)?printf?\(|log(?:ger|ging)?\.\w{3,9}\(|warnings\.warn\(|self\.\w|pytest\.|std::|panic!?\("
    r"|\w{1,40}(?:\(\w{0,20}\))?\s{0,2}<<\s{0,3}\"|"
    r"(?:LOG|TORCH_\w{1,40}|CHECK\w{0,20}|ASSERT\w{0,20}|EXPECT\w{0,20})\(|[\w.]{1,40}\s{1,3}=\s{1,3}[rbf]?[\"'(\[])"
)
_IN_QUOTES = re.compile(r"[\"'`][^\"'`\n]{0,160}$")
# Code marked as such within prose.
_MARKED = re.compile(r"`[^`\n]{0,160}$"), re.compile(r"^[^`\n]{0,160}`")
_COMMENT = re.compile(r"^\s{0,80}(?:[\w./-]{1,200}:\d{1,7}[:-]\s{0,80})?(?:#(?!\d)|//|/\*|\*\s|--\s|<!--|;;|%\s)")
_SEARCH = re.compile(r"(?:^|[$#>|;&+]\s{0,3}|\bsudo\s)(?:[ef]?grep|zgrep|rg|ag|awk|sed|echo|printf)\s", re.IGNORECASE)
# A sentence about the failure, before it is named.
_SPOKEN_OF = re.compile(
    r"\b(?:(?:if|when|whenever|in case) (?:you|we|i|users?) (?:see|get|encounter|hit|receive|find|face|run into|meet)\b"
    r"|if (?:the|this|an?|such an?) (?:error|message|warning|failure|exception)\b"
    r"|(?:may|might|could|can) (?:also |then |still |sometimes )?(?:see|get|raise|cause|fail|lead|result|produce|report|print)\b"
    r"|to (?:avoid|prevent|fix|resolve|handle|reproduce|silence|suppress|work around)\b|troubleshoot|for example|e\.g\.|such as\b"
    r"|also known as|known issues?|fix(?:e[sd])?\b|bug ?fix|changelog|release notes|revert(?:s|ed)?\b|(?:closes?|resolves?) #"
    r"|expected (?:error|failure)|usage:)",
    re.IGNORECASE,
)
# Reports of errors begin so, whatever sentence the message is part of.
_REPORTED = re.compile(
    r"\b(?:[A-Z]\w{0,40}(?:Error|Exception|Warning|Failure)|ERROR|FATAL|CRITICAL|WARN(?:ING)?|FAIL(?:ED)?|E\d{4}|fatal|error|failed|what\(\))\b\W"
    r"|\[[EWF](?:\d{4})?[: ]"
)
# A program's own word that this line is no error. Text that names a cause is believed all the same; a shared symptom is not.
_AT_EASE = re.compile(
    r"(?:^|[\s\[(|:])(?:INFO|DEBUG|TRACE|NOTICE|VERBOSE)(?=[\s\]:)|])|^[IDV]\d{4} |\[[IVD]:|\blevel=(?:info|debug)\b"
    r"|^\d{4}-[\d :.,-]{10,30} ?: [IDV] |\b(?:Future|Deprecation|PendingDeprecation)Warning\b"
)
_TEST_NAME = re.compile(r"(?:::test_|\btest_\w{0,80}|\.py::|\[ (?:RUN|      OK|  PASSED) )")
_TEST_PASSED = re.compile(r"\b(?:PASSED|SKIPPED|XFAIL|XPASS)\b|\.\.\. ok\b|^\s{0,8}ok \d|✓|✔")


def says_nothing(text: str, start: int, end: int, *, weak: bool = False) -> bool:
    """Whether the message, given the match at [start, end), tells of no failure. `weak`: the match is a symptom that many
    things have, so that it counts for nothing on a line that its program does not call an error."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    line = text[line_start : line_end if line_end >= 0 else len(text)]
    before, after = text[line_start:start], text[end : end + NEAR].split("\n")[0]
    if len(before) > NEAR:
        before = "\0" + before[-NEAR:]  # what is cut is not the start of the line
    if _DENIED.search(before) or _NOTHING.search(after):
        return True
    if weak and _AT_EASE.search(before):
        return True
    if _TEST_PASSED.search(line) and _TEST_NAME.search(line):
        return True
    if _STATEMENT.match(line) and _IN_QUOTES.search(before):
        return True
    if _MARKED[0].search(before) and _MARKED[1].match(after) and not _REPORTED.search(before):
        return True
    if _COMMENT.match(line) or _SEARCH.search(before):
        return True
    spoken = _SPOKEN_OF.search(before)
    return spoken is not None and _REPORTED.search(before[: spoken.start()]) is None
