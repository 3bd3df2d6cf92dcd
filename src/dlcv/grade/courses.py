"""What each course has called and what it gives for it, problem by problem."""

from collections.abc import Iterator

import numpy as np

from dlcv.data.folders import list_images
from dlcv.grade import rubric
from dlcv.grade.calls import Grading
from dlcv.grade.rubric import Attempt, Result


def _face_scores(grading: Grading, attempt: Attempt, images: np.ndarray | None) -> list[Result]:
    """FID and IS, where the official weights and the test faces are here; nothing is fetched."""
    import torch

    from dlcv import metrics
    from dlcv.data.folders import read_images

    told = ""
    faces = grading.data / "face" / "test" if grading.data else None
    if images is None:
        told = attempt.trouble
    elif faces is None or not faces.is_dir():
        told = "no test faces here"
    elif not metrics.official_weights_are_here():
        told = "the official Inception weights are not here (inference/evaluate_images.py fetches them)"
    if told or images is None or faces is None:
        return [
            Result("2021 1", f"{name} {line}", "failed" if attempt.wrong or attempt.failed else "left out", why=told)
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


def _grade_2020(grading: Grading) -> Iterator[list[Result]]:
    yield [rubric.grade_picture("2020 1-4", "VAE, 32 samples", grading.picture("hw3_p1.sh", "fig1_4"))]
    yield [rubric.grade_picture("2020 2-2", "GAN, 32 samples", grading.picture("hw3_p2.sh", "fig2_2"))]
    targets = rubric.SOURCES["2020"]
    dann = {target: grading.adaptation("hw3_p3.sh", target) for target in targets}
    lines = rubric.BASELINES["2020"]
    yield [rubric.grade_adaptation("2020 3-2", "DANN, three pairs", dann, lines, beyond=False)]
    improved = {target: grading.adaptation("hw3_p4.sh", target) for target in targets}
    own = {target: attempt.accuracy or 0.0 for target, attempt in dann.items()}
    yield [rubric.grade_adaptation("2020 4-1", "improved, three pairs", improved, own, beyond=True)]


def _grade_2021(grading: Grading) -> Iterator[list[Result]]:
    attempt, images = grading.faces()
    status: rubric.Status = "failed" if attempt.trouble else "passed"
    measured = "" if images is None else "1,000 images"
    result = Result("2021 1", "GAN, 1,000 faces", status, measured, attempt.trouble, seconds=attempt.seconds)
    yield [result, *_face_scores(grading, attempt, images)]
    digits = grading.generated_digits()
    yield [rubric.grade_line("2021 2", f"ACGAN, {name}", digits, line) for name, line in rubric.DIGIT_LINES.items()]
    own = {}
    for target, line in rubric.BASELINES["2021"].items():
        own[target] = grading.adaptation("hw2_p3.sh", target)
        yield [rubric.grade_line("2021 3", f"DANN, {_title('2021', target)}", own[target], line)]
    for target in own:
        found = grading.adaptation("hw2_bonus.sh", target)
        title = f"improved, {_title('2021', target)}"
        yield [rubric.grade_line("2021 bonus", title, found, own[target].accuracy or 0.0, beyond=True)]


def grade_sample(grading: Grading) -> Iterator[list[Result]]:
    """The wrappers of predictions on the bundled digits, where there is no data: no points."""
    for wrapper in ("hw3_p3.sh", "hw3_p4.sh", "hw2_p3.sh", "hw2_bonus.sh"):
        if (grading.copies[0] / wrapper).is_file():
            found = grading.sample_predictions(wrapper)
            measured = "" if found.accuracy is None else f"{found.accuracy:.0f} % of 100 digits"
            status: rubric.Status = "failed" if found.trouble else "passed"
            yield [Result("sample", f"{wrapper} svhn", status, measured, found.trouble, seconds=found.seconds)]


COURSES = {"2020": _grade_2020, "2021": _grade_2021}
