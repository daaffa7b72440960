"""The groups of a run in the terminal, readable from top to bottom.

Model text is hostile: it is shown as text, with control, bidirectional and zero-width characters made visible, and no
markup in it is interpreted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.text import Text

from rollouts.media import has_frames
from rollouts.prompt.prefill import prefill_of
from rollouts.records import Media, Outcome, Rollout, Sample
from rollouts.store.folder import inside
from rollouts.store.layout import JSONL, MANIFEST, PARQUET
from rollouts.store.reader import choose_steps, read_step
from rollouts.terminal import complain, printable

_STATUS_STYLES = {"ok": "", "abstain": "yellow", "error": "red", "timeout": "red"}
_BAR_WIDTH = 10


def groups(rollouts: Iterator[Rollout]) -> Iterator[list[Rollout]]:
    """The rollouts of one prompt in one step together, in the order they come."""
    for _, members in itertools.groupby(rollouts, key=lambda one: one.key[:3]):
        yield list(members)


def render_group(members: Sequence[Rollout]) -> RenderableType:
    """One group for the terminal: the question, its gold answer, then each completion with what it was paid and why."""
    first = members[0]
    paid = [one.total for one in members if one.total is not None]
    mean = f"mean reward {sum(paid) / len(paid):.3f}" if paid else "no valid completion"
    name = f" step {first.step} · {printable(first.prompt_id)}"
    head = f"{name} · {len(members)} completions, {len(paid)} valid · {mean} "
    return Group(
        Rule(Text(head, style="bold"), align="left"),
        _question(first.sample),
        *(_completion(one) for one in members),
        Text(),
    )


def _question(sample: Sample) -> RenderableType:
    kind = " · ".join(part for part in (sample.answer_type, sample.modality, sample.source) if part)
    lines = Text(printable(f"{kind}\n"), style="dim")
    lines.append(printable(sample.question), style="bold not dim")
    for letter, option in zip(sample.letters, sample.options or (), strict=True):
        mark = "●" if letter in (sample.gold_letters or ()) else "○"
        lines.append(printable(f"\n  {mark} {letter}. {option}"), style="not dim")
    if sample.options and sample.answer_type not in ("mcq", "multi"):
        lines.append("\n  asked open: the options were not shown", style="dim")
    aliases = f" (also: {', '.join(sample.aliases)})" if sample.aliases else ""
    lines.append("\n  gold ", style="dim").append(printable(sample.gold_text + aliases), style="green not dim")
    for medium in sample.media:
        lines.append(f"\n  {_media_line(medium)}", style="dim")
    return Padding(lines, (0, 0, 1, 1))


def _media_line(medium: Media) -> str:
    if not has_frames(medium):
        return f"image media/{medium.sha256}.png"
    chosen = f", slices {list(medium.frame_indices)}" if medium.frame_indices is not None else ""
    return f"{medium.kind} {medium.sha256[:12]} of {medium.num_frames} frames{chosen}"


def _completion(one: Rollout) -> RenderableType:
    title = Text(f" #{one.sample_index}  ")
    title.append(
        "not scored" if one.total is None else f"reward {one.total:.3f}", style="bold" if one.valid else "red bold"
    )
    if one.advantage is not None:
        title.append(
            f"  advantage {one.advantage:+.3f}",
            style="green" if one.advantage > 0 else "red" if one.advantage < 0 else "dim",
        )
    if one.completion.finish_reason != "stop":
        title.append(f"  {one.completion.finish_reason}", style="yellow")
    body = Text()
    for name, outcome in one.outcomes.items():
        body.append_text(_outcome_line(name, outcome, one.weights.get(name)))
    if one.parsed.verdict == "unclear":
        body.append("unclear ", style="yellow").append(f"{printable(one.parsed.reason)}\n")
    if one.parsed.well_formed:
        body.append("think   ", style="cyan").append(printable(one.parsed.think or "").strip() + "\n")
        body.append("answer  ", style="cyan").append(printable(one.parsed.answer or "").strip(), style="bold")
    else:
        body.append("as it came  ", style="yellow")
        # What the chat template had written of the answer stands in front, paler than the model's own words.
        body.append(printable(prefill_of(one.prompt_text)), style="dim")
        body.append(printable(one.completion.text).strip())
    foot = f"{len(one.completion.token_ids)} tokens · weights version {one.completion.policy_version}"
    return Panel(
        body,
        title=title,
        title_align="left",
        subtitle=Text(foot, style="dim"),
        subtitle_align="right",
        border_style="dim",
    )


def _outcome_line(name: str, outcome: Outcome, weight: float | None) -> Text:
    line = Text(f"{printable(name):10.20} ")
    if outcome.value is None:
        line.append(f"{outcome.status:{_BAR_WIDTH}}", style=_STATUS_STYLES[outcome.status])
    else:
        filled = round(min(max(outcome.value, 0.0), 1.0) * _BAR_WIDTH)
        line.append("█" * filled, style="green").append("░" * (_BAR_WIDTH - filled), style="dim")
        line.append(f" {outcome.value:.2f}")
    line.append(f" x {weight:g}" if weight is not None else "", style="dim")
    return line.append(f"  {printable(outcome.reason)}\n" if outcome.reason else "\n", style="dim")


def show_text(console: Console, run: Path, *, step: int | None, prompt: str | None, limit: int) -> int:
    """Print the groups that were asked for; returns how many. A step that cannot be read is named on standard
    error, the rest is shown.

    Raises:
        NotARun: the folder is no run, or has no such step.
    """
    chosen = (members for members in groups(_readable(run, step)) if prompt is None or members[0].prompt_id == prompt)
    count = 0
    for members in itertools.islice(chosen, limit or None):
        console.print(render_group(members))
        count += 1
    return count


def _readable(run: Path, step: int | None) -> Iterator[Rollout]:
    for stored in choose_steps(run, step):
        try:
            for name in (PARQUET, MANIFEST) if stored.finished else (JSONL,):
                inside(run, "rollouts", stored.folder.name, name)
            yield from read_step(run, stored)
        except FileNotFoundError:
            # The step has not begun its first group, or its writer finished it between two looks.
            continue
        except (
            Exception
        ) as error:  # the boundary to files of a stranger: whatever is wrong with a step, the others are shown
            complain(f"rollouts.view: step {stored.step} is not shown: {error}")
