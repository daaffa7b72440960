"""`python -m rl.curate RECIPE.yaml --out data.jsonl`: captions, labels, masks and clips become questions for
`data=jsonl`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from rl.curate.counts import Outcome, card, sections
from rl.curate.items import Drop, Item
from rl.curate.leaks.sides import patient_key
from rl.curate.llm.writer import Writer, WriterError
from rl.curate.looking import Looked
from rl.curate.opening import middle_png, open_item
from rl.curate.recipe.door import Plan, read_recipe
from rl.curate.recipe.lines import RecipeError
from rl.curate.run import carry_out, paired
from rl.curate.written import dropped_line, row_of, write_whole
from rl.run.progress import Display
from rollouts.records import BadSample
from rollouts.terminal import CANNOT, DONE, FAILED, Ending, accept_any_stdout, complain, open_console, table

COMMAND = "python -m rl.curate"
_EPILOG = f"""a recipe of six lines, for a folder that holds a folder of pictures for each label:
  recipe: fundus
  sources:
    fundus:
      read: fundus
      modality: fundus photograph
      rules: {{mcq: {{}}, open: {{}}}}

rules: caption (a caption answers a question), mcq and open (a label, among others or asked directly), place (a mask
becomes words for where it lies), procedure (the caption of a clip), video_mcq and synthesis (a language model writes).

examples:
  {COMMAND} recipe.yaml --out data.jsonl
  {COMMAND} recipe.yaml --check
  python -m rl.train data=jsonl data.root=data.jsonl

Beside data.jsonl stand dropped.jsonl (what became no row, and why) and card.md (the counts). A run that was stopped
goes on where it was: what was seen and answered is kept in the folder data.curate.

exit code: 0 = written, 1 = a rule is too easy for a guesser that never looks (nothing is written), 2 = the recipe or
the data cannot be used, 130 = interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Make questions of captions, labels, masks and clips by a recipe's rules; the data are only read.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="YAML file; its paths start from its own folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSONL file to write; its folder must be there")
    parser.add_argument("--check", action="store_true", help="read, make and count all; ask nobody, write nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.check == (options.out is not None):
        parser.error("give --out FILE to write, or --check to only look")
    if options.out is not None and options.out.suffix != ".jsonl":
        parser.error(f"--out {options.out}: expected a name that ends in .jsonl")
    if options.out is not None and not options.out.resolve().parent.is_dir():
        parser.error(f"--out {options.out}: there is no folder {options.out.parent}; make it first")
    with Ending(
        COMMAND, RecipeError, WriterError, OSError,
        stopped="stopped; nothing was written, and the same command goes on from here",
    ) as ending:  # fmt: skip
        return _curate(options.recipe, options.out)
    return ending.code


def _curate(recipe: Path, out: Path | None) -> int:
    plan = read_recipe(recipe)
    with tempfile.TemporaryDirectory(prefix="rounds-curate-") as scratch:
        work = Path(scratch) if out is None else out.resolve().with_suffix(".curate")
        with ExitStack() as open_:
            looked = open_.enter_context(closing(Looked(work / "looked.jsonl")))
            writer = None
            if plan.recipe.llm is not None and out is not None:
                writer = open_.enter_context(closing(Writer(plan.recipe.llm, work / "replies.sqlite")))
            display = open_.enter_context(Display())
            outcome = carry_out(
                plan, looked, partial(open_item, salt=plan.recipe.recipe), display, writer, partial(_picture, plan)
            )
    lines = _lines(plan, outcome, out)
    _show(outcome)
    if not outcome.passed:
        complain(
            f"{COMMAND}: nothing was written: a guesser that never looks is right more often than chance + "
            f"{plan.recipe.max_blind:.0%} (marked TOO EASY). Set `cap: auto` or a smaller cap for that rule, or raise"
            " max_blind."
        )
        return FAILED
    if not lines:
        complain(f"{COMMAND}: no row is left; the reasons stand above")
        return CANNOT
    if out is not None:
        _write(plan, outcome, out, lines)
    return DONE


def _picture(plan: Plan, item: Item) -> bytes:
    return middle_png(plan.root, plan.recipe.sources[item.source], item)


def _lines(plan: Plan, outcome: Outcome, out: Path | None) -> list[str]:
    """The rows as text, each checked as `data=jsonl` will check it."""
    folder = (out or plan.root / "data.jsonl").resolve().parent
    pairs = paired(row.made for row in outcome.rows)
    lines, kept = [], []
    for ordered in outcome.rows:
        item = ordered.made.item
        try:
            row = row_of(
                ordered,
                plan.recipe.sources[item.source],
                plan.root.resolve(),
                folder,
                recipe=plan.recipe.recipe,
                side=outcome.sides.get(item.id, ""),
                patient=patient_key(item, outcome.looks[item.id], plan.recipe.recipe),
                paired=ordered.made.pair in pairs,
            )
        except BadSample as error:
            outcome.drops.append(
                Drop(item, ordered.made.rule, "no row of data=jsonl", ordered.made.language, str(error))
            )
            continue
        lines.append(row.line())
        kept.append(ordered)
    outcome.rows = kept
    return lines


def _write(plan: Plan, outcome: Outcome, out: Path, lines: list[str]) -> None:
    """Card and drops first, so that where data.jsonl is new, the others are too."""
    drops = sorted(dropped_line(drop) for drop in outcome.drops)
    write_whole(out.with_name("card.md"), [card(outcome, _head(plan, outcome))])
    write_whole(out.with_name("dropped.jsonl"), drops)
    write_whole(out, lines)
    print(f"{len(lines)} rows in {out}; card.md and dropped.jsonl stand beside it")
    print(f"train on them: python -m rl.train data=jsonl data.root={out}")


def _head(plan: Plan, outcome: Outcome) -> list[str]:
    recipe = plan.recipe
    return [
        "",
        f"Made by `{COMMAND}` from `{plan.document.path.name}`, seed {recipe.seed}: {outcome.num_items} items,"
        f" {len(outcome.rows)} rows, {len(outcome.drops)} drops.",
        "",
    ]


def _show(outcome: Outcome) -> None:
    console = open_console()
    for section in sections(outcome):
        console.print(section.title)
        console.print(table("", section.columns, section.rows))
    for note in outcome.notes:
        console.print(f"note: {note}")


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
