"""Make the screenshots of docs/ anew: python -m docs.screenshots, from a checkout in which `retrieval repro` has run; needs Chromium."""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.end_to_end.asking import query_photographs
from tests.end_to_end.chromium import launched
from tests.end_to_end.conftest import project_at
from tests.end_to_end.prefect_stack import PrefectStack
from tests.end_to_end.service import ServiceProcess

DOCS = Path(__file__).parent
ARTIFACTS = {"metrics": 800, "stage-graph": 1300, "stages": 760}
"""Artifacts of a run that are shown, and how high their pictures are in pixels."""


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
        shoot_run(browser, Path(place))
        browser.close()


def shoot_report(browser: Browser) -> None:
    """The report with a query of the middle of its table enlarged."""
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.goto((Path.cwd() / "reports/index.html").resolve().as_uri())
    rows = page.locator("#gallery-table tbody tr")
    rows.nth(rows.count() // 2).locator("a").click()
    page.wait_for_function("[...document.querySelectorAll('#viewer img')].every((image) => image.complete && image.naturalWidth)")
    page.screenshot(path=DOCS / "report.png")


def shoot_run(browser: Browser, place: Path) -> None:
    """A run that makes everything from the descriptors on again, on the page of Prefect's server."""
    stack = PrefectStack(place / "prefect", Path.cwd())
    try:
        stack.start_server()
        stack.retrieval("repro", "--force", "aggregate@gallery", "search@gallery", "evaluate@gallery", "report")
        (run,) = stack.ask("POST", "/flow_runs/filter")
        artifacts = stack.artifacts(run["id"])
        address = stack.api.removesuffix("/api") + "/v2"
        shoot(browser, f"{address}/runs/flow-run/{run['id']}?tab=TaskRuns", "text=evaluate@gallery", 1250, "flow-run.png")
        for key, height in ARTIFACTS.items():
            shoot(browser, f"{address}/artifacts/artifact/{artifacts[key]['id']}", "text=gallery", height, f"artifact-{key}.png")
    finally:
        stack.stop()


def shoot(browser: Browser, address: str, shown: str, height: int, name: str) -> None:
    """A page once what is to be shown is there; graphs are drawn a moment later."""
    page = browser.new_page(viewport={"width": 1500, "height": height})
    page.goto(address)
    page.locator(shown).first.wait_for()
    page.wait_for_timeout(3000)
    page.screenshot(path=DOCS / name)
    page.close()


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
