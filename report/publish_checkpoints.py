"""Copies a study's seed-0 models into checkpoints/ and writes MANIFEST.

python report/publish_checkpoints.py --study runs/study_dann --mode dann --prefix dann
"""

import argparse
import hashlib
from pathlib import Path

try:
    from dlcv import cli
    from dlcv.files import write_bytes, write_text
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None

CHECKPOINTS = Path(__file__).resolve().parents[1] / "checkpoints"


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("runs/study_dann"))
    parser.add_argument("--mode", default="dann")
    parser.add_argument("--prefix", default="dann")
    args = parser.parse_args()
    models = sorted(args.study.glob(f"*_{args.mode}_seed0/model.pth"))
    if not models:
        raise cli.UserError(f"no *_{args.mode}_seed0/model.pth below {args.study}")
    for path in models:
        pair = path.parent.name.removesuffix(f"_{args.mode}_seed0")
        write_bytes(CHECKPOINTS / f"{args.prefix}_{pair}.pth", path.read_bytes())
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in sorted(CHECKPOINTS.glob("*.pth"))]
    write_text(CHECKPOINTS / "MANIFEST", "".join(lines))
    print(f"{len(models)} published, {len(lines)} in MANIFEST")


if __name__ == "__main__":
    cli.run(main, "publish_checkpoints.py")
