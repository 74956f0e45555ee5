"""The page in a real Chromium: a visitor's whole way, by mouse, finger, keyboard and clipboard; small and dark; and what goes wrong."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.end_to_end.asking import query_photographs
from tests.end_to_end.chromium import CHROMIUM, launched
from tests.end_to_end.project import Project
from tests.end_to_end.service import ServiceProcess

pytestmark = pytest.mark.slow
expect.set_options(timeout=120_000)  # ends a page that hangs; an answer takes as long as the machine needs
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
PASTE = """bytes => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "pasted.jpg", { type: "image/jpeg" }));
  dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
}"""


@pytest.fixture(scope="module")
def service(museum: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with ServiceProcess(museum.folder, tmp_path_factory.mktemp("service") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine; install Debian's `chromium`, or set CHROMIUM")
    with sync_playwright() as playwright:
        running = launched(playwright)
        yield running
        running.close()


@pytest.fixture
def opened(service: ServiceProcess, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the page in a browser with options; anything that the page complains about fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(address: str = "/", **options: Any) -> Page:
        context = browser.new_context(base_url=service.address, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda request: complaints.append(request.url) if not request.url.startswith((service.address, "blob:", "data:")) else None
        )
        page.goto(address)
        expect(page.locator("#about")).not_to_be_empty()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def files(museum: Project, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    found = []
    for number, photograph in enumerate(query_photographs(museum)):
        found.append(folder / f"{number}.jpg")
        found[-1].write_bytes(photograph.data)
    return found


def ask(page: Page, file: Path) -> None:
    page.set_input_files("#file", file)
    expect(page.locator("#results .tile")).to_have_count(10)


def go_back(page: Page) -> None:
    """One step of the history; the browser may say that it went before it has gone."""
    before = page.evaluate("navigation.currentEntry.index")
    page.go_back()
    while page.evaluate("navigation.currentEntry.index") >= before:
        page.wait_for_timeout(20)


def corners(page: Page) -> tuple[float, float, float, float]:
    """Where the middle half of the photograph starts and ends on the screen."""
    page.locator("#photograph").scroll_into_view_if_needed()
    frame = page.locator("#photograph").bounding_box()
    assert frame is not None
    x, y, width, height = (frame[name] for name in ("x", "y", "width", "height"))
    return x + width / 4, y + height / 4, x + 3 * width / 4, y + 3 * height / 4


def pixels(page: Page) -> list[float]:
    """The box in the address."""
    return [float(edge) for edge in page.url.partition("box=")[2].partition("&")[0].split("%2C")]


def middle(page: Page) -> list[float]:
    sides = page.locator("#photograph").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    return [share * side for share, side in zip((0.25, 0.25, 0.75, 0.75), sides * 2, strict=True)]


def test_a_visitors_whole_way(opened: Callable[..., Page], files: list[Path], service: ServiceProcess) -> None:
    page = opened()
    expect(page.locator("#about")).to_have_text("10 photographs of 5 objects are compared with yours.")
    ask(page, files[0])
    reply = service.ask(files[0].read_bytes(), top=40).json()
    assert page.locator(".tile img").evaluate_all("all => all.map(image => image.alt)") == [found["instance"] for found in reply["results"]]
    expect(page.locator("#verdict")).to_contain_text(reply["instance"] if reply["known"] is not False else "does not seem to be in the collection")
    whole = page.url
    left, top, right, bottom = corners(page)
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(right, bottom, steps=4)
    page.mouse.up()
    page.click("#ask-box")
    expect(page.locator("#ask-whole")).to_be_visible()
    expect(page.locator("#results .tile")).to_have_count(10)
    assert pixels(page) == pytest.approx(middle(page), abs=3)
    page.locator(".tile").nth(2).click()
    expect(page.locator("#viewer")).to_be_visible()
    expect(page.locator("#own")).to_be_visible()
    expect(page.locator("#caption")).to_contain_text("Number 3 of 10")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#caption")).to_contain_text("Number 4 of 10")
    page.reload()
    expect(page.locator("#caption")).to_contain_text("Number 4 of 10")
    name = page.locator("#viewer-title").inner_text()
    page.click("#same")
    expect(page.locator("#heading")).to_have_text(f"{name}: 2 photographs")
    expect(page.locator("#viewer")).to_be_hidden()
    page.locator(".tile").first.click()
    page.click("#like")
    expect(page.locator("#results .tile")).to_have_count(10)
    expect(page.locator(".tile .score").first).to_have_text("alike 1.00")
    for _ in range(8):
        if page.evaluate("location.href") == whole:
            break
        go_back(page)
    assert page.evaluate("location.href") == whole
    expect(page.locator("#results .tile")).to_have_count(10)
    page.click("#all")
    expect(page.locator("#heading")).to_have_text("5 objects")


def test_a_box_by_finger_and_by_keyboard_on_a_small_screen(opened: Callable[..., Page], files: list[Path]) -> None:
    page = opened(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, device_scale_factor=2)
    ask(page, files[1])
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    left, top, right, bottom = corners(page)
    finger = page.context.new_cdp_session(page)
    for kind, points in (("touchStart", [(left, top)]), ("touchMove", [(right - 9, bottom - 9)]), ("touchMove", [(right, bottom)]), ("touchEnd", [])):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})
    page.click("#ask-box")
    expect(page.locator("#ask-whole")).to_be_visible()
    assert pixels(page) == pytest.approx(middle(page), abs=6)
    page.click("#ask-whole")
    expect(page.locator("#ask-whole")).to_be_hidden()
    page.focus("#marking")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowRight")
    page.click("#ask-box")
    expect(page.locator("#ask-whole")).to_be_visible()
    width, height = (edge * 4 for edge in middle(page)[:2])
    assert pixels(page) == pytest.approx([0.23 * width, 0.25 * height, 0.75 * width, 0.75 * height], abs=1)


def test_paste_and_drop(opened: Callable[..., Page], files: list[Path]) -> None:
    page = opened()
    page.evaluate(PASTE, list(files[2].read_bytes()))
    expect(page.locator("#results .tile")).to_have_count(10)
    page.click("#home")
    expect(page.locator("#ask")).to_be_visible()
    page.evaluate(
        PASTE.replace("ClipboardEvent", "DragEvent").replace('"paste"', '"drop"').replace("clipboardData", "dataTransfer"),
        list(files[3].read_bytes()),
    )
    expect(page.locator("#results .tile")).to_have_count(10)


def test_an_unknown_object_is_called_unknown(opened: Callable[..., Page], files: list[Path]) -> None:
    page = opened()
    unknown = {
        "instance": "a_1",
        "known": False,
        "sure": 0.3,
        "unknown_p": 0.2,
        "results": [{"image_id": "x", "score": 0.1, "instance": "a_1", "path": "x", "x0": None}],
    }
    page.route("**/api/ask", lambda route: route.fulfill(json=unknown))
    page.set_input_files("#file", files[0])
    expect(page.locator("#verdict")).to_have_text("This does not seem to be in the collection.")
    expect(page.locator("#details")).to_have_text(
        "The nearest that there is: a_1. Of things that the collection does not have, 20 in 100 look as much alike."
    )


def test_names_with_markup_stay_text(opened: Callable[..., Page], files: list[Path]) -> None:
    page = opened()
    name = "<img src=x onerror=alert(1)>"
    found = {"image_id": f"{name}/1", "score": 0.9, "instance": name, "path": name, "x0": 0.1, "y0": 0.1, "x1": 0.5, "y1": 0.9}
    page.route("**/api/ask", lambda route: route.fulfill(json={"instance": name, "known": True, "sure": 0.97, "unknown_p": None, "results": [found]}))
    page.set_input_files("#file", files[0])
    expect(page.locator("#verdict")).to_have_text(f"This is almost certainly {name}.")
    page.locator(".tile").click()
    expect(page.locator("#viewer-title")).to_have_text(name)
    assert page.locator("#found-box").evaluate("mark => [mark.style.left, mark.style.height]") == ["10%", "80%"]
    assert page.locator("img[src=x]").count() == 0


def test_a_file_that_is_no_picture_and_a_service_that_is_away(museum: Project, browser: Browser, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    with ServiceProcess(museum.folder, tmp_path / "log") as first:
        page = browser.new_context().new_page()
        page.goto(first.address)
        page.set_input_files("#file", tmp_path / "text.jpg")
        expect(page.locator("#status")).to_have_text("text.jpg: not an image that can be decoded")
        ask(page, files[0])
        port = first.address.rpartition(":")[2]
    page.set_input_files("#file", files[1])
    expect(page.locator("#status")).to_have_text("The service cannot be reached. Please try again in a moment.")
    with ServiceProcess(museum.folder, tmp_path / "log2", "--port", port):
        page.reload()
        expect(page.locator("#results .tile")).to_have_count(10)
        page.go_back()
        expect(page.locator("#results .tile")).to_have_count(10)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(opened: Callable[..., Page], files: list[Path], scheme: str) -> None:
    """No view breaks a rule of axe-core, contrast (AA) and screen readers' labels among them."""
    page = opened(color_scheme=scheme, bypass_csp=True)

    def violations() -> list[str]:
        page.evaluate(AXE.read_text(encoding="utf-8"))
        return [f"{each['id']}: {each['nodes'][0]['html']}" for each in page.evaluate("axe.run()")["violations"]]

    assert violations() == []
    ask(page, files[0])
    assert violations() == []
    page.locator(".tile").first.click()
    expect(page.locator("#viewer")).to_be_visible()
    assert violations() == []
    page.click("#close")
    page.click("#all")
    expect(page.locator("#heading")).to_be_visible()
    assert violations() == []
    page.goto("/api")
    assert violations() == []


def test_the_report_finds_and_enlarges_every_query_from_disk(museum: Project, browser: Browser) -> None:
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.goto((museum.folder / "reports/index.html").as_uri())
    expect(page.locator("#made")).to_have_text(re.compile(r"^Made on \d+ \w+ \d{4}"))
    rows, viewer = page.locator("#gallery-table tbody tr"), page.locator("#viewer")
    expect(rows).to_have_count(5)
    worst = rows.first.locator("td").first.inner_text()
    page.get_by_label("Search").fill(worst)
    expect(page.locator("#gallery-table-count")).to_have_text("1 of 5")
    page.get_by_label("Search").fill("")
    rows.first.locator("a").click()
    expect(page.locator("#viewer-title")).to_contain_text(worst)
    expect(page.locator("#viewer-strip li")).not_to_have_count(0)
    for picture in ("#viewer-query", "#viewer-result"):
        page.wait_for_function(f"document.querySelector('{picture}').naturalWidth > 64")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-caption")).to_contain_text("2. ")
    page.locator("#viewer-after").click()
    expect(page.locator("#viewer-title")).not_to_contain_text(worst)
    page.reload()
    expect(viewer).to_be_visible()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert [each["id"] for each in page.evaluate("axe.run()")["violations"]] == []
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    assert [each["id"] for each in page.evaluate("axe.run()")["violations"]] == []
    page.locator("figure a").first.click()
    expect(viewer).to_be_visible()
    context.close()
    assert complaints == []


def test_a_report_of_another_run_says_nothing_of_when_it_was_made(museum: Project, browser: Browser, tmp_path: Path) -> None:
    for name in ("index.html", "made.js"):
        shutil.copy(museum.folder / "reports" / name, tmp_path / name)
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    expect(page.locator("#made")).to_be_visible()
    told = (tmp_path / "made.js").read_text(encoding="utf-8")
    (tmp_path / "made.js").write_text(re.sub(r'"contents": "\w+"', '"contents": "0"', told), encoding="utf-8")
    page.reload(wait_until="networkidle")
    expect(page.locator("#made")).to_be_hidden()
    (tmp_path / "made.js").unlink()
    page.reload(wait_until="networkidle")
    expect(page.locator("#made")).to_be_hidden()
    page.close()
