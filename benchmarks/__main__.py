"""The command line: ``python -m benchmarks``."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks import (
    budget,
    churn,
    churn_volumes,
    kernel,
    memory,
    pacing,
    scaling,
    sharing,
    wire,
)
from benchmarks.cases import CASES
from benchmarks.report import Report, machine, new_folder
from benchmarks.servers import PEERS
from benchmarks.shapes import SHAPES
from benchmarks.workloads import WORKLOADS

DESCRIPTION: Final = """\
Measure ram9 beside other servers of 9P2000.L, on this machine, in one run.

Servers are measured in turns, so that a drift of the machine hits all alike; tables show medians
and ratios. Believe ratios of one run on a quiet machine, never absolute figures of two."""

EPILOG: Final = """\
servers:
  responder   answers without doing anything: the most that the sockets allow (needs cc)
  diod        over a tmpfs of its own, if it is installed
  ram9        this checkout

what is written:
  report.md, report.json and charts as SVG (with matplotlib: pip install 'ram9[bench]'), in a new
  folder of benchmarks/results/ or where --output says; the tables are printed, too

examples:
  python -m benchmarks all --quick                    whether everything works, in two minutes
  python -m benchmarks wire                           the whole table at the wire
  python -m benchmarks wire --cases null,read-4k --in-flight 1,32 --connections 1 --transports tcp
  RAM9_GUEST=.../guest python -m benchmarks kernel    through the kernel of a guest
  python -m benchmarks churn --minutes 60
  python -m benchmarks churn --volumes 4 --minutes 60
  python -m benchmarks COMMAND --help                 what a command measures, and its options"""

WIRE: Final = f"""\
Measure requests and answers on sockets.

Every case ({", ".join(CASES)})
is measured with 1, 4 and 32 requests in flight, over 1, 8 and 64 connections, TCP and unix socket:
{len(wire.full_plan())} rows, {wire.ROUNDS} rounds of {wire.SECONDS} s for each server.

--quick: every case with 1 and 32 in flight over one TCP connection; null, read-4k and write-4k
also over 64 connections and over a unix socket: {len(wire.quick_plan())} rows,
{wire.QUICK_ROUNDS} round of {wire.QUICK_SECONDS} s."""

KERNEL: Final = f"""\
Measure what people do on mounts of Linux's own client.

The workloads are {", ".join(WORKLOADS)}.

It takes root and a kernel with 9p, or RAM9_GUEST: what runs a command as root under a kernel that
has it (tests/kernel/README.md). It is called with -s SERVER, which has to run outside of the guest,
where it can be reached at RAM9_GUEST_ADDRESS (default: {kernel.OUTSIDE_ADDRESS}).

--quick: one round instead of {kernel.ROUNDS}, of about a tenth of the work."""

COMMANDS: Final = {
    "wire": WIRE,
    "kernel": KERNEL,
    "scaling": """\
Measure whether operations cost the same however large things are.

Files of 1 KiB to 16 GiB, 10 to 1,000,000 files, directories of 10 to 1,000,000 names. It takes some
5 GiB of memory. --quick: up to 32 MiB, 10,000 files and 10,000 names.""",
    "churn": f"""\
Plot rate and memory of a nearly full disk, or of several, over time.

Files of mixed sizes come, grow and go on a disk of 1 GiB. --quick: for 10 seconds.

--volumes N: on N volumes of one server, of {churn_volumes.TOTAL_BYTES >> 20} MiB together, beside
scratch volumes that come and go. Files are renamed and have attributes, too; it also plots in how
many runs the data of a file lies, and checks the file systems in the end.""",
    "fairness": """\
Measure the latency of a client that stats while another one streams.

The other has 32 reads or writes of 1 MiB in flight. --quick: one round.""",
    "writers": """\
Measure what one, two and four writers of one file come to together.

With 4 KiB, 64 KiB and 1 MiB, into parts of their own and into the same range.
--quick: one round.""",
    "budget": """\
Count the processor time and the system calls of each request.

Of ram9 only; the calls are counted with strace. --quick: 0.2 s for each case.""",
    "pacing": """\
Measure what a request costs where the client thinks before the next one.

Processor time of the server and the time until the answer, of ram9 and diod.
--quick: one round.""",
    "memory": f"""\
Measure what trees of several shapes take of memory, and what is left of it after deleting.

Each in a process of its own, in a server, and on a tmpfs. The shapes are
{", ".join(SHAPES)}.
At full size they take up to 2 GiB and some 20 minutes. --quick: a hundredth of them.""",
    "all": """\
Measure at the wire, and through the kernel if that is possible here.

--quick: what both do with --quick, in less than two minutes on a quiet machine.""",
}


def parser() -> argparse.ArgumentParser:
    """The parser, whose help teaches what is measured."""
    main = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text.splitlines()[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--quick", action="store_true", help="see above")
        command.add_argument("--output", type=Path, metavar="FOLDER", help="where to write")
        _add_options(name, command)
    return main


def _words(allowed: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """What reads words with commas between them, each one of *allowed*."""

    def read(text: str) -> tuple[str, ...]:
        words = tuple(text.split(","))
        wrong = [word for word in words if word not in allowed]
        if wrong:
            raise argparse.ArgumentTypeError(f"{wrong[0]!r} is none of {', '.join(allowed)}")
        return words

    return read


def _numbers(text: str) -> tuple[int, ...]:
    """Positive numbers with commas between them."""
    try:
        numbers = tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} are not numbers, such as 1,32") from None
    if min(numbers) < 1 or max(numbers) > 128:
        raise argparse.ArgumentTypeError("numbers are from 1 to 128")
    return numbers


def _volumes(text: str) -> int:
    """How many volumes are churned."""
    if not text.isdecimal() or not 1 <= int(text) <= churn_volumes.VOLUMES_MAX:
        raise argparse.ArgumentTypeError(f"choose from 1 to {churn_volumes.VOLUMES_MAX} volumes")
    return int(text)


def _add_options(name: str, command: argparse.ArgumentParser) -> None:
    if name in ("wire", "budget"):
        command.add_argument(
            "--cases", type=_words(tuple(CASES)), metavar="NAMES", default=tuple(CASES)
        )
    if name == "wire":
        command.add_argument("--in-flight", type=_numbers, metavar="N,...", default=wire.DEPTHS)
        command.add_argument(
            "--connections", type=_numbers, metavar="N,...", default=wire.CONNECTIONS
        )
        transports = _words(wire.TRANSPORTS)
        command.add_argument(
            "--transports", type=transports, metavar="NAMES", default=wire.TRANSPORTS
        )
    if name in ("wire", "fairness", "writers"):
        command.add_argument(
            "--peers", type=_words(tuple(PEERS)), metavar="NAMES", default=tuple(PEERS)
        )
    if name == "kernel":
        workloads = tuple(WORKLOADS)
        command.add_argument(
            "--workloads", type=_words(workloads), metavar="NAMES", default=workloads
        )
        modes = _words(("none", "mmap", "loose", "readahead"))
        command.add_argument("--cache", type=modes, metavar="MODES", default=kernel.MODES)
        command.add_argument(
            "--inside", action="store_true", help="run the servers in the guest, too"
        )
    if name in ("wire", "kernel", "scaling", "fairness", "writers", "pacing"):
        command.add_argument(
            "--rounds", type=int, metavar="N", help="how often all take their turn"
        )
    if name in ("wire", "scaling", "fairness", "writers", "pacing", "budget"):
        command.add_argument("--seconds", type=float, metavar="S", help="for each measurement")
    if name == "memory":
        command.add_argument(
            "--shapes", type=_words(tuple(SHAPES)), metavar="NAMES", default=tuple(SHAPES)
        )
    if name == "churn":
        command.add_argument("--minutes", type=float, default=60.0, metavar="M")
        command.add_argument("--volumes", type=_volumes, metavar="N", help="see above")


def _wire(options: argparse.Namespace, report: Report) -> None:
    items = wire.full_plan()
    if options.command == "wire":
        items = wire.full_plan(
            options.cases, options.in_flight, options.connections, options.transports
        )
    if options.quick:
        items = wire.quick_plan(getattr(options, "cases", tuple(CASES)))
    plan = wire.Plan(
        items,
        getattr(options, "rounds", None) or (wire.QUICK_ROUNDS if options.quick else wire.ROUNDS),
        getattr(options, "seconds", None)
        or (wire.QUICK_SECONDS if options.quick else wire.SECONDS),
        wire.QUICK_SPAN_BYTES if options.quick else wire.SPAN_BYTES,
        getattr(options, "peers", tuple(PEERS)),
    )
    sys.stderr.write(f"{len(items)} rows, about {plan.seconds_planned / 60:.1f} minutes\n")
    wire.run_plan(plan, report)


def _kernel(options: argparse.Namespace, report: Report) -> None:
    if reason := kernel.why_not():
        report.notes.append(f"nothing through the kernel: {reason}")
        return
    rounds = getattr(options, "rounds", None)
    plan = kernel.KernelPlan(
        workloads=getattr(options, "workloads", tuple(WORKLOADS)),
        modes=getattr(options, "cache", kernel.MODES),
        rounds=rounds or (kernel.QUICK_ROUNDS if options.quick else kernel.ROUNDS),
        quick=options.quick,
        servers_inside=getattr(options, "inside", False),
    )
    kernel.run_kernel(plan, report)


def _scaling(options: argparse.Namespace, report: Report) -> None:
    plan = scaling.ScalingPlan.quick() if options.quick else scaling.ScalingPlan()
    plan = scaling.ScalingPlan(
        plan.file_sizes,
        plan.counts,
        options.rounds or plan.rounds,
        options.seconds or plan.seconds,
    )
    scaling.run_scaling(plan, report)


def _sharing_plan(options: argparse.Namespace) -> sharing.SharingPlan:
    plan = sharing.SharingPlan.quick() if options.quick else sharing.SharingPlan()
    return sharing.SharingPlan(
        options.rounds or plan.rounds, options.seconds or plan.seconds, options.peers
    )


def _pace(options: argparse.Namespace) -> pacing.Pace:
    pace = pacing.Pace.quick() if options.quick else pacing.Pace()
    return pacing.Pace(options.rounds or pace.rounds, options.seconds or pace.seconds)


def _churn(options: argparse.Namespace, report: Report) -> None:
    seconds = 10.0 if options.quick else 60 * options.minutes
    points = 10 if options.quick else 120
    if options.volumes:
        plan = churn_volumes.Plan(options.volumes, seconds, points)
        churn_volumes.run_volumes(plan, report)
    else:
        churn.run_churn(seconds, points, report)


def measure(options: argparse.Namespace, report: Report) -> None:
    """Do what the command is for."""
    match options.command:
        case "wire":
            _wire(options, report)
        case "kernel":
            _kernel(options, report)
        case "scaling":
            _scaling(options, report)
        case "churn":
            _churn(options, report)
        case "fairness":
            sharing.run_fairness(_sharing_plan(options), report)
        case "writers":
            sharing.run_writers(_sharing_plan(options), report)
        case "memory":
            scale = memory.QUICK_SCALE if options.quick else 1.0
            memory.run_memory(scale, options.shapes, report)
        case "pacing":
            pacing.run_pacing(_pace(options), report)
        case "budget":
            seconds = options.seconds or (0.2 if options.quick else 2.0)
            budget.run_budget(options.cases, seconds, report)
        case _:
            _wire(options, report)
            _kernel(options, report)


def main(argv: Sequence[str]) -> int:
    """Measure, print the tables, write the files."""
    options = parser().parse_args(argv)
    command = f"python -m benchmarks {shlex.join(argv)}"
    title = COMMANDS[options.command].splitlines()[0].rstrip(".,")
    report = Report(command, title, machine())
    try:
        measure(options, report)
    except BaseException as error:
        report.note(f"it ended early: {error!r}")
        raise
    finally:
        written = report.write(options.output or new_folder(options.command))
    sys.stdout.write(report.markdown())
    sys.stderr.write("".join(f"wrote {path}\n" for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
