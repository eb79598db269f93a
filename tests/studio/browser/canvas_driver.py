"""Drives a LabelCanvas on an otherwise empty page, and says in Python what it must do."""

import base64

import numpy as np

PALETTE = [
    {"id": 0, "name": "background", "color": "#8fa3ad"},
    {"id": 1, "name": "skin", "color": "#e0ac7e"},
    {"id": 2, "name": "eyes", "color": "#2f6fde"},
    {"id": 3, "name": "top", "color": "#f2c230"},
    {"id": 12, "name": "hat", "color": "#3fa35b"},
]
MAKE = """async (options) => {
  const module = await import('/canvas/label_canvas.js');
  window.module = module;
  window.canvas = new module.LabelCanvas(document.querySelector('#canvas'), options);
  window.events = [];
  for (const name of ['change', 'cursor', 'history', 'tool', 'view', 'pen', 'notice', 'action']) {
    canvas.addEventListener(name, (event) => events.push({ ...event.detail, event: name }));
  }
}"""
READ = "() => { let text = ''; for (const id of canvas.ids) text += String.fromCharCode(id); return btoa(text); }"
LOAD = "([text, options]) => canvas.load(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), options)"


class Canvas:
    """The canvas of a page. Positions are buffer coordinates; pixel (i, j) covers i to i + 1."""

    def __init__(self, page, width: int = 64, height: int = 48, **options):
        self.page, self.width, self.height = page, width, height
        page.evaluate(MAKE, {"width": width, "height": height, "palette": PALETTE, **options})
        self.frame()

    def ids(self) -> np.ndarray:
        """The buffer, (H, W) uint8."""
        return np.frombuffer(base64.b64decode(self.page.evaluate(READ)), np.uint8).reshape(self.height, self.width)

    def load(self, ids: np.ndarray, **options) -> None:
        self.page.evaluate(LOAD, [base64.b64encode(ids.astype(np.uint8).tobytes()).decode(), options])

    def call(self, method: str, *arguments):
        return self.page.evaluate("([method, args]) => canvas[method](...args)", [method, list(arguments)])

    def get(self, expression: str):
        return self.page.evaluate(expression)

    def use(self, tool: str, label: int = 1, size: int = 1, **settings) -> None:
        self.page.evaluate(
            """([tool, label, size, settings]) => {
              canvas.setTool(tool);
              canvas.setLabel(label);
              canvas.setSize(size);
              canvas.setSettings(settings);
            }""",
            [tool, label, size, settings],
        )

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place in the window of a buffer position."""
        point = self.page.evaluate("([x, y]) => canvas.toClient(x, y)", [x, y])
        return point["x"], point["y"]

    def drag(self, *points: tuple[float, float], button: str = "left") -> None:
        """A stroke of the mouse through buffer positions."""
        mouse = self.page.mouse
        mouse.move(*self.at(*points[0]))
        mouse.down(button=button)
        for point in points[1:]:
            mouse.move(*self.at(*point))
        mouse.up(button=button)

    def click(self, x: float, y: float, **options) -> None:
        self.page.mouse.click(*self.at(x, y), **options)

    def events(self, name: str) -> list[dict]:
        """The events of a name since the last call; forgets the others."""
        return [event for event in self.page.evaluate("events.splice(0)") if event["event"] == name]

    def wait(self, condition: str) -> None:
        """Waits up to 10 seconds for an expression to hold. (Playwright's own wait evaluates text, which the page's policy forbids.)"""
        held = self.page.evaluate(
            """async () => {
              for (const end = Date.now() + 10_000; !(CONDITION); await new Promise((done) => setTimeout(done, 10))) {
                if (Date.now() > end) return false;
              }
              return true;
            }""".replace("CONDITION", condition)
        )
        assert held, condition

    def frame(self) -> None:
        """Waits until two frames are drawn."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


# ---- references, by brute force ----------------------------------------------------------------------------------------------------


def line_points(a: tuple[int, int], b: tuple[int, int]) -> list[tuple[int, int]]:
    """All points of a line in max(|dx|, |dy|) steps, rounded half up."""
    (x0, y0), (x1, y1) = a, b
    n = max(abs(x1 - x0), abs(y1 - y0))
    return [(x0 + (2 * i * (x1 - x0) + n) // (2 * n), y0 + (2 * i * (y1 - y0) + n) // (2 * n)) for i in range(n + 1)] if n else [a]


def brush_mask(cx: int, cy: int, d: int, width: int, height: int) -> np.ndarray:
    """Pixels whose centre is at most d / 2 from the centre of the brush: a pixel's middle for odd d, its upper left corner for even d."""
    y, x = np.mgrid[:height, :width]
    even = 1 - d % 2
    return (2 * (x - cx) + even) ** 2 + (2 * (y - cy) + even) ** 2 <= d * d


def stroke_mask(points: list[tuple[float, float]], d: int, width: int, height: int) -> np.ndarray:
    """A round brush of diameter d at every point of the lines between the positions."""
    snapped = [tuple(int(np.floor(c if d % 2 else c + 0.5)) for c in point) for point in points]
    mask = np.zeros((height, width), bool)
    for a, b in zip(snapped, snapped[1:] or snapped, strict=False):
        for x, y in line_points(a, b):
            mask |= brush_mask(x, y, d, width, height)
    return mask


def ellipse_mask(x0: int, y0: int, x1: int, y1: int, width: int, height: int) -> np.ndarray:
    w, h = abs(x1 - x0) + 1, abs(y1 - y0) + 1
    y, x = np.mgrid[:height, :width]
    return (2 * x - x0 - x1) ** 2 * h * h + (2 * y - y0 - y1) ** 2 * w * w <= w * w * h * h


def polygon_mask(corners: list[tuple[int, int]], width: int, height: int) -> np.ndarray:
    """Pixels with a winding number other than 0, and the lines of the edges."""
    y, x = np.mgrid[:height, :width]
    winding = np.zeros((height, width), int)
    mask = np.zeros((height, width), bool)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        side = (bx - ax) * (y - ay) - (x - ax) * (by - ay)
        winding += (ay <= y) & (by > y) & (side < 0)
        winding -= (ay > y) & (by <= y) & (side > 0)
        for px, py in line_points((ax, ay), (bx, by)):
            if 0 <= px < width and 0 <= py < height:
                mask[py, px] = True
    return mask | (winding != 0)
