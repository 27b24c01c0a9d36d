"""Make ``build/typed/avbench``, a tree of links in which static tools can resolve the mapped package."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "build" / "typed" / "avbench"
MAPPED = ("methods", "metrics", "leaderboards")


def main() -> None:
    TREE.mkdir(parents=True, exist_ok=True)
    for stale in TREE.iterdir():
        stale.unlink()
    for entry in [e for e in (ROOT / "benchmark").iterdir() if e.name != "__pycache__"] + [ROOT / m for m in MAPPED]:
        (TREE / entry.name).symlink_to(entry)


if __name__ == "__main__":
    main()
