"""Runs the studies on CIFAR-10 and Fashion-MNIST, or what is left of them.

    python experiments/study_photos.py eee7331         # both networks, three seeds
    python experiments/study_photos.py cs7643          # the course's networks, augmented or not, and our own
    python experiments/study_photos.py choices         # long tail, on validation images: learning rates, beta
    python experiments/study_photos.py gamma           # long tail, on validation images: four gammas, three seeds
    python experiments/study_photos.py longtail        # long tail: four losses with three seeds, as recipes.py has them
    python experiments/study_photos.py autoencoder     # five seeds
    python experiments/study_photos.py longtail --list # says what is done, begun and left

Stop it when you like, the next call goes on. Flags behind -- go to the training script. After `choices` the best values
go into src/dlcv/cs7643/recipes.py by hand, then `python -m dlcv.cs7643.recipes`; then `longtail`.
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli
from dlcv.cs7643.recipes import CHOICES, GAMMAS
from dlcv.study import Job, arguments, work

TRAIN = Path(__file__).resolve().parents[1] / "train"
LOSSES = ("ce", "cb_ce", "focal", "cb_focal")


def plan(study: str, runs: Path) -> list[Job]:
    """The runs of a study, in the order in which a table fills up."""
    if study == "eee7331":
        kinds = (("plain", ()), ("separable", ("--separable",)))
        return [
            Job(runs / f"cifar_cnn_{kind}_seed{seed}", TRAIN / "train_cifar_cnn.py", (*flags, "--seed", str(seed)))
            for seed in range(3)
            for kind, flags in kinds
        ]
    if study == "autoencoder":
        script = TRAIN / "train_autoencoder.py"
        return [Job(runs / f"autoencoder_seed{seed}", script, ("--seed", str(seed))) for seed in range(5)]
    script = TRAIN / "train_cifar.py"
    if study == "cs7643":
        names = ("twolayer", "vanilla_cnn", "twolayer_course", "vanilla_cnn_course", "mymodel")
        return [
            Job(runs / f"cifar_{name}_seed{seed}", script, (name, "--seed", str(seed)))
            for name in names
            for seed in range(3)
        ]
    if study == "choices":
        return [Job(runs / name.replace("resnet32", "cifar_choice"), script, (name,)) for name in CHOICES]
    if study == "gamma":
        return [
            Job(runs / f"{name.replace('resnet32_cb_focal', 'cifar')}_seed{seed}", script, (name, "--seed", str(seed)))
            for seed in range(3)
            for name in GAMMAS
        ]
    # What is compared is trained on all images of the long tail, and keeps the last epoch.
    return [
        Job(runs / f"cifar_longtail_{loss}_seed{seed}", script, (f"resnet32_{loss}", "--seed", str(seed)))
        for seed in range(3)
        for loss in LOSSES
    ]


def main() -> int:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument(
        "study",
        choices=("eee7331", "cs7643", "choices", "gamma", "longtail", "autoencoder"),
        help="which assignment's trainings, see above",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs (default runs)")
    args, flags = arguments(parser)
    jobs = [replace(job, flags=(*job.flags, *flags)) for job in plan(args.study, args.runs)]
    return work(jobs, args.jobs, args.list)


if __name__ == "__main__":
    cli.run(main, "study_photos.py")
