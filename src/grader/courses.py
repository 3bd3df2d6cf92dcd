"""What each course has called and what it gives for it, problem by problem."""

import functools
from collections.abc import Callable

import numpy as np

from dlcv.data.layout import list_images
from grader import rubric
from grader.calls import Grading
from grader.rubric import Attempt, Result

Step = tuple[str, Callable[[], list[Result]]]  # a problem, and what grades it


def _face_scores(grading: Grading, attempt: Attempt, images: np.ndarray | None) -> list[Result]:
    """FID and IS, where the official weights and the test faces are here; nothing is fetched."""
    import torch

    from dlcv import metrics
    from dlcv.data.folders import read_images

    why = ""
    faces = grading.data / "face" / "test" if grading.data else None
    if images is None or attempt.left_out:
        why = attempt.trouble
    elif faces is None or not faces.is_dir():
        why = "no test faces here"
    elif not metrics.official_weights_are_here():
        why = "the official Inception weights are not here (inference/evaluate_images.py fetches them)"
    if why or images is None or faces is None:
        return [
            Result("2021 1", f"{name} {line}", "failed" if attempt.wrong or attempt.failed else "left out", why=why)
            for name in ("FID", "IS") for line in ("simple", "strong")
        ]  # fmt: skip
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    network = metrics.inception()
    real = read_images(faces, list_images(faces), 64)
    fid = metrics.frechet_distance(metrics.extract(network, tensor), metrics.extract(network, real))
    score, _ = metrics.inception_score(metrics.extract(metrics.inception_classifier(), tensor))
    results = []
    for line in ("simple", "strong"):
        for name, value, limit, good in (
            ("FID", fid, rubric.FID_LINES[line], fid <= rubric.FID_LINES[line]),
            ("IS", score, rubric.IS_LINES[line], score >= rubric.IS_LINES[line]),
        ):
            why = "" if good else f"the line is {limit:g}"
            results.append(Result("2021 1", f"{name} {line}", "passed" if good else "failed", f"{value:.2f}", why))
    return results


def _title(course: str, target: str) -> str:
    return f"{rubric.NAMES[rubric.SOURCES[course][target]]} → {rubric.NAMES[target]}"


def _steps_2020(grading: Grading) -> list[Step]:
    targets = rubric.SOURCES["2020"]

    @functools.cache
    def dann() -> dict[str, Attempt]:
        return {target: grading.adaptation("hw3_p3.sh", target) for target in targets}

    def improved() -> list[Result]:
        attempts = {target: grading.adaptation("hw3_p4.sh", target) for target in targets}
        own = {target: attempt.accuracy for target, attempt in dann().items()}
        return [rubric.grade_adaptation("2020 4-1", "improved, three pairs", attempts, own, beyond=True)]

    def adversarial() -> list[Result]:
        lines = rubric.BASELINES["2020"]
        return [rubric.grade_adaptation("2020 3-2", "DANN, three pairs", dann(), lines, beyond=False)]

    def picture(problem: str, title: str, wrapper: str, figure: str) -> list[Result]:
        return [rubric.grade_picture(problem, title, grading.picture(wrapper, figure))]

    return [
        ("2020 1-4", lambda: picture("2020 1-4", "VAE, 32 samples", "hw3_p1.sh", "fig1_4")),
        ("2020 2-2", lambda: picture("2020 2-2", "GAN, 32 samples", "hw3_p2.sh", "fig2_2")),
        ("2020 3-2", adversarial),
        ("2020 4-1", improved),
    ]


def _steps_2021(grading: Grading) -> list[Step]:
    def faces() -> list[Result]:
        attempt, images = grading.faces()
        status: rubric.Status = "left out" if attempt.left_out else "failed" if attempt.trouble else "passed"
        measured = "" if images is None or attempt.left_out else "1,000 images"
        result = Result("2021 1", "GAN, 1,000 faces", status, measured, attempt.trouble, seconds=attempt.seconds)
        return [result, *_face_scores(grading, attempt, images)]

    def digits() -> list[Result]:
        attempt = grading.generated_digits()
        return [
            rubric.grade_line("2021 2", f"ACGAN, {name}", attempt, line) for name, line in rubric.DIGIT_LINES.items()
        ]

    @functools.cache
    def dann(target: str) -> Attempt:
        return grading.adaptation("hw2_p3.sh", target)

    def adversarial(target: str) -> list[Result]:
        line = rubric.BASELINES["2021"][target]
        return [rubric.grade_line("2021 3", f"DANN, {_title('2021', target)}", dann(target), line)]

    def improved(target: str) -> list[Result]:
        attempt = grading.adaptation("hw2_bonus.sh", target)
        title = f"improved, {_title('2021', target)}"
        return [rubric.grade_line("2021 bonus", title, attempt, dann(target).accuracy, beyond=True)]

    targets = rubric.BASELINES["2021"]
    return [
        ("2021 1", faces),
        ("2021 2", digits),
        *(("2021 3", functools.partial(adversarial, target)) for target in targets),
        *(("2021 bonus", functools.partial(improved, target)) for target in targets),
    ]


def sample_steps(grading: Grading) -> list[Step]:
    """The wrappers of predictions on the bundled digits, where there is no data: no points."""

    def predictions(wrapper: str) -> list[Result]:
        attempt = grading.sample_predictions(wrapper)
        measured = "" if attempt.accuracy is None else f"{attempt.accuracy:.0f} % of 100 digits"
        status: rubric.Status = "left out" if attempt.left_out else "failed" if attempt.trouble else "passed"
        return [Result("sample", f"{wrapper} svhn", status, measured, attempt.trouble, seconds=attempt.seconds)]

    wrappers = ("hw3_p3.sh", "hw3_p4.sh", "hw2_p3.sh", "hw2_bonus.sh")
    there = [wrapper for wrapper in wrappers if (grading.copies[0] / wrapper).is_file()]
    return [("sample", functools.partial(predictions, wrapper)) for wrapper in there]


COURSES = {"2020": _steps_2020, "2021": _steps_2021}
