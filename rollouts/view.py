"""`python -m rollouts.view RUN`: look at a run in the browser; `--text` in the terminal; `--export FILE.html` as one
file to send on."""

from __future__ import annotations

import argparse
import errno
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from rollouts.store.layout import NotARun, StoreError, list_steps
from rollouts.terminal import CANNOT, DONE, Ending, accept_any_stdout, complain, open_console, printable, require
from rollouts.transcript import show_text

DEFAULT_PORT = 8765
_EXAMPLES = """examples:
  python -m rollouts.view runs/med_grpo                        the page, on http://127.0.0.1:8765
  python -m rollouts.view runs/med_grpo runs/med_grpo_replay   two runs, the same prompts side by side
  python -m rollouts.view runs/ct --sources ct.jsonl           all slices of each volume, beside those its model saw
  python -m rollouts.view runs/med_grpo --where is:disagree --export odd.html
  python -m rollouts.view runs/med_grpo --text --step 12 --prompt item-0042 | less -R

a search (--where, and the box of the page):
  words, "a phrase", is:disagree, is:all-wrong, is:zero-variance, is:failed, is:truncated, modality:CT, type:open,
  status:error,
  reward:<0.5, step:3..9, flipped:10, judge:correct, label:wrong; commas mean or, -TERM takes away. The ? of the page
  lists all of them. `rl.replay --only` reads the same language.

The page answers on this machine only. It loads nothing from the network, runs nothing from the run's folder and writes
nothing into it
but labels.jsonl, your word on verdicts."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rollouts.view",
        description=(
            "Look at the rollouts of a run: the image, the question, and every completion with what it was paid and"
            " why."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder of a run (its out_dir), finished or still going on"
    )
    parser.add_argument(
        "run_b", type=Path, metavar="RUN_B", nargs="?", help="a second run, beside the first prompt by prompt"
    )
    page = parser.add_argument_group("page")
    page.add_argument(
        "--port", type=int, default=DEFAULT_PORT, metavar="N", help="0 for any free one (default: %(default)s)"
    )
    page.add_argument(
        "--sources",
        type=Path,
        metavar="FILE.jsonl",
        help="the data of the run, so that all slices of a volume can be seen and not only those its model saw",
    )
    page.add_argument("--open", action="store_true", help="open the browser")
    chosen = parser.add_argument_group("one file")
    chosen.add_argument(
        "--export", type=Path, metavar="FILE.html", help="write the groups chosen as one page that needs no server"
    )
    chosen.add_argument("--where", default="", metavar="SEARCH", help="which groups (default: all)")
    chosen.add_argument(
        "--sort", default="step", metavar="ORDER", help="step, -step, reward, -reward, -spread, -disagree, .."
    )
    text = parser.add_argument_group("terminal")
    text.add_argument("--text", action="store_true", help="print to the terminal")
    text.add_argument("--step", type=int, help="only this step")
    text.add_argument("--prompt", metavar="ID", help="only the groups of this prompt")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="at most N groups (default: 20 for --text, 50 for --export; 0: all)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    problem = _contradiction(arguments)
    if problem:
        parser.error(problem)
    with Ending("rollouts.view", StoreError, OSError) as ending:
        if arguments.text:
            return _text(arguments)
        require("python -m rollouts.view", "view")
        for run in filter(None, (arguments.run, arguments.run_b)):
            if not list_steps(run) and arguments.export:
                raise NotARun(f"{run} holds no step yet")
        return _export(arguments) if arguments.export else _serve(arguments)
    return ending.code


def _contradiction(arguments: argparse.Namespace) -> str | None:
    """A setting that would have no effect is an error that says so."""
    if arguments.text and (arguments.export or arguments.run_b or arguments.open or arguments.where):
        return (
            "--text shows one run in the terminal; it takes --step, --prompt and --limit, no second run and no"
            " --export, --open or --where"
        )
    if not arguments.text and (arguments.step is not None or arguments.prompt):
        return "--step and --prompt belong to --text; elsewhere say --where 'step:3 prompt:ID'"
    if arguments.sources and (arguments.text or arguments.export):
        return "--sources belongs to the page; what is printed or sent on holds what the model saw"
    if arguments.export and arguments.open:
        return "--export writes a file and opens nothing; leave --open out"
    if not arguments.export and (arguments.where or arguments.sort != "step"):
        return "--where and --sort choose what --export writes; on the page use its search box"
    if arguments.limit is not None and not (arguments.text or arguments.export):
        return "--limit belongs to --text and --export; the page shows all groups"
    if arguments.limit is not None and arguments.limit < 0:
        return f"--limit is {arguments.limit}; a number of groups, or 0 for all"
    return (
        None if 0 <= arguments.port <= 65535 else f"--port is {arguments.port}; ports go from 0 (any free one) to 65535"
    )


def _text(arguments: argparse.Namespace) -> int:
    limit = 20 if arguments.limit is None else arguments.limit
    try:
        count = show_text(open_console(), arguments.run, step=arguments.step, prompt=arguments.prompt, limit=limit)
    except BrokenPipeError:
        # The reader of a pipe, `head` or `less`, has seen enough.
        sys.stderr.close()
        return DONE
    if not count:
        wanted = f"no group of prompt {arguments.prompt!r}" if arguments.prompt else "no readable group"
        complain(f"rollouts.view: {wanted} in {arguments.run}")
        return CANNOT
    return DONE


def _runs(arguments: argparse.Namespace) -> list[Path]:
    return [arguments.run] if arguments.run_b is None else [arguments.run, arguments.run_b]


def _export(arguments: argparse.Namespace) -> int:
    # Here, because the terminal view should not wait for a web server to load.
    from rollouts.page.export import export_page
    from rollouts.page.viewer import Viewer

    viewer = Viewer(_runs(arguments))
    try:
        viewer.index.refresh()
        for problem in viewer.index.problems.values():
            complain(f"rollouts.view: {problem}")
        limit = 50 if arguments.limit is None else arguments.limit
        page = export_page(viewer, arguments.where, arguments.sort, limit or 10**9)
    finally:
        viewer.close()
    arguments.export.write_bytes(page)
    print(f"{arguments.export}: {len(page) / 1e6:.1f} MB, opens in any browser without a network")
    return DONE


def _serve(arguments: argparse.Namespace) -> int:
    from rollouts.page.media.sources import Sources
    from rollouts.page.server import bind, serve
    from rollouts.page.viewer import Viewer

    try:
        listening = bind(arguments.port)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror}"
        advice = "Choose another with --port N, or --port 0 for any free one."
        complain(f"rollouts.view: port {arguments.port} {reason}. {advice}")
        return CANNOT
    with listening:
        viewer = Viewer(_runs(arguments), Sources(arguments.sources) if arguments.sources else None)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        print(
            f"{address}  shows {' and '.join(printable(str(run)) for run in _runs(arguments))}; Ctrl-C ends it",
            flush=True,
        )
        if arguments.open:
            webbrowser.open(address)
        serve(viewer, listening)
    return DONE


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
