"""The test cluster from the shell: build its programs, and have it up for as long as you like."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from tests.cluster.build import PROGRAMS, BuildError, build
from tests.cluster.plane import Plane, PlaneError


def main() -> int:
    """Run a command; what goes wrong is one sentence."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="build what isn't built yet")
    building.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(PROGRAMS)}; all if none")
    commands.add_parser("up", help="start a control plane with KWOK, until Ctrl-C")
    arguments = parser.parse_args()
    try:
        if arguments.command == "build":
            build(arguments.names or PROGRAMS, lambda line: print(line, flush=True))
        else:
            _up()
    except (BuildError, PlaneError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _up() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="modelyard-cluster-"))
    with Plane(folder) as plane:
        print(f"KUBECONFIG={plane.kubeconfig}", flush=True)
        print(f"ready in {plane.seconds:.1f} s; logs are in {folder}; Ctrl-C ends it", file=sys.stderr, flush=True)
        plane.wait()


if __name__ == "__main__":
    sys.exit(main())
