"""A real browser without a window, driven by Chromium's DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time

import cv2
import numpy as np
import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_S = 90.0


class Page:
    """One page of a browser."""

    def __init__(self, socket):
        self._socket, self._numbers, self.requests, self.errors = socket, itertools.count(1), [], []
        self._session = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self._ask(f"{domain}.enable")
        self._ask("Emulation.setDeviceMetricsOverride", width=800, height=450, deviceScaleFactor=1, mobile=False)

    def open(self, url):
        self._ask("Page.navigate", url=url)

    def evaluate(self, script):
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script):
        """Until a script is true; its value."""
        return self.until(lambda: self.evaluate(script), script)

    @staticmethod
    def until(condition, what):
        end = time.monotonic() + _PATIENCE_S
        while not (value := condition()):
            assert time.monotonic() < end, f"never came true: {what}"
            time.sleep(0.05)
        return value

    def click(self, text):
        """A real click on the middle of the button of this text."""
        x, y = self.wait(
            f"(() => {{const b = [...document.querySelectorAll('button')].find(b => b.innerText.trim() == {text!r});"
            "if (!b) return null; const r = b.getBoundingClientRect(); return [r.x + r.width/2, r.y + r.height/2]})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self):
        """uint8 [450, 800, 3], blue green red."""
        data = base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    def _ask(self, method, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=_PATIENCE_S))
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            elif answer.get("method") == "Network.webSocketCreated":
                self.requests.append(answer["params"]["url"])
            elif answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"]["exceptionDetails"])
            elif answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]


@pytest.fixture
def page(tmp_path):
    """A page of Chromium; the test is skipped where there is none."""
    program = next((p for name in _NAMES if (p := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium")
    client = pytest.importorskip("websockets.sync.client", reason="pip install 'mocap[web]'")
    profile = tmp_path / "profile"
    options = ["--headless=new", "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-sync",
               "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage",
               "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]  # fmt: skip
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told = profile / "DevToolsActivePort"
        port, path = Page.until(lambda: told.is_file() and told.read_text().split(), "Chromium starts")
        with client.connect(f"ws://127.0.0.1:{port}{path}", max_size=None, compression=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)
