"""A volume on the page in a real Chromium: the scrubber by wheel, arrows and mouse, the outline of the mask, all slices
of the source, and what an exported page keeps of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect as check_that

from rollouts.view import main
from tests.fakes.browser import Watch, chromium
from tests.fakes.view_server import serving
from tests.rollouts.page import read_volume

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
PATIENCE_MILLISECONDS = 60_000


def test_a_reader_walks_through_a_volume_and_sees_its_mask_and_its_source(tmp_path: Path) -> None:
    check_that.set_options(timeout=PATIENCE_MILLISECONDS)
    made = read_volume.written(tmp_path)
    assert main([str(made.run), "--export", str(tmp_path / "out.html")]) == 0
    with chromium() as browser, serving(made.run, "--sources", made.data) as server:
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        watch = Watch(context, server.url)
        page = context.new_page()
        page.goto(f"{server.url}#/g/1/{made.prompt}")
        caption, scrubber = page.locator(".caption"), page.locator("input.scrubber")
        check_that(caption).to_contain_text("2 of 4 that the model saw")
        check_that(caption).to_contain_text("CT axial, soft 40/400, slice 8 of 20, z -7.5 mm")
        check_that(scrubber).to_have_attribute("aria-label", "slice")
        check_that(page.locator(".stage img.outline")).to_have_count(1)
        page.locator("button.outlined").click()
        check_that(page.locator(".stage img.outline")).to_have_count(0)
        page.locator(".stage").focus()
        page.keyboard.press("ArrowDown")
        check_that(caption).to_contain_text("slice 13 of 20")
        page.locator(".stage").hover()
        page.mouse.wheel(0, 100)
        check_that(caption).to_contain_text("slice 18 of 20")
        page.keyboard.press("Home")
        check_that(caption).to_contain_text("slice 3 of 20")
        assert page.locator(".card.selected").count() == 0, "on the picture the arrows choose no completion"
        page.locator("button.all").click()
        page.keyboard.press("Tab")
        page.locator(".stage").focus()
        page.keyboard.press("ArrowRight")
        check_that(caption).to_contain_text("slice 4 of 20 of the source")
        check_that(caption).to_contain_text("not shown to the model")
        check_that(page.locator(".stage img.shown")).to_have_js_property("naturalWidth", read_volume.SIDE)
        page.keyboard.press("s")
        check_that(caption).to_contain_text("1 of 4 that the model saw")
        page.locator(".facts summary").click()
        check_that(page.locator(".facts")).to_contain_text("NIfTI")
        assert watch.troubles == []
        page.goto((tmp_path / "out.html").as_uri() + f"#/g/1/{made.prompt}")
        check_that(page.locator(".caption")).to_contain_text("soft 40/400, slice 8 of 20")
        check_that(page.locator(".stage img.outline")).to_have_count(1)
        check_that(page.locator("button.all")).to_have_count(0)
        context.close()
