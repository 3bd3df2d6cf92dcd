"""Copies a study's seed-0 models into checkpoints/ and writes MANIFEST.

python report/publish_checkpoints.py --study runs/study_dann --mode dann --prefix dann
"""

import argparse
import hashlib
from pathlib import Path

try:
    from dlcv import cli
    from dlcv.checkpoint import read_manifest
    from dlcv.files import write_bytes, write_text
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None

CHECKPOINTS = Path(__file__).resolve().parents[1] / "checkpoints"


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("runs/study_dann"))
    parser.add_argument("--mode", default="dann")
    parser.add_argument("--prefix", default="dann")
    parser.add_argument("--into", type=Path, default=CHECKPOINTS, help="folder of checkpoints and MANIFEST")
    args = parser.parse_args()
    models = sorted(args.study.glob(f"*_{args.mode}_seed0/model.pth"))
    if not models:
        raise cli.UserError(f"no *_{args.mode}_seed0/model.pth below {args.study}")
    manifest = read_manifest(args.into / "MANIFEST")
    for path in models:
        pair = path.parent.name.removesuffix(f"_{args.mode}_seed0")
        name = f"{args.prefix}_{pair}.pth"
        write_bytes(args.into / name, path.read_bytes())
        manifest[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    write_text(args.into / "MANIFEST", "".join(f"{digest}  {name}\n" for name, digest in sorted(manifest.items())))
    print(f"{len(models)} published, {len(manifest)} in MANIFEST")


if __name__ == "__main__":
    cli.run(main, "publish_checkpoints.py")
