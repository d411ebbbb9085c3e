"""The plan of an environment beside an AWS CDK app of as many resources of the same kinds.

    python bench/plan.py [--env ENV] [--rounds N] [--json]

Both sides are whole processes with compiled bytecode, alternating in one run, medians over the rounds:
- `modelyard env plan ENV --json`: settings, the program, price, quotas, policy and the difference
- `aws-cdk-lib` in Python: an app that only builds and synthesises; see plan_cdk.py. As it comes it also judges the
  templates, as our plan is judged; without that (CDK_VALIDATION=false) it is shown too

And what a resource costs at 100, 1,000 and 5,000 of them, recorded alone: see plan_program.py.
The CDK needs Node.js and, the first time, the package registry: it is installed, pinned by hash, into the user's cache.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

HERE = Path(__file__).parent
COMPILED = ["pulumi", "pulumi_aws", "google", "grpc", "opentelemetry", "pydantic", "typer", "rich", "yaml", "semver"]
SIZES = (100, 1_000, 5_000)


@dataclass(frozen=True)
class Figure:
    """One measured number and what it should be."""

    value: float
    unit: str
    goal: float | None
    higher_is_better: bool


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description="The plan of an environment beside the AWS CDK.")
    parser.add_argument("--env", default="prod", help="the environment to plan")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if not shutil.which("node"):
        sys.exit("The CDK runs on Node.js, and there is no `node` on the PATH.")
    compile_ours()
    with tempfile.TemporaryDirectory() as folder:
        figures = beside_the_cdk(options.env, options.rounds, cdk(), Path(folder)) | by_size(options.rounds)
    if options.json:
        print(json.dumps({name: asdict(figure) for name, figure in figures.items()}))
    else:
        for name, figure in figures.items():
            goal = "" if figure.goal is None else f"goal {'≥' if figure.higher_is_better else '≤'} {figure.goal:g}"
            print(f"{name:32} {figure.value:10.2f} {figure.unit:6} {goal}")


def compile_ours() -> None:
    """Bytecode for what a plan imports, as `make setup` leaves it."""
    packages = Path(sysconfig.get_path("purelib"))
    words = [sys.executable, "-m", "compileall", "-q", *(str(packages / name) for name in COMPILED)]
    subprocess.run([*words, *(str(HERE.parent / name) for name in ("modelyard", "infra"))], check=False)


def cdk() -> str:
    """The Python of the CDK's environment, made when there is none."""
    place = Path(platformdirs.user_cache_dir("modelyard")) / "bench-cdk"
    python = place / "bin" / "python"
    if not (place / "ready").exists():
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)], check=True)
        words = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--require-hashes", "--python", str(python)]
        subprocess.run([*words, "--requirement", str(HERE / "plan_cdk.txt")], check=True)
        (place / "ready").touch()
    return str(python)


def beside_the_cdk(env: str, rounds: int, cdk_python: str, folder: Path) -> dict[str, Figure]:
    """Seconds of both, and how many times longer the CDK takes; a first round of each warms up."""
    plan = [str(Path(sys.executable).with_name("modelyard")), "env", "plan", env, "--json", "--fail-on", "never"]
    types = [one["type"] for one in json.loads(timed(plan, folder)[1])["resources"]]
    counts = Counter(one.removeprefix("aws:").partition(":")[0] for one in types if one.startswith("aws:"))
    (folder / "counts.json").write_text(json.dumps(counts), encoding="utf-8")
    app = [cdk_python, str(HERE / "plan_cdk.py"), str(folder / "counts.json"), str(folder / "out")]
    timed(app, folder)
    ours, theirs, unvalidated = [], [], []
    for _ in range(rounds):
        ours.append(timed(plan, folder)[0])
        theirs.append(timed(app, folder)[0])
        unvalidated.append(timed(app, folder, CDK_VALIDATION="false")[0])
    here, there, less = (statistics.median(side) for side in (ours, theirs, unvalidated))
    return {
        "resources": Figure(counts.total(), "", None, higher_is_better=True),
        "plan_here": Figure(here, "s", None, higher_is_better=False),
        "cdk_synth": Figure(there, "s", None, higher_is_better=False),
        "cdk_synth_unvalidated": Figure(less, "s", None, higher_is_better=False),
        "plan_ratio_to_cdk": Figure(there / here, "x", 3, higher_is_better=True),
        "plan_ratio_to_cdk_unvalidated": Figure(less / here, "x", None, higher_is_better=True),
    }


def by_size(rounds: int) -> dict[str, Figure]:
    """Milliseconds a resource, and how much more one costs among 5,000 than among 100."""
    cost = {}
    for size in SIZES:
        words = [sys.executable, str(HERE / "plan_program.py"), str(size)]
        seconds = [json.loads(timed(words, HERE.parent)[1])["seconds"] for _ in range(rounds)]
        cost[size] = statistics.median(seconds) / size * 1e3
    figures = {
        f"resource_among_{size}": Figure(each, "ms", None, higher_is_better=False) for size, each in cost.items()
    }
    growth = cost[max(SIZES)] / cost[min(SIZES)]
    return figures | {"resource_growth": Figure(growth, "x", 1.5, higher_is_better=False)}


def timed(words: list[str], folder: Path, **more: str) -> tuple[float, str]:
    """Seconds from start to end of a process, and what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(HERE.parent), "XDG_STATE_HOME": str(folder), **more}
    started = time.perf_counter()
    done = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd=HERE.parent
    )
    return time.perf_counter() - started, done.stdout.decode()


if __name__ == "__main__":
    main()
