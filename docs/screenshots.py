"""Make the screenshots of docs/ anew: python -m docs.screenshots, from a checkout in which `retrieval repro` has run; needs Chromium."""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.end_to_end.asking import query_photographs
from tests.end_to_end.chromium import launched
from tests.end_to_end.conftest import project_at
from tests.end_to_end.service import ServiceProcess

DOCS = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as place, ServiceProcess(Path.cwd(), Path(place, "log")) as service, sync_playwright() as playwright:
        photograph, box = surest(service)
        file = Path(place, "photograph.jpg")
        file.write_bytes(photograph)
        browser = launched(playwright)
        page = browser.new_page(viewport={"width": 1200, "height": 760})
        page.goto(service.address)
        page.set_input_files("#file", file)
        page.wait_for_selector(".tile img.there")
        page.goto(page.url + f"&box={box}")
        page.wait_for_selector("#ask-whole:not([hidden])")
        page.wait_for_selector(".tile:nth-child(1) img.there")
        page.wait_for_timeout(1000)
        page.screenshot(path=DOCS / "page.png")
        shoot_report(browser)
        browser.close()


def shoot_report(browser: Browser) -> None:
    """The report with a query of the middle of its table enlarged."""
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.goto((Path.cwd() / "reports/index.html").resolve().as_uri())
    rows = page.locator("#gallery-table tbody tr")
    rows.nth(rows.count() // 2).locator("a").click()
    page.wait_for_function("[...document.querySelectorAll('#viewer img')].every((image) => image.complete && image.naturalWidth)")
    page.screenshot(path=DOCS / "report.png")


def surest(service: ServiceProcess) -> tuple[bytes, str]:
    """The query of the embedded benchmark whose right answer is the surest, and its box."""
    found = {}
    for each in query_photographs(project_at(Path.cwd())):
        box = ",".join(f"{edge:.0f}" for edge in each.box or ())
        reply = service.ask(each.data, box=box).json()
        if reply["instance"] == each.instance and reply["known"]:
            found[reply["sure"], each.image_id] = (each.data, box)
    return found[max(found)]


if __name__ == "__main__":
    main()
