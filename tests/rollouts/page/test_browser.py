"""The page driven in a real Chromium: what a reader does, by mouse and by keyboard, large and small, light and dark,
and with a stranger's run."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page
from playwright.sync_api import expect as check_that

from rollouts.store.writer import RunWriter
from rollouts.view import main
from tests.fakes import fake_rollouts, judged_rollouts
from tests.fakes.browser import Watch, chromium
from tests.fakes.hostile_run import MARKUP, PROMPTS, make_hostile_run
from tests.fakes.view_server import Served, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
# The machine may be busy; a page that never comes still fails.
PATIENCE_MILLISECONDS = 60_000


@pytest.fixture(scope="module")
def browser():
    check_that.set_options(timeout=PATIENCE_MILLISECONDS)
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return judged_rollouts.written(tmp_path_factory.mktemp("judged"))


@pytest.fixture(scope="module")
def served(run_dir, browser):
    with serving(run_dir) as server:
        yield server


@pytest.fixture
def opened(browser, served):
    """A function that opens the page; troubles of any page opened fail the test."""
    made = []

    def open_page(place: str = "#/", *, server: Served = served, **options) -> Page:
        context = browser.new_context(
            **{"viewport": {"width": 1440, "height": 900}, "color_scheme": "light", **options}
        )
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        made.append((context, Watch(context, server.url)))
        (page := context.new_page()).goto(server.url + place)
        return page

    yield open_page
    for context, watch in made:
        context.close()
        assert watch.troubles == []


def test_from_the_overview_to_the_completions_where_judge_and_rule_disagree(opened):
    page = opened()
    check_that(page.locator(".chart")).to_have_count(5)
    trail = page.locator(".trails a", has_text="Judge and rule disagree")
    check_that(trail.locator(".num")).to_have_text("2")
    trail.click()
    check_that(page.locator("#search")).to_have_value("is:disagree")
    check_that(page.locator(".groups li")).to_have_count(2)
    check_that(page.locator(".found")).to_contain_text("2 groups · 2 completions found")
    page.locator(".groups a").first.click()
    check_that(page.locator(".card")).to_have_count(4)
    check_that(page.locator(".card", has_text="judge ≠ rule").locator(".answer")).to_have_text("the left base")
    # What the search found is marked, so that it is seen at once among the others.
    check_that(page.locator(".card.hit")).to_have_count(1)


def test_a_step_is_a_click_on_a_chart_away(opened):
    page = opened()
    plot = page.locator(".chart .plot").first
    plot.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    check_that(page.locator(".chart .readout").first).to_contain_text("step 2")
    page.keyboard.press("Enter")
    check_that(page.locator("#search")).to_have_value("step:2")
    check_that(page.locator(".groups li")).to_have_count(1)


def test_filters_are_terms_of_the_search_and_the_address_keeps_them(opened):
    page = opened("#/groups")
    check_that(page.locator(".groups li")).to_have_count(4)
    page.locator(".chip", has_text="All wrong").click()
    check_that(page.locator(".groups li")).to_have_count(1)
    assert "is%3Aall-wrong" in page.url
    page.reload()
    check_that(page.locator(".chip", has_text="All wrong")).to_have_attribute("aria-pressed", "true")
    check_that(page.locator(".groups li")).to_have_count(1)
    page.locator("#search").fill("near the edge")
    check_that(page.locator(".groups li")).to_have_count(1)
    page.locator("#search").fill("iss:wrong")
    check_that(page.locator(".searchproblem")).to_contain_text("did you mean 'is'")


def test_cards_are_ranked_by_reward_with_think_and_answer_apart(opened):
    page = opened("#/g/1/item-0005")
    check_that(page.locator(".card .total")).to_have_text(["1.000", "0.100", "0.100", "not scored"])
    first = page.locator(".card").first
    check_that(first.locator(".answer")).to_have_text("upper right")
    check_that(first.locator(".think")).to_have_text("I look at the picture.")
    check_that(first.locator(".reward .name")).to_have_text(["accuracy", "format"])
    check_that(page.locator(".card").last.locator(".status")).to_have_text("timeout")
    check_that(page.locator(".question h1")).to_have_text("Where is the lesion?")
    assert page.locator(".stage img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 56


def test_a_judge_transcript_opens_on_demand(opened):
    page = opened("#/g/1/item-0002/3")
    card = page.locator(".card.selected")
    check_that(card).to_have_count(1)
    check_that(card.locator(".transcript")).to_have_count(0)
    card.get_by_role("button", name="Judge").click()
    check_that(page.locator(".card.selected .transcript")).to_contain_text(judged_rollouts.JUDGE)
    check_that(page.locator(".card.selected .transcript pre").first).to_contain_text("verdict")


def test_a_label_is_written_shown_again_and_taken_back(opened, run_dir):
    page = opened("#/g/1/item-0002/3")
    page.locator(".card.selected").get_by_role("button", name="wrong").click()
    check_that(page.locator(".card.selected .no")).to_have_attribute("aria-pressed", "true")
    (line,) = (run_dir / "labels.jsonl").read_text().splitlines()
    assert json.loads(line)["expected"] == "incorrect" and json.loads(line)["key"] == "1/item-0002/3"
    page.reload()
    check_that(page.locator(".card.selected .no")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("u")
    check_that(page.locator(".card.selected .no")).to_have_attribute("aria-pressed", "false")
    assert json.loads((run_dir / "labels.jsonl").read_text().splitlines()[-1])["expected"] is None


def test_everything_is_reached_by_keyboard(opened):
    page = opened()
    check_that(page.locator(".chart")).to_have_count(5)
    page.keyboard.press("/")
    page.keyboard.type("type:open")
    page.keyboard.press("Enter")
    check_that(page.locator(".groups li")).to_have_count(4)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    check_that(page.locator(".moves")).to_contain_text("2 of 4")
    page.keyboard.press("j")
    check_that(page.locator(".moves")).to_contain_text("3 of 4")
    page.keyboard.press("k")
    check_that(page.locator(".moves")).to_contain_text("2 of 4")
    page.keyboard.press("2")
    check_that(page.locator(".card").nth(1)).to_have_class("card wrong selected")
    assert page.url.split("?")[0].endswith("/1/item-0005/1")
    page.keyboard.press("Enter")
    check_that(page.locator(".card.open .details")).to_contain_text("read as")
    page.keyboard.press("e")
    check_that(page.locator(".card.open .transcript")).to_have_count(1)
    page.keyboard.press("t")
    page.keyboard.press("t")
    check_that(page.locator(".token-legend")).to_contain_text("KL")
    check_that(page.locator(".card .tok").first).to_be_visible()
    page.keyboard.press("Escape")
    check_that(page.locator(".groups li")).to_have_count(4)
    page.keyboard.press("?")
    check_that(page.locator("dialog[open]")).to_contain_text("is:zero-variance")
    page.keyboard.press("Escape")
    check_that(page.locator("dialog[open], dialog:focus-within")).to_have_count(0)
    page.keyboard.press("g")
    check_that(page.locator(".trails")).to_be_visible()


def test_slices_and_zoom_answer_to_keys(browser, opened, tmp_path_factory):
    folder = tmp_path_factory.mktemp("volume")
    writer = RunWriter(folder)
    writer.append_group(fake_rollouts.group(1, step=1, size=2))
    with serving(folder) as server:
        page = opened("#/g/1/item-0001", server=server)
        # A volume of three slices opens at the middle one; the fake volume's indices are 4, 12, 20.
        check_that(page.locator(".caption")).to_contain_text("slice 2 of 3 (index 12)")
        page.keyboard.press("]")
        check_that(page.locator(".caption")).to_contain_text("slice 3 of 3 (index 20)")
        check_that(page.locator(".slices button").nth(2)).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("+")
        check_that(page.locator(".zoomed").last).to_have_text("1.5×")
        page.keyboard.press("0")
        check_that(page.locator(".caption .zoomed")).to_have_text("")
        page.context.close()


@pytest.mark.parametrize("place", ["#/", "#/groups", "#/g/1/item-0005/1"])
def test_at_phone_width_nothing_is_cut_off(opened, place):
    page = opened(place, viewport={"width": 390, "height": 844})
    check_that(page.locator(".trails, .groups, .cards").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_dark_follows_the_system_and_the_reader_may_change_it(opened):
    page = opened(color_scheme="dark")
    check_that(page.locator(".chart")).to_have_count(5)
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.keyboard.press("d")
    light = page.evaluate(background)
    assert sum(map(int, dark[4:-1].split(","))) < 150 < 600 < sum(map(int, light[4:-1].split(",")))
    page.reload()
    check_that(page.locator(".chart")).to_have_count(5)
    assert page.evaluate(background) == light


def test_an_exported_page_opens_without_server_and_network(browser, opened, tmp_path):
    page = opened("#/groups?q=is%3Adisagree")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    download.value.save_as(saved := tmp_path / "exported.html")
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 800})
    watch = Watch(context, saved.as_uri())
    (alone := context.new_page()).goto(saved.as_uri())
    check_that(alone.locator(".chart")).to_have_count(5)
    alone.keyboard.press("/")
    alone.keyboard.type("base")
    alone.keyboard.press("Enter")
    check_that(alone.locator(".groups li")).to_have_count(1)
    # The page without a server reads the same language: alternatives, open ranges, = like a colon.
    for search, num_groups in (("", 2), ("step=..1", 2), ("step:2..,7", 0), ("-type:mcq,multi", 2), ("type:mcq", 0)):
        alone.goto(f"{saved.as_uri()}#/groups?q={quote(search)}")
        check_that(alone.locator(".groups li")).to_have_count(num_groups)
    alone.goto(f"{saved.as_uri()}#/groups?q=base")
    check_that(alone.locator(".groups li")).to_have_count(1)
    alone.locator(".groups a").first.click()
    check_that(alone.locator(".card")).to_have_count(4)
    assert alone.locator(".stage img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 56
    alone.keyboard.press("t")
    check_that(alone.locator(".tok").first).to_be_visible()
    context.close()
    assert watch.troubles == []


def test_two_runs_stand_side_by_side(opened, run_dir, tmp_path):
    again = RunWriter(tmp_path)
    again.append_group(
        judged_rollouts.group(2, [(answer, "incorrect") for answer, _ in judged_rollouts.SAID[2]], run="again")
    )
    with serving(run_dir, tmp_path) as server:
        page = opened("#/groups?q=is%3Adiffers", server=server)
        check_that(page.locator(".groups li")).to_have_count(1)
        page.locator(".groups a").first.click()
        check_that(page.locator(".pairs .card")).to_have_count(8)
        # The same texts with other verdicts: the three that were right are flipped.
        check_that(page.locator(".card .flag", has_text="flipped")).to_have_count(3)
        page.context.close()


def test_what_is_written_meanwhile_appears(opened, tmp_path):
    writer = RunWriter(tmp_path)
    writer.append_group(fake_rollouts.group(0, step=1, size=2))
    with serving(tmp_path) as server:
        page = opened("#/groups", server=server)
        check_that(page.locator(".groups li")).to_have_count(1)
        writer.append_group(fake_rollouts.group(1, step=1, size=2))
        check_that(page.locator(".groups li")).to_have_count(2)
        check_that(page.locator(".live")).to_contain_text("is being written")
        page.context.close()


def test_a_strangers_run_runs_nothing(browser, opened, tmp_path_factory):
    folder = make_hostile_run(tmp_path_factory.mktemp("stranger"))
    with serving(folder) as server:
        context = browser.new_context(viewport={"width": 1300, "height": 900})
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        watch = Watch(context, server.url)
        page = context.new_page()
        page.goto(server.url + "#/")
        check_that(page.locator(".problems")).to_contain_text("is a link")
        page.goto(server.url + "#/groups?q=step%3A3")
        check_that(page.locator(".groups li")).to_have_count(len(PROMPTS))
        for number in range(len(PROMPTS)):
            page.goto(server.url + "#/groups?q=step%3A3")
            page.locator(".groups a").nth(number).click()
            check_that(page.locator(".question h1")).to_have_text(MARKUP)
            page.keyboard.press("1")
            page.keyboard.press("Enter")
            page.keyboard.press("e")
            check_that(page.locator(".card.open .transcripts")).to_have_count(1)
            # The page's own parts are the only elements: nothing of the run became one.
            assert page.locator("main script, main svg, main iframe, main img[onerror], main img[src=x]").count() == 0
            assert page.evaluate("window.pwned") is None
            # What acts on the reader is spelled out.
            assert "\u202e" not in page.locator("main").inner_text()
        context.close()
    # Images that are refused and groups that are not there are errors of the network, nothing else is.
    assert [one for one in watch.troubles if "Failed to load resource" not in one] == []


def test_the_exported_page_of_a_strangers_run_runs_nothing(browser, tmp_path):
    folder = make_hostile_run(tmp_path)
    assert main([str(folder), "--export", str(tmp_path / "out.html"), "--where", "step:3"]) == 0
    context = browser.new_context(offline=True)
    watch = Watch(context, Path(tmp_path / "out.html").as_uri())
    page = context.new_page()
    page.goto(Path(tmp_path / "out.html").as_uri() + "#/groups")
    check_that(page.locator(".groups li")).to_have_count(len(PROMPTS))
    page.locator(".groups a").nth(2).click()
    check_that(page.locator(".question h1")).to_have_text(MARKUP)
    assert page.evaluate("window.pwned") is None
    context.close()
    assert watch.troubles == []
