"""report/make_page.py: one file, no network; in headless Chromium its sliders move and it fits a phone."""

import html
import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest
from conftest import REPO, call

CHROMIUM = shutil.which("chromium")
# Written into the page before its own script: errors. Behind it: what is looked at; the answer goes into the title.
WATCH = """<script>
window.wrong = [];
window.onerror = (text) => wrong.push(text);
console.error = (text) => wrong.push(text);
</script>"""
LOOK = """<script>
const positions = [...document.querySelectorAll(".slider")].map((slider) => {
  const frame = slider.querySelector(".moving"), input = slider.querySelector("input"), seen = new Set();
  for (let value = 0; value <= Number(input.max); value++) {
    input.value = value;
    input.dispatchEvent(new Event("input"));
    seen.add(getComputedStyle(frame).backgroundPosition);
  }
  return [Number(input.max) + 1, seen.size];
});
const button = document.querySelector(".zoom");
button.click();
const zoomed = document.querySelector("dialog").open
  && document.querySelector("dialog img").src === button.querySelector("img").src;
document.querySelector("dialog").click();
const closed = !document.querySelector("dialog").open;
const play = document.querySelector(".play"), first = play.nextElementSibling.querySelector("input");
first.value = first.max;
play.click();
const rewound = first.value === "0" && play.textContent === "Stop";
for (const folded of document.querySelectorAll("details")) folded.open = true;
const widest = document.documentElement.scrollWidth;
new Promise((done) => setTimeout(done, 400)).then(() => {
  const played = rewound && Number(first.value) > 0;
  play.click();
  const stopped = play.textContent === "Play";
  return Promise.all([played && stopped, axe.run(document, { resultTypes: ["violations"] })]);
}).then(([played, result]) => {
  const serious = result.violations.filter((x) => ["serious", "critical"].includes(x.impact));
  document.title = JSON.stringify({
    wrong, positions, zoomed, closed, played, fits: widest <= window.innerWidth, width: window.innerWidth,
    barriers: serious.map((x) => `${x.id}: ${x.nodes[0].html.slice(0, 100)}`), passes: result.passes.length,
  });
});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    result = call("python3", REPO / "report" / "make_page.py", "--out", path)
    assert result.returncode == 0, result.stderr
    return path


def test_one_file_without_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:image/webp;base64,|#)', text) and "url(http" not in text
    for title in ("VAE on faces", "GAN on faces", "DANN on digits", "Improved adaptation"):
        assert f">{title}</h2>" in text
    row = next(line for line in (REPO / "docs/models/dann.md").read_text().splitlines() if line.startswith("| DANN |"))
    for cell in row.strip("|").split("|"):
        assert f">{cell.strip()}</t" in text
    assert len(text) < 15e6  # bytes, nearly: the pictures are text


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium)")
@pytest.mark.parametrize("width", [390, 1200])
def test_in_a_browser(page: Path, width: int, tmp_path: Path) -> None:
    rules = resources.files(pytest.importorskip("axe_core_python")) / "axe.min.js"  # accessibility: deque.com/axe
    last = f"<script>{rules.read_text(encoding='utf-8')}</script>{LOOK}</body>"
    text = page.read_text(encoding="utf-8").replace("<head>", f"<head>{WATCH}", 1).replace("</body>", last, 1)
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    # Headless windows are at least 500 pixels wide: a phone is a frame in one.
    frame = f'<iframe src="page.html" style="width:{width}px;height:800px;border:0"></iframe>'
    copy = "document.title = document.querySelector('iframe').contentDocument.title"
    script = f"<script>setInterval(() => {{ {copy}; }}, 100);</script>"
    (tmp_path / "phone.html").write_text(frame + script, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom"]
    command = [str(CHROMIUM), *flags, (tmp_path / "phone.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-500:]
    page_state = json.loads(html.unescape(title[1]))
    assert page_state["wrong"] == [] and page_state["zoomed"] and page_state["closed"]
    assert page_state["played"]  # the animation of a training begins at its first frame, goes on, and stops
    assert page_state["width"] == width and page_state["fits"]  # readable without scrolling sideways
    assert page_state["barriers"] == [] and page_state["passes"] > 10  # for readers with a screen reader or weak eyes
    assert len(page_state["positions"]) >= 14 and all(frames == seen > 5 for frames, seen in page_state["positions"])
