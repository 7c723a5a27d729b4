"""A headless Chromium, steered over a pipe: what a page looks like, what it loads, and what a screen reader is told of it.

It has a profile of its own, and reaches nothing but the page: what a browser does by itself is turned off.
"""

import base64
import json
import os
import select
import subprocess
import time
import zlib

PROGRAM = "/usr/bin/chromium"
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe",
]


class Chromium:
    """A browser with one page."""

    def __init__(self, profile, log):
        commands, to_browser = os.pipe()
        from_browser, answers = os.pipe()
        # The browser reads commands from descriptor 3, and writes answers to 4.
        line = f'exec "$@" 3<&{commands} 4>&{answers}'
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", line, "chromium", PROGRAM, f"--user-data-dir={profile}", *OPTIONS, "about:blank"],
            pass_fds=(commands, answers), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
        os.close(commands)
        os.close(answers)
        self._to, self._from = to_browser, from_browser
        self._read, self._number = b"", 0
        self.events = []
        target = next(
            found for found in self._ask("Target.getTargets")["targetInfos"] if found["type"] == "page"
        )
        self._session = self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.ask(f"{domain}.enable")

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        os.close(self._to)
        os.close(self._from)

    def ask(self, method, **parameters):
        """The result of a command about the page."""
        return self._ask(method, self._session, **parameters)

    def _ask(self, method, session=None, **parameters):
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        os.write(self._to, json.dumps(command).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "result" in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _next(self, seconds=60):
        until = time.monotonic() + seconds
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._from], [], [], max(0, until - time.monotonic()))
            assert ready, "the browser says nothing"
            octets = os.read(self._from, 1 << 20)
            assert octets, "the browser has ended"
            self._read += octets
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def open(self, url, width=1280, height=900, scheme="light"):
        """Opens a page in a window of this size and colour scheme."""
        self.events.clear()
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, expression):
        """The value of an expression in the page."""
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key):
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode={"Tab": 9}[key])

    def screenshot(self, path):
        """A picture of all of the page; its rows of pixels, as they are packed."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        octets = base64.b64decode(shot["data"])
        path.write_bytes(octets)
        return rows(octets)

    def requests(self):
        """The URLs that were asked for since the page was opened."""
        asked = (event for event in self.events if event.get("method") == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in asked]

    def complaints(self):
        """What the browser found wrong with the page."""
        said = (event for event in self.events if event.get("method") == "Log.entryAdded")
        entries = [event["params"]["entry"] for event in said]
        return [entry["text"] for entry in entries if entry["level"] in ("warning", "error")]

    def read_aloud(self):
        """The role and the name of each part that a screen reader meets."""
        nodes = self.ask("Accessibility.getFullAXTree")["nodes"]
        told = [node for node in nodes if not node.get("ignored")]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in told]


def rows(png):
    """The rows of a PNG, unpacked, each with its filter."""
    at, data, width = 8, b"", 0
    while at < len(png):
        length, kind = int.from_bytes(png[at:at + 4]), png[at + 4:at + 8]
        body = png[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width = int.from_bytes(body[:4]) * {2: 3, 6: 4}[body[9]]
        if kind == b"IDAT":
            data += body
        at += 12 + length
    octets = zlib.decompress(data)
    return [octets[start:start + width + 1] for start in range(0, len(octets), width + 1)]
