"""report/make_report.py: the texts hold no numbers of their own, and what cannot be told is named."""

import csv
import hashlib
import re
import shutil
from pathlib import Path

import pytest
import typst
from conftest import REPO, assert_one_line, call, load_script, run_script

from dlcv import cli

TEMPLATES = REPO / "report" / "templates"
TEXTS = sorted(path.name for path in TEMPLATES.glob("[!.s]*.typ"))
SCRIPT = REPO / "report" / "make_report.py"
# Numbers of the assignments and of papers, which no program measures.
KNOWN = "|".join(
    (
        r"arXiv:[\d.]+", r"fig\d_\d", r"[Tt]able 1_3", r"hw\d_p\d", r"20\d\d", r"homework \d", r"[Pp]roblem \d",
        r"Question \d", r"assignment \d", r"EEE7331", "CIFAR-10", r"^=+ [\d-]+( (to|and) [\d-]+)?", r"\b[1-4]-\d\b",
        r"[\w./]*\.png", "EfficientNet-Lite0", "VAE, 64 latents", "step 27,000", "linear PCA, 64", "strength 0",
        "n = 1", r"\[0, 1\]", "beta[12]", "first (16|32)", "32 samples", "1,000 (noise|images)", "of 1,000", "3x3",
        "12 x 12 x 12", r"\bR1\b",
        "stages 2 and 3", r"(from|to) 0\b",
        "2 x 2", "CS7643", r"Part \d", "ResNet-32", "7 to 14", "14 to 28", r"7 rows would become 13 instead of 14",
        r"\b5 [a-g]\)", "Flowers102", "with 1,609 images", r"from 1\.", "0.8em",
        "at 4 x 4 only 16 values", "sheet of 256 samples", r"below 0\.03", "0.88em", "7 x 7", "28 x 28",
        "about 96 percent", "ResNet-50( in 22)?", "81 percent", "97 human observers", "about 70 to 10 percent",
        "76.1 to 76.7 percent", "70.7 to 75.1 mAP", "top-5", "82.6 instead of 92.9", "16.4 percent", "82.6 percent of",
        "run from 0 to 255",
        "200 epochs", "perplexity 30",
        "40,000 / not given", "7,291 / 2,007", "60,000 / 10,000", "73,257 / 26,032",  # DLCV 2020: the course's images
        "airbench", "32 filters of 5 x 5", "1e-4", "1e-3", r"momentum 0\.9", "batches of 10",  # CS7643's script
        # EEE7331, question 2: names, what the tutorial has, and how a metric or a search is defined.
        "StyleGAN2", "Image2StyleGAN", "L2", "512 components and 18 styles", r"[@<]targets[12]", r"columns: \d+",
        r"0\.9, 0\.999", "over 10,000 latents", "of the 10,000", "256 levels", r"version 0\.1", "150x150", "256x256",
        r"\bparts? [12]\b", "1/8, 1/4 and 1/2", "30 %", r"1 is best", r"1 by definition",
        r"\(0\) to themselves \(1\)",
        r"\btargets? \d\d(, \d\d)*( and \d\d)?",
        "15 rows become 7, and 7 become 3", "the 70 percent that the question asks for", r"^== \d\. ",
    )
)  # fmt: skip


@pytest.mark.parametrize("template", TEXTS)
def test_no_number_is_typed_by_hand(template: str) -> None:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    text = re.sub(r"(?s)<<.*?>>|<%.*?%>|\$.*?\$", "", text)  # what the program fills in, and formulas
    for line in text.splitlines():
        if not line.startswith(("#import", "#show", "#text")):
            line = re.sub(r"(width|height): ?[\d.]+(%|cm)", "", line)
            assert not re.search(r"\d", re.sub(KNOWN, "", line)), f"{template}: {line}"


def test_answers_are_short_enough() -> None:
    """CS7643: the review and each answer at most 350 words."""
    text = (TEMPLATES / "cs7643.typ").read_text(encoding="utf-8")
    answers = re.findall(r"(?s)// answer: (\w+)\n(.*?)// end", text)
    assert [name for name, _ in answers] == ["relu", "review", "biases", "stylized", "longtail"]
    for name, answer in answers:
        assert 50 < len(answer.split()) <= 350, (name, len(answer.split()))


@pytest.mark.parametrize("template", TEXTS)
def test_every_text_finds_its_numbers(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = load_script("make_report", monkeypatch).render(template.removesuffix(".typ"), "x")
    assert "<<" not in text and "<%" not in text and len(text) > 1_000


def test_a_report_is_built(tmp_path: Path) -> None:
    result = call("python3", SCRIPT, "hw3", "--id", "r01234567", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    pdf = (tmp_path / "hw3_r01234567.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and len(pdf) > 500_000  # with its pictures
    assert not list(TEMPLATES.glob(".*.typ"))
    source = tmp_path / "x.typ"
    source.write_text("= Ok")
    assert typst.compile(str(source)).startswith(b"%PDF")


def test_numbers_are_those_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = load_script("facts", monkeypatch).Facts()
    readme = (REPO / "docs" / "models" / "dann.md").read_text()
    for row, column in (("DANN", "U→M"), ("trained on target (upper bound)", "S→U")):
        value = facts.cell("dann", "digits table", row, column)
        assert f"| {value}" in next(line for line in readme.splitlines() if line.startswith(f"| {row} |"))
    assert facts.parameters("dann_usps_mnistm") == "427,178" and facts.recipe("vae")["latent_dim"] == 64
    layers = {"layers": "128 → 256, 256 → 256, 256 → 1", "parameters": "99,073"}  # 526,251 with the network
    assert facts.domain_classifier() == layers
    assert facts.face("VAE, 64 latents")["frechet"] == "54.8"
    assert facts.face("GAN")["frechet_spread"] == "28.7 ± 0.1"
    chosen = facts.table("dann", "digits table", ["S→U"], {"DANN": "ours", "improved": "better"})
    assert [line.split("], [")[0] for line in chosen.splitlines()[2:-1]] == [
        "  [target test, %",
        "  [ours",
        "  [better",
    ]
    with pytest.raises(cli.UserError, match="there is no row x"):
        facts.table("dann", "digits table", rows={"x": "y"})
    with pytest.raises(cli.UserError, match="there is no x / U→M"):
        facts.cell("dann", "digits table", "x", "U→M")
    with pytest.raises(cli.UserError, match="no line 'table: x'"):
        facts.face("x")
    with pytest.raises(cli.UserError, match="holds no table 'x'"):
        facts.table("dann", "x")


def test_cards_and_the_csv_files_beside_them_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = load_script("tables", monkeypatch)
    written = set((REPO / "docs" / "results" / "tables").glob("*/*.csv"))
    for card in sorted((REPO / "docs" / "models").glob("*.md")):
        for name, table in re.findall(r"(?s)<!-- ([^:>]*):[^>]*-->\n(.*?)<!-- end -->", card.read_text("utf-8")):
            if table:  # an experiment that has not been run leaves it empty
                assert tables.read_table(tables.csv_of(card, name)) == tables.cells(table), (card.name, name)
                written.discard(tables.csv_of(card, name))
    assert not written  # no table that its card has not


def test_submitted_rows_are_what_the_wrappers_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrappers' model files, by their SHA-256 in the ledger of test answers, against the reports' first rows."""
    facts = load_script("facts", monkeypatch).Facts()
    with (REPO / "docs" / "test_reads.csv").open(newline="", encoding="utf-8") as file:
        reads = [read for read in csv.DictReader(file) if (read["split"], read["statistics"]) == ("test", "target")]
    short = {"usps": "U", "mnistm": "M", "svhn": "S"}
    for row, wrappers in {
        "DANN, submitted model": ("hw3_p3.sh", "hw2_p3.sh"),
        "improved, submitted model": ("hw3_p4.sh", "hw2_bonus.sh"),
    }.items():
        for wrapper in wrappers:
            models = re.findall(r"--model (\w+)=(\w+\.pth)", (REPO / wrapper).read_text(encoding="utf-8"))
            assert len(models) == 3
            for domain, name in models:
                digest = hashlib.sha256((REPO / "checkpoints" / name).read_bytes()).hexdigest()[:12]
                (value, *more) = {
                    read["accuracy"] for read in reads if (read["sha256"], read["domain"]) == (digest, domain)
                }
                source = name.removesuffix(".pth").split("_")[1]
                cell = facts.cell("dann", "digits table", row, f"{short[source]}→{short[domain]}")
                assert not more and cell == f"{100 * float(value):.1f}", (wrapper, name)
    for kind in ("plain", "separable"):
        digest = hashlib.sha256((REPO / "checkpoints" / f"cifar_cnn_{kind}.pth").read_bytes()).hexdigest()[:12]
        with (REPO / "docs" / "test_reads.csv").open(newline="", encoding="utf-8") as file:
            own = {read["split"]: read for read in csv.DictReader(file) if read["sha256"] == digest}
        assert (own["train"]["images"], own["test"]["images"]) == ("50000", "10000")
        name = "CNN of Part A" if kind == "plain" else "CNN with depth-wise separable convolutions (Part B)"
        for column, split in (("training accuracy, %", "train"), ("test accuracy, %", "test")):
            cell = facts.cell("cifar_cnn", "cifar cnn results", f"submitted model: {name}", column)
            assert cell == f"{100 * float(own[split]['accuracy']):.2f}"
    with (REPO / "docs" / "results" / "autoencoder_submitted.csv").open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            digest = hashlib.sha256((REPO / "checkpoints" / line["run"]).read_bytes()).hexdigest()[:12]
            assert digest == line["sha256"] and float(line["training_mse"]) < 0.03
            assert facts.cell("autoencoder", "autoencoder submitted", line["run"], "test loss") == line["test_mse"]
    for report in ("hw3", "hw2"):
        source = load_script("make_report", monkeypatch).render(report, "x")
        for table in re.findall(r"(?s)#table\(.*?\n\)", source):
            header, first = table.splitlines()[2:4]
            assert not header.startswith("  [target test") or f"bash {report}" in first, table


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = load_script("make_report", monkeypatch)
    shutil.copy(TEMPLATES / "style.typ", tmp_path)
    monkeypatch.setattr(script, "TEMPLATES", tmp_path)
    (tmp_path / "hw3.typ").write_text('#fig("none.png", [x])')
    with pytest.raises(cli.UserError, match=r"figures/none.png is not there"):
        script.render("hw3", "x")
    (tmp_path / "hw3.typ").write_text("<< facts.recipe('vae').nothing_like_it >>")
    with pytest.raises(cli.UserError, match="asks for what is not there"):
        script.render("hw3", "x")
    assert_one_line(run_script("python3", SCRIPT, "hw9"), 2, "no report hw9")
    assert_one_line(run_script("python3", SCRIPT, "hw3", "--id", "../x"), 2, "letters and digits only")
