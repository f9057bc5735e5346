"""A list of rows beside the details of the selected one: both screens are made of it."""

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from infra_doctor.tui.rows import Line, Row, Section, lines
from infra_doctor.tui.text import MUTED


class RowList(OptionList, inherit_bindings=False):
    """The list. Its keys are the application's, from the one table of commands."""


class Browser(Container):
    """Rows above or left, details below or right. In a narrow window reading the details hides the rows."""

    def __init__(self) -> None:
        super().__init__()
        self._sections: Sequence[Section] = ()
        self._empty = ""
        self._lines: list[Line] = []
        self._opened: frozenset[str] = frozenset()
        self._detailed = ""

    def compose(self) -> ComposeResult:
        """The filter (hidden until asked for), the rows, the details."""
        yield Input(placeholder="show rows that hold these words", id="filter", compact=True)
        yield RowList(id="rows", markup=False)
        with VerticalScroll(id="detail"):
            yield Static(id="detail-text", markup=False)

    def on_mount(self) -> None:
        """The filter appears by its key."""
        self._filter.display = False
        self._detail.border_title = "Details"
        self._rows.focus()

    @property
    def _filter(self) -> Input:
        return self.query_one("#filter", Input)

    @property
    def _rows(self) -> RowList:
        return self.query_one("#rows", RowList)

    @property
    def _detail(self) -> VerticalScroll:
        return self.query_one("#detail", VerticalScroll)

    @property
    def selected(self) -> Row | None:
        """The row under the cursor."""
        index = self._rows.highlighted
        return self._lines[index].row if index is not None and index < len(self._lines) else None

    def show(self, sections: Sequence[Section], *, empty: str, keep: bool = True) -> None:
        """Show these rows. `keep`: the selection stays on the same row where that is still there; else it is the first.
        `empty` explains an empty list."""
        self._sections, self._empty = sections, empty
        self._refresh(keep=keep)

    def _refresh(self, *, keep: bool = True) -> None:
        before, chosen = self._lines, self.selected if keep else None
        self._lines = lines(self._sections, opened=self._opened, needle=self._filter.value, roomy=self.size.height > 24)
        if not self._lines:
            needle = self._filter.value
            words = f"No row holds “{needle}”. esc ends the filter." if needle and self._sections else self._empty
            self._lines = [Line(text=Content.styled(words, MUTED))]
        rows = self._rows
        if keep and [line.row and line.row.id for line in before] == [line.row and line.row.id for line in self._lines]:
            for index, (old, new) in enumerate(zip(before, self._lines, strict=True)):
                if not new.text.is_same(old.text):
                    rows.replace_option_prompt_at_index(index, new.text)
        else:
            top = rows.scroll_offset.y
            rows.set_options([Option(line.text, disabled=line.row is None) for line in self._lines])
            found = [n for n, line in enumerate(self._lines) if line.row]
            same = [n for n in found if chosen and (row := self._lines[n].row) and row.id == chosen.id]
            if same:
                rows.scroll_to(y=top, animate=False)
            rows.highlighted = next(iter(same or found), None)
        self._show_detail()

    def _show_detail(self) -> None:
        row = self.selected
        text = self.query_one("#detail-text", Static)
        text.update(row.detail() if row else Content())
        if (row.id if row else "") != self._detailed:
            self._detailed = row.id if row else ""
            self._detail.scroll_home(animate=False)

    def can(self, action: str) -> bool:
        """Whether `open`, `go_back` or `filter` would do something now."""
        if action == "go_back":
            return self._filter.display or not self._rows.has_focus
        return self._rows.has_focus if action == "open" else not self._filter.has_focus

    # -- what the keys do -----------------------------------------------------------------------------------------

    def move(self, step: int) -> None:
        """A row or line down (1) or up (-1)."""
        if self._detail.has_focus:
            self._detail.scroll_relative(y=step, animate=False)
        elif step > 0:
            self._rows.action_cursor_down()
        else:
            self._rows.action_cursor_up()

    def page(self, step: int) -> None:
        """A page down (1) or up (-1)."""
        if self._detail.has_focus:
            self._detail.scroll_relative(y=step * max(1, self._detail.size.height - 1), animate=False)
        elif step > 0:
            self._rows.action_page_down()  # type: ignore[no-untyped-call]
        else:
            self._rows.action_page_up()  # type: ignore[no-untyped-call]
        if self.selected is None:  # a page ends on a heading
            self.edge(step)

    def edge(self, step: int) -> None:
        """To the last (1) or first (-1) row or line."""
        if self._detail.has_focus:
            if step > 0:
                self._detail.scroll_end(animate=False)
            else:
                self._detail.scroll_home(animate=False)
        elif step > 0:
            self._rows.action_last()
        else:
            self._rows.action_first()

    def open(self) -> None:
        """Open or close a group; read the details of any other row."""
        row = self.selected
        if row is not None and row.rows:
            self._opened ^= {row.id}
            self._refresh()
        elif row is not None:
            self.add_class("-reading")
            self._detail.focus()

    def back(self) -> None:
        """From the details to the rows; from the rows, end the filter."""
        if self._detail.has_focus or self.has_class("-reading"):
            self.remove_class("-reading")
        elif self._filter.display:
            self._filter.value = ""
            self._filter.display = False
            self._refresh()
        self._rows.focus()
        self.app.refresh_bindings()

    def start_filter(self) -> None:
        """Ask for the words to look for."""
        self.remove_class("-reading")
        self._filter.display = True
        self._filter.focus()

    @on(Input.Changed, "#filter")
    def _filtered(self) -> None:
        self._refresh()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self._filter.display = bool(self._filter.value)
        self._rows.focus()

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        self._show_detail()

    @on(OptionList.OptionSelected)
    def _clicked(self) -> None:
        if (row := self.selected) and row.rows:
            self.open()
