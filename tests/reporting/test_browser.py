"""The page in a real browser: no complaint on the console, the script ran, nothing wider than a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=3000", "--dump-dom"),
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the path to open the page with"),
]


def dump(page: Path, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """The document after its script ran, and the lines of the console."""
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, *flags, f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_page_opens_without_a_complaint_and_sorts(page, tmp_path):
    dom, console = dump(page, tmp_path / "profile")
    assert console == []
    assert re.search(r'<html[^>]* data-sortable="18"', dom)
    assert dom.count('<button type="button">') > 15


def test_a_complaint_would_be_seen(page, tmp_path):
    """The check above can fail: a script that the policy does not name is refused, on the console."""
    broken = tmp_path / "broken.html"
    text = page.read_text(encoding="utf-8").replace("</body>", "<script>document.title = 'x'</script></body>")
    broken.write_text(text, encoding="utf-8")
    _, console = dump(broken, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in console)


PROBE = """<script>
const heads = [...document.querySelectorAll('#headline thead tr:last-child th')];
const names = () => [...document.querySelectorAll('#headline tbody:first-of-type tr')].map((r) => r.dataset.i);
document.querySelectorAll('#headline tbody:first-of-type tr').forEach((r, i) => { r.dataset.i = i; });
const orders = [];
for (let i = 0; i < 3; i += 1) {
  heads[4].querySelector('button').click();
  orders.push(`${heads[4].getAttribute('aria-sort')}:${names().join('')}`);
}
document.documentElement.dataset.orders = orders.join(' ');
document.documentElement.dataset.widths = `${document.documentElement.scrollWidth}/${innerWidth}`;
</script></body>"""


def test_sorting_and_the_width_of_a_phone(page, tmp_path):
    """Measured by a script of the test's own, in a copy of the page without the policy."""
    copy = tmp_path / "probe.html"
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    copy.write_text(text.replace("</body>", PROBE), encoding="utf-8")
    dom, _ = dump(copy, tmp_path / "profile", "--window-size=390,844")
    # At 8 steps on the ring: the last student is best, consistency distillation (2) has no value and stays last.
    found = re.search(r'data-orders="ascending:(\d+) descending:(\d+) null:(\d+)"', dom)
    assert found is not None
    ascending, descending, original = found.groups()
    assert original == "01234" and ascending[-1] == descending[-1] == "2"
    assert ascending[:-1] == descending[:-1][::-1] and ascending[0] == "4"
    widths = re.search(r'data-widths="(\d+)/(\d+)"', dom)
    assert widths is not None and int(widths[2]) <= 500 and int(widths[1]) <= int(widths[2])
