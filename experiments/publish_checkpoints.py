"""Copies models into checkpoints/ and writes MANIFEST: those that are named, or a study's of seed 0.

python experiments/publish_checkpoints.py vae.pth=runs/vae_seed0/model.pth gan.pth=runs/gan_seed0/model.pth
python experiments/publish_checkpoints.py --into FOLDER mymodel.pth=runs/cifar_mymodel_seed0/model.pth
python experiments/publish_checkpoints.py --study runs/study_dann --mode dann --prefix dann
"""

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    from dlcv.checkpoint import CHECKPOINTS, read_manifest
    from dlcv.files import write_bytes, write_text
    from dlcv.models.table import load_any


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("named", nargs="*", metavar="NAME=FILE", help="a checkpoint and its name in checkpoints/")
    parser.add_argument("--study", type=Path, help="folder of a study")
    parser.add_argument(
        "--mode", default="dann", help="training mode whose runs are published: dann or uda (default: dann)"
    )
    parser.add_argument("--prefix", default="dann", help="first word of the published names (default: dann)")
    parser.add_argument("--into", type=Path, default=CHECKPOINTS, help="folder of checkpoints and MANIFEST")
    args = parser.parse_args()
    wrong = [words for words in args.named if "=" not in words]
    if wrong or not (args.named or args.study):
        raise cli.UsageError("give NAME=FILE, or --study" + (f", not {wrong[0]}" if wrong else ""))
    models = {name: Path(path) for name, path in (words.split("=", 1) for words in args.named)}
    if args.study:
        suffix = f"_{args.mode}_seed0"
        paths = sorted(args.study.glob(f"*{suffix}/model.pth"))
        models |= {f"{args.prefix}_{path.parent.name.removesuffix(suffix)}.pth": path for path in paths}
        if not paths:
            raise cli.UserError(f"no *{suffix}/model.pth below {args.study}")
    manifest = read_manifest(args.into / "MANIFEST")
    for name, path in models.items():
        # Nothing but a checkpoint is published: the project's own, or a course's plain state dict.
        load_any(path)
        write_bytes(args.into / name, path.read_bytes())
        content = (args.into / name).read_bytes()
        manifest[name] = hashlib.sha256(content).hexdigest()
    write_text(args.into / "MANIFEST", "".join(f"{digest}  {name}\n" for name, digest in sorted(manifest.items())))
    print(f"{len(models)} published, {len(manifest)} in MANIFEST")


if __name__ == "__main__":
    cli.run(main, "publish_checkpoints.py")
