"""What the reports may say: numbers from files that programs wrote, by name. Nothing is computed anew here."""

import ast
import inspect
import json
import math
import re
from collections import Counter, defaultdict
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from tables import FACE_DIGITS, csv_of, face_scores, inversion_rows, inversion_title, read_table

from dlcv import cli
from dlcv.checkpoint import load_model, read_checkpoint
from dlcv.cs7643 import theory
from dlcv.cs7643.recipes import RECIPES, Recipe
from dlcv.data import augment
from dlcv.data.flowers import CHOSEN, label_of
from dlcv.files import read_rows
from dlcv.inversion import METRICS
from dlcv.losses import WINDOWS
from dlcv.models.dann import DomainClassifier
from dlcv.models.stylegan2 import StyleGAN2Generator
from dlcv.models.table import load_any
from dlcv.models.uda import Alignment
from dlcv.models.vae import VAE, LatentFlow
from dlcv.sampling import SEED
from dlcv.similarity import CELEBA
from grader.submit import reached

ROOT = Path(__file__).resolve().parents[1]


class Facts:
    """Looks numbers up; asks for one that is not there end with a UserError that names it."""

    def recipe(self, checkpoint: str) -> dict[str, Any]:
        """The recipe with which checkpoints/<checkpoint>.pth was trained."""
        return self.provenance(checkpoint)["recipe"]

    def chosen_flowers(self) -> str:
        """The categories of Flowers102 that the training takes, each with its label."""
        return ", ".join(f"{name} ({label_of(name)})" for name in CHOSEN)

    def flower_categories(self) -> list[dict[str, str]]:
        """What the flowers' generator was trained on: label, category and images of each."""
        return read_rows(ROOT / "docs" / "results" / "flowers_categories.csv")

    def flower_phases(self) -> list[dict[str, str]]:
        """Means over fifths of the flowers' training, of the steps, losses and outputs; none where its log is lost."""
        path = ROOT / "docs" / "results" / "flowers_phases.csv"
        return read_rows(path) if path.is_file() else []

    def course_recipe(self, name: str) -> dict[str, Any]:
        """A recipe of CS7643's part 2, by its name in dlcv.cs7643.recipes."""
        return asdict(Recipe(**RECIPES[name]))  # type: ignore[arg-type]

    def provenance(self, checkpoint: str) -> dict[str, Any]:
        return read_checkpoint(ROOT / "checkpoints" / f"{checkpoint}.pth")["provenance"]

    def epochs(self, checkpoint: str) -> str:
        """Passes over its training images: steps times batch size by their number."""
        provenance = self.provenance(checkpoint)
        return f"{provenance['step'] * provenance['recipe']['batch_size'] / provenance['data']['training']:.0f}"

    def passes(self, checkpoint: str, part: str) -> str:
        """Passes over one of its sets of training images ("labelled", "unlabelled"), to one digit after the point."""
        provenance = self.provenance(checkpoint)
        return f"{provenance['step'] * provenance['recipe']['batch_size'] / provenance['data'][part]:.1f}"

    def origins(self, *checkpoints: str) -> str:
        """The commits by which these were trained."""
        return ", ".join(f"{name} {self.provenance(name)['commit']}" for name in checkpoints)

    def sources(self, *scripts: str) -> list[str]:
        """The scripts and every module of ours that they import, by path in the repository."""
        return [path.as_posix() for path in reached(scripts)]

    def code(self, path: str, *names: str) -> str:
        """The source of a file's functions and classes of these names, in its order, as a string of Typst."""
        text = (ROOT / path).read_text(encoding="utf-8")
        parts = {getattr(node, "name", ""): ast.get_source_segment(text, node) for node in ast.parse(text).body}
        if missing := set(names) - parts.keys():
            raise cli.UserError(f"{path} has no {min(missing)}")
        chosen = "\n\n\n".join(part or "" for name, part in parts.items() if name in names)
        return json.dumps(chosen, ensure_ascii=False)

    def parameters(self, checkpoint: str) -> str:
        """Number of weights of a checkpoint's network, with thousands separated."""
        model = load_any(ROOT / "checkpoints" / f"{checkpoint}.pth")
        return f"{sum(p.numel() for p in model.parameters()):,}"

    def flow(self) -> dict[str, str]:
        """The flow of checkpoints/vae.pth: its blocks, their units, its parameters, the steps that sampling takes."""
        network = load_model(VAE, ROOT / "checkpoints" / "vae.pth").flow
        assert network is not None
        steps = inspect.signature(LatentFlow.forward).parameters["steps"].default
        count = sum(p.numel() for p in network.parameters())
        sizes = {"blocks": len(network.blocks), "width": network.first.out_features, "steps": steps}
        return {name: str(value) for name, value in sizes.items()} | {"parameters": f"{count:,}"}

    def spectrum_windows(self) -> str:
        """Sides of the windows in which the VAE's loss compares spectra, in pixels."""
        return " or ".join(str(side) for side in WINDOWS)

    def sampling_seed(self) -> str:
        """Of the noise from which the graded pictures are made."""
        return str(SEED)

    def digit_images(self, domain: str) -> dict[str, str]:
        """Numbers of a digit domain's images: for training with labels, held out of that, and for testing."""
        pair = {"usps": "usps_mnistm", "mnistm": "mnistm_svhn", "svhn": "svhn_usps"}[domain]
        data = self.provenance(f"dann_{pair}")["data"]
        path = ROOT / "docs" / "test_reads.csv"
        tested = [row["images"] for row in read_rows(path) if (row["domain"], row["split"]) == (domain, "test")]
        counts = {"training": data["labelled"], "held_out": data["validation"], "test": int(tested[-1])}
        return {name: f"{count:,}" for name, count in counts.items()}

    def arguments(self, function: str, script: str = "", call: int = 0) -> dict[str, Any]:
        """The numbers with which train/<script>.py calls a function for the `call`-th time, counted from 0.

        Those are the constants that it passes by name and, for functions of dlcv.data.augment, the defaults beside
        them; without a script, the defaults alone.
        """
        defaults = inspect.signature(getattr(augment, function)).parameters if hasattr(augment, function) else {}
        numbers = {name: p.default for name, p in defaults.items() if isinstance(p.default, int | float)}
        if not script:
            return numbers
        tree = ast.parse((ROOT / "train" / f"{script}.py").read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) == function]
        calls.sort(key=lambda node: node.lineno)
        passed = calls[call].keywords
        return numbers | {str(p.arg): p.value.value for p in passed if isinstance(p.value, ast.Constant)}

    def smoothed_floor(self, smoothing: float, classes: int = 10) -> str:
        """The lowest cross entropy with smoothed labels, in nats: the entropy of the labels themselves."""
        wrong = smoothing / classes
        right = 1 - smoothing + wrong
        return f"{-right * math.log(right) - (classes - 1) * wrong * math.log(wrong):.2f}"

    def study_steps(self, study: str) -> str:
        """Steps of the trainings of a study in docs/results/digit_runs.csv."""
        return f"{int(self._newest('digit_runs.csv', study=study)['steps']):,}"

    def alignment_momentum(self) -> str:
        """The weight of a new batch in the running mean of the improved method's distribution alignment."""
        return f"{Alignment().momentum:g}"

    def domain_classifier(self) -> dict[str, str]:
        """DANN's second classifier, which no checkpoint holds: its layers as "inputs → outputs", its parameters."""
        network = DomainClassifier()
        sizes = [f"{tensor.shape[1]} → {tensor.shape[0]}" for tensor in network.parameters() if tensor.ndim == 2]
        return {"layers": ", ".join(sizes), "parameters": f"{sum(p.numel() for p in network.parameters()):,}"}

    def layers(self, checkpoint: str) -> dict[str, list[str]]:
        """A digit network's output channels of its convolutions, and its linear layers as "inputs → outputs"."""
        weights = read_checkpoint(ROOT / "checkpoints" / f"{checkpoint}.pth")["weights"]
        shapes = [tuple(tensor.shape) for name, tensor in weights.items() if name.endswith("weight")]
        return {
            "convolutions": [f"{shape[0]}" for shape in shapes if len(shape) == 4],
            "linear": [f"{shape[1]:,} → {shape[0]:,}" for shape in shapes if len(shape) == 2],
        }

    def face(self, purpose: str, against: str = "test") -> dict[str, str]:
        """Scores of docs/results/face_scores.csv with this purpose, as tables.face_scores gives them.

        frechet, kernel, precision and recall are their means; `<name>_spread` has the standard deviation beside it.
        """
        lines = face_scores(ROOT / "docs" / "results" / "face_scores.csv")
        matches = lines[(lines["name"] == purpose) & (lines["against"] == against)]
        if matches.empty:
            raise cli.UserError(f"docs/results/face_scores.csv has no line 'table: {purpose}' against {against}")
        row = {name: str(value) for name, value in matches.iloc[0].items()}
        means = {name: row[name].split(" ")[0] for name in FACE_DIGITS}
        return row | means | {f"{name}_spread": row[name] for name in FACE_DIGITS}

    def digit_run(self, **values: str) -> dict[str, str]:
        """The newest line of docs/results/digit_runs.csv with these values: its steps, counts of images and so on."""
        return self._newest("digit_runs.csv", **values)

    def ratio(self, a: str, b: str, digits: int = 2) -> str:
        """Of two numbers as they stand in a file."""
        return f"{float(a) / float(b):.{digits}f}"

    def generated_digits(self, purpose: str, **values: str) -> dict[str, str]:
        """The newest line of docs/results/generated_digit_scores.csv with this purpose and these other values."""
        row = self._newest("generated_digit_scores.csv", purpose=f"table: {purpose}", **values)
        digits = {
            "recognised": 1,
            "least_recognised": 1,
            "recognised_test": 1,
            "frechet_ratio": 2,
            "spread": 2,
            "least_spread": 2,
        }
        return row | {name: f"{float(row[name]):.{n}f}" for name, n in digits.items() if row[name]}

    def images(self, purpose: str) -> dict[str, str]:
        """The newest line of docs/results/image_scores.csv (evaluate_images.py --csv) with this purpose, rounded."""
        row = self._newest("image_scores.csv", purpose=purpose)
        digits = {"value": 1, "mean": 2, "std": 2, "entropy": 2, "conditional": 2}
        return row | {name: f"{float(row[name]):.{n}f}" for name, n in digits.items() if row[name]}

    def balanced_images(self, source: str, target: str) -> str:
        """Test images of each domain in a proxy A-distance with as many of each digit."""
        row = self._newest("domain_distance.csv", method="dann_balanced", source=source, target=target)
        return f"{int(row['images']):,}"

    def further_sets(self, purpose: str, what: str = "") -> str:
        """Distances to the same test faces of other sets of 1,000 than the one that `images` gives: "28.1 and 28.6".

        Sets of a generator come from face_scores.py (`what`: its checkpoint), of real faces from evaluate_images.py.
        """
        scores, images = (read_rows(ROOT / "docs" / "results" / f"{name}_scores.csv") for name in ("face", "image"))
        if what:
            values = [row["frechet"] for row in scores if (row["what"], row["purpose"]) == (what, "sets of 1,000")]
        else:
            mine = [row for row in images if row["purpose"] == purpose]
            values = [row["value"] for row in mine[:-1] if row["n_real"] == mine[-1]["n_real"]]
        if not values:
            raise cli.UserError(f"docs/results has no further sets of 1,000 faces of {what or purpose}")
        return " and ".join(f"{float(value):.1f}" for value in values)

    def snapshot(self, run: str, step: int) -> str:
        """Fréchet distance of a run's snapshot to held-out faces, one draw of 3,000."""
        what = f"runs/{run}/snapshots/step_{step:06d}.pth"
        return f"{float(self._newest('face_scores.csv', what=what, against='held-out')['frechet']):.1f}"

    def outputs(self, faces: str) -> dict[str, str]:
        """What the SAGAN's discriminator says at the last step of "training", "held-out" or "generated" faces."""
        row = self._newest("sagan_outputs.csv", faces=faces)
        shares = {name: f"{100 * float(row[name]):.0f}" for name in ("right", "beyond_margin")}
        return row | {name: f"{float(row[name]):.2f}" for name in ("mean", "std", "min", "max")} | shares

    def cell(self, text: str, name: str, row: str, column: str) -> str:
        """One cell of a table in the card docs/models/<text>.md, from the csv file that was written with it."""
        header, *rows = self._table(text, name)
        for cells in rows:
            if cells[0] == row and column in header:
                return cells[header.index(column)]
        raise cli.UserError(f"docs/results/tables/{text}, {name}: there is no {row} / {column}")

    def cells(self, text: str, name: str, row: str) -> dict[str, str]:
        """A whole row of such a table: column → cell."""
        header = self._table(text, name)[0]
        return {column: self.cell(text, name, row, column) for column in header[1:]}

    def table(self, text: str, name: str, columns: list[str] | None = None, rows: dict[str, str] | None = None) -> str:
        """Such a table in Typst. `columns`: those beside the first. `rows`: those, as name → name to print."""
        header, *every = self._table(text, name)
        if rows is None:
            lines = every
        else:
            named = {line[0]: line for line in every}
            if missing := rows.keys() - named.keys():
                raise cli.UserError(f"docs/results/tables/{text}, {name}: there is no row {min(missing)}")
            lines = [[title, *named[row][1:]] for row, title in rows.items()]
        keep = [0, *(i for i, title in enumerate(header) if i and (columns is None or title in columns))]
        cells = [[line[i] for i in keep] for line in (header, *lines)]
        body = "\n".join("  " + ", ".join(f"[{_markup(cell)}]" for cell in row) + "," for row in cells)
        align = ", ".join(["left", *("right" if title else "left" for title in cells[0][1:])])  # no title: words
        return f"#table(\n  columns: {len(keep)}, align: ({align},),\n{body}\n)"

    def rows(self, text: str, name: str) -> list[list[str]]:
        """Such a table as plain text, its header first."""
        return [[cell.replace("**", "") for cell in row] for row in self._table(text, name)]

    def has(self, text: str, name: str) -> bool:
        """Whether such a table has been filled."""
        try:
            return bool(self._table(text, name))
        except cli.UserError:
            return False

    def drawn(self, figure: str) -> bool:
        """Whether report/figures/<figure> is there."""
        return (ROOT / "report" / "figures" / figure).is_file()

    def overfit(self) -> dict[str, str]:
        """Training accuracy of the NumPy network's first seed on fifty images: after the last epoch, and one before."""
        lines = read_rows(ROOT / "docs" / "results" / "cs7643_overfit.csv")
        rows = [row for row in lines if (row["drawing"], row["seed"]) == ("with replacement", "0")]
        return {"first": f"{float(rows[-1]['accuracy']):.2f}", "before": f"{float(rows[-2]['accuracy']):.2f}"}

    def validation(self, network: str) -> str:
        """Percent of the validation images of one of CS7643's networks, seed 0."""
        row = self._newest("cs7643_runs.csv", run=f"cifar_{network}_seed0")
        return f"{100 * float(row['validation_accuracy']):.1f}"

    def ablation_baseline(self) -> str:
        """Percent of the validation images of CS7643's own network in its short training, seed 0."""
        row = self._newest("my_model_ablations.csv", variant="whole network", seed="0")
        return f"{100 * float(row['validation_accuracy']):.1f}"

    def ablation_images(self) -> str:
        """How many images each short training of the own network's ablation sees."""
        return f"{int(self._newest('my_model_ablations.csv', variant='whole network')['images']):,}"

    def pilot(self, experiment: str) -> str:
        """A pilot's value in docs/results/pilots.csv, copied from docs/LOG.md: no file of these runs was kept."""
        return self._newest("pilots.csv", experiment=experiment)["value"]

    def tested(self, network: str) -> str:
        """Percent of the test images of one of CS7643's networks, seed 0."""
        return f"{100 * float(self._newest('cs7643_runs.csv', run=f'cifar_{network}_seed0')['test_accuracy']):.1f}"

    def favourites(self) -> list[int]:
        """The two numbers on the sheet of flowers that were chosen."""
        return [int(number) for number in np.load(ROOT / "report" / "figures" / "flowers_latents.npz")["favourites"]]

    def long_tail(self) -> dict[str, str]:
        """Training images of the long-tailed CIFAR-10: of the largest class, of the smallest, and of all."""
        counts = self._class_counts()
        return {"largest": f"{max(counts):,}", "smallest": f"{min(counts):,}", "images": f"{sum(counts):,}"}

    def weight_ratio(self, beta: float) -> str:
        """Smallest class's weight over the largest's in the long tail: effective numbers, Cui et al. 2019, eq. 2."""
        return f"{self._weight_ratio(beta):.1f}"

    def weight_shift(self, beta: float) -> str:
        """Logarithm of that ratio: how far the weights move the logits of the two classes apart at the optimum."""
        return f"{math.log(self._weight_ratio(beta)):.1f}"

    def weight_share(self, beta: float) -> str:
        """Percent of the loss's weight that lies on the five smallest classes of the long tail, over all its images."""
        weights = [count / (1 - beta**count) for count in self._class_counts()]
        return f"{100 * sum(sorted(weights)[:5]) / sum(weights):.0f}"

    def class_changes(self, loss: str) -> dict[str, str]:
        """Each class's test accuracy on the long tail less that with cross entropy: points, means over the seeds."""
        rows = read_rows(ROOT / "docs" / "results" / "cs7643_runs.csv")
        runs = {
            kind: [row for row in rows if row["run"].startswith(f"cifar_longtail_{kind}_seed")] for kind in ("ce", loss)
        }
        names = list(rows[0])[-10:]  # the classes are the last columns
        means = {
            kind: {name: np.mean([float(row[name]) for row in lines]) for name in names} for kind, lines in runs.items()
        }
        return {name: f"{100 * (means[loss][name] - means['ce'][name]):+.1f}" for name in names}

    def _class_counts(self) -> list[int]:
        row = self._newest("cs7643_runs.csv", run="cifar_longtail_ce_seed0")
        return [int(count) for count in row["training_images"].split()]

    def theory(self) -> dict[str, Any]:
        """CS7643's theory questions, computed: A as rows of names, (x, W, b, h(x)) at the three points, the kinks."""
        names = [[f"w_({i},{j})" for j in range(3)] for i in range(3)]
        matrix = theory.convolution_matrix(names, (3, 3), stride=4, padding=2, zero="0")
        lines = [(x, *theory.local_line(x)) for x in (Fraction(2), Fraction(-1), Fraction(1))]
        return {
            "matrix": "; ".join(", ".join(row) for row in matrix),
            "size": f"{len(matrix)} x {len(matrix[0])}",
            "lines": [
                (x, slope, intercept, slope * x + intercept, *(_worked(part, x) for part in theory.layers(x)), _sum(x))
                for x, slope, intercept in lines
            ],
            "kinks": ' " and " '.join(str(x) for x in theory.kinks()),
        }

    def inversion(self) -> dict[str, dict[str, str]]:
        """Each run of docs/results/inversion.csv: title, images, the metrics as mean ± std over the targets, seconds.

        Beside it `<metric>_mean`, as rounded, and `<metric>_exact`, for ratios.
        """
        rows = inversion_rows(self._inversion_csv())
        means = ("l2", "lpips", "cosine")
        return {row["run"]: row | {f"{m}_mean": row[m].split(" ")[0] for m in means} for row in rows}

    def inversion_terms(self) -> dict[str, dict[str, str]]:
        """The runs of docs/results/inversion_terms.csv, the own loss without one of its terms each: the same values."""
        return {row["run"]: row for row in inversion_rows(self._inversion_csv().with_name("inversion_terms.csv"))}

    def inversion_settings(self) -> dict[str, str]:
        """What docs/results/inversion_settings.csv holds: setting → value."""
        rows = read_rows(self._inversion_csv().with_name("inversion_settings.csv"))
        return {row["setting"]: row["value"] for row in rows}

    def inversion_choice(self) -> dict[str, str]:
        """Run on the faces for choosing → its score: the mean of the metrics, each as a share of plain MSE's."""
        rows = read_rows(self._inversion_csv().with_name("inversion_choice.csv"))
        return {row["run"]: f"{float(row['score']):.3f}" for row in rows}

    def inversion_score(self, run: str) -> str:
        """The score by which the weights were chosen, on the targets: the metrics' means as shares of W+ with MSE's."""
        lines = self._inversion_lines()
        means = [
            {metric: np.mean([float(line[metric]) for line in lines if line["run"] == name]) for metric in METRICS}
            for name in (run, "w+_mse")
        ]
        return f"{np.mean([means[0][metric] / means[1][metric] for metric in METRICS]):.3f}"

    def better_in(self, run: str, other: str, metric: str) -> str:
        """On how many targets `run` has the smaller `metric` than `other`, as "18 of 20"."""
        lines = self._inversion_lines()
        values, other_values = (
            {line["image_name"]: float(line[metric]) for line in lines if line["run"] == which and metric in line}
            for which in (run, other)
        )
        return f"{sum(values[name] < other_values[name] for name in values)} of {len(values)}"

    def nearest_training_face(self) -> str:
        """The least L2 distance of a target to a training face or its mirror image."""
        rows = read_rows(self._inversion_csv().with_name("inversion_nearest.csv"))
        return min((row["l2"] for row in rows), key=float)

    def inversion_correlation(self, a: str, b: str, runs: str = "") -> str:
        """Spearman's correlation of two metrics over the targets and all runs, or those whose names end with `runs`."""
        lines = [line for line in read_rows(self._inversion_csv()) if line["run"].endswith(runs)]
        return f"{spearmanr(*([float(line[metric]) for line in lines] for metric in (a, b))).statistic:.2f}"

    def correlation_within(self, a: str, b: str) -> dict[str, str]:
        """Spearman's correlation of two metrics over the targets of each run: least, median and most."""
        runs = defaultdict(list)
        for line in read_rows(self._inversion_csv()):
            runs[line["run"]].append((float(line[a]), float(line[b])))
        values = [spearmanr(*zip(*pairs, strict=True)).statistic for pairs in runs.values()]
        middle = {"least": min(values), "median": float(np.median(values)), "most": max(values)}
        return {name: f"{value:.2f}" for name, value in middle.items()}

    def inversion_trials(self) -> dict[str, list[tuple[str, str]]]:
        """Each weight of the own loss and of the pull → (value, score) in rising order, the first guess among them.

        The first guess is what inversion_settings.csv holds, for it won for every weight.
        """
        scores, settings = self.inversion_choice(), self.inversion_settings()
        trials: dict[str, dict[float, str]] = {}
        for run, score in scores.items():
            name, _, value = run.rpartition("_")
            if name:
                first = scores["pull" if name == "pull" else "start"]
                guess = float(settings[name.replace("-", "_")])
                trials.setdefault(name, {guess: first})[float(value)] = score
        return {name: [(f"{value:g}", by[value]) for value in sorted(by)] for name, by in trials.items()}

    def free_values(self) -> dict[str, int]:
        """How many numbers a search changes, counted from the generator: for each image in Z and W ("w"), in W+ ("w+"),
        in its noise inputs; of the weights that `tune` changes, for all images; and the values of an image's pixels."""
        g = load_model(StyleGAN2Generator, ROOT / "checkpoints" / "stylegan2.pth")
        weights, mapping = (sum(p.numel() for p in part.parameters()) for part in (g, g.mapping))
        return {
            "layers": g.layers,
            "w": g.config.latent_dim,
            "w+": g.layers * g.config.latent_dim,
            "noise": sum(noise.numel() for noise in g.fixed_noise()),
            "weights": weights - mapping,
            "pixels": 3 * g.size**2,
        }

    def viewed(self, comparison: str) -> dict[str, Any]:
        """A blind comparison: number of viewers and targets, the title of the run chosen most, and on how many targets
        all viewers chose it ("unanimous")."""
        lines = self._choices(comparison)
        (run, _), *_ = Counter(row["chosen"] for row in lines).most_common()
        targets = {row["image_name"] for row in lines}
        others = {row["image_name"] for row in lines if row["chosen"] != run}
        viewers = len({row["viewer"] for row in lines})
        return {"viewers": viewers, "targets": len(targets), "run": run, "chosen": inversion_title(run),
                "unanimous": len(targets - others)}  # fmt: skip

    def sides(self, comparison: str, run: str) -> dict[str, int]:
        """Of a blind comparison of two runs: in how many answers `run` stood first and how often it was chosen then.

        The same for second; "all first" is how many answers chose what stood first.
        """
        lines = self._choices(comparison)
        first = [row for row in lines if (row["letter"] == "A") == (row["chosen"] == run)]
        chosen = sum(row["chosen"] == run for row in first)
        return {"first": len(first), "chosen first": chosen, "second": len(lines) - len(first),
                "chosen second": sum(row["chosen"] == run for row in lines) - chosen,
                "all first": sum(row["letter"] == "A" for row in lines)}  # fmt: skip

    def agreement(self, comparison: str, *runs: str) -> dict[str, dict[str, Any]]:
        """How often the majority of the viewers and each metric choose the same of these runs.

        "viewers" → run → on how many targets most viewers chose it. Metric → run → on how many of these targets it is
        smallest for that run, and beside the runs "agreed", the number of targets on which that is the viewers' choice,
        and "expected": that number if the metric chose its runs as often, but without regard to the target. Targets on
        which two runs were chosen equally often do not count.
        """
        results = self._inversion_lines()
        votes: dict[str, Counter[str]] = defaultdict(Counter)
        for row in self._choices(comparison):
            votes[row["image_name"]][row["chosen"]] += 1
        ranked = {image: counted.most_common(2) for image, counted in votes.items()}
        chosen = {image: best[0] for image, (best, *others) in ranked.items() if not others or others[0][1] < best[1]}
        viewers = Counter(chosen.values())
        counts: dict[str, dict[str, Any]] = {"viewers": {run: viewers[run] for run in runs}}
        for metric in METRICS:
            value = {(line["run"], line["image_name"]): float(line[metric]) for line in results}
            least = {image: min(runs, key=lambda r, i=image: value[r, i]) for image in chosen}  # type: ignore[misc]
            metric_runs = Counter(least.values())
            expected = sum(viewers[run] * metric_runs[run] for run in runs) / len(chosen)
            counts[metric] = {run: metric_runs[run] for run in runs} | {"expected": f"{expected:.1f}"}
            counts[metric]["agreed"] = sum(least[image] == run for image, run in chosen.items())
        return counts

    def face_places(self) -> str:
        """(left, top) of the eyes and the mouth in an aligned face, as shares of its width and height."""
        return ", ".join(f"({x:g}, {y:g})" for x, y in CELEBA.points)

    def preferences(self, comparison: str) -> dict[str, str]:
        """How often each run was chosen in a blind comparison (its title → count), and all of them under "all"."""
        chosen = [row["chosen"] for row in self._choices(comparison)]
        return {inversion_title(run): str(n) for run, n in Counter(chosen).items()} | {"all": str(len(chosen))}

    def face_directions(self) -> dict[str, dict[str, str]]:
        """Each attribute of docs/results/face_directions.csv: its line, shares and accuracies in per cent."""
        rows = read_rows(ROOT / "docs" / "results" / "face_directions.csv")
        shares = [key for key in rows[0] if key.startswith(("share", "less", "more")) or key.endswith("accuracy")]
        return {row["attribute"]: row | {key: f"{100 * float(row[key]):.0f}" for key in shares} for row in rows}

    def _weight_ratio(self, beta: float) -> float:
        counts = self._class_counts()
        return (1 - beta ** max(counts)) / (1 - beta ** min(counts))

    def _inversion_lines(self) -> list[dict[str, str]]:
        """Every target and run of the inversion, those without one of the own loss's terms among them."""
        path = self._inversion_csv()
        return read_rows(path) + read_rows(path.with_name("inversion_terms.csv"))

    def _choices(self, comparison: str) -> list[dict[str, str]]:
        """What the viewers of a blind comparison chose, a line for each viewer and target."""
        path = ROOT / "docs" / "results" / "inversion_preferences.csv"
        return [row for row in read_rows(path) if row["comparison"] == comparison]

    def _inversion_csv(self) -> Path:
        path = ROOT / "docs" / "results" / "inversion.csv"
        if not path.is_file():
            raise cli.UserError(f"{path} is not there; run: python experiments/inversion_study.py")
        return path

    def _table(self, card: str, name: str) -> list[list[str]]:
        path = csv_of(ROOT / "docs" / "models" / f"{card}.md", name)
        if not path.is_file() or len(table := read_table(path)) < 2:
            folder = path.parent.relative_to(ROOT)
            raise cli.UserError(f"{folder} holds no table '{name}': a program in report/ writes it")
        return table

    def _newest(self, name: str, **values: str) -> dict[str, str]:
        """The last line of docs/results/<name> in which these columns hold these values."""
        matches = [row for row in read_rows(ROOT / "docs" / "results" / name) if values.items() <= row.items()]
        if not matches:
            conditions = ", ".join(f"{column} '{value}'" for column, value in values.items())
            raise cli.UserError(f"docs/results/{name} has no line with {conditions}")
        return matches[-1]


def _name(function: ast.expr) -> str:
    """The last part of a called function's name, "random_affine" for augment.random_affine."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _term(line: theory.Line) -> str:
    """A line, slope and intercept, in Typst's mathematics."""
    slope, intercept = line
    parts = [f"{slope} x".removeprefix("1 ") if slope else "", str(intercept) if intercept or not slope else ""]
    return " + ".join(part for part in parts if part)


def _worked(lines: list[theory.Line], x: Fraction) -> list[str]:
    """What goes into a layer's ReLUs around x, and whether they pass it on, in Typst's mathematics."""
    values = [theory.value(line, x) for line in lines]
    signs = [">" if value > 0 else "<" if value < 0 else "=" for value in values]
    terms = (_term(line) for line in lines)
    return [
        f"{term} = {value} {sign} 0" if term != str(value) else f"{value} {sign} 0"
        for term, value, sign in zip(terms, values, signs, strict=True)
    ]


def _sum(x: Fraction) -> str:
    """What passes the second layer's ReLUs around x and the last bias, as a sum in Typst's mathematics."""
    passed = [f"({_term(line)})" for line in theory.layers(x)[1] if theory.active(line, x)]
    return f"{' + '.join(passed)} + ({theory.B3})"


def _markup(cell: str) -> str:
    """A Markdown table's cell, which knows ** and nothing else, as Typst markup."""
    parts = cell.split("**")
    text = "".join(f"*{escape(part)}*" if index % 2 and part else escape(part) for index, part in enumerate(parts))
    return re.sub(r"^-(?=\d)", "−", text)


def escape(text: str) -> str:
    """Plain text as Typst markup."""
    return re.sub(r"([\\*_#@$`<>\[\]~/])", r"\\\1", text)
