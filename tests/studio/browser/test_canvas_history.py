"""Undo and redo: any sequence of steps goes back to the start and forward to the end; memory stays under the cap."""

import numpy as np
from canvas_driver import Canvas
from hypothesis import given, settings
from hypothesis import strategies as st

SETUP = """() => {
  canvas.setClusters({ width: 8, height: 6, ids: Uint8Array.from({ length: 48 }, (_, i) => (i * 7) % 5) });
  window.style = 0;
  window.randomStep = (kind, n) => {
    const at = (i, side) => (((n * (i + 3) * 7919) % 1009) % side) + 0.5;
    const send = (name, i) => {
      const { x: clientX, y: clientY } = canvas.toClient(at(i, canvas.width), at(i + 1, canvas.height));
      canvas.host.dispatchEvent(new PointerEvent(name, { pointerId: 1, pointerType: 'mouse', button: 0, buttons: 1, clientX, clientY }));
    };
    canvas.setLabel(canvas.palette[n % canvas.palette.length].id);
    canvas.setSize(1 + n % 17);
    if (kind === 'setting') {
      const before = style;
      window.style = n;
      canvas.history.push({ undo: () => (window.style = before), redo: () => (window.style = n), bytes: 100, name: 'style' });
    } else if (kind === 'action') {
      if (n % 4 === 0) canvas.fillEnclosed();
      else if (n % 4 === 1) canvas.removeSpecks(n % 30);
      else if (n % 4 === 2) canvas.clear();
      else canvas.load(canvas.ids.map((id) => (id + n) % 4));
    } else if (kind === 'undo') canvas.undo();
    else if (kind === 'redo') canvas.redo();
    else {
      canvas.setTool(kind);
      for (const stroke of kind === 'polygon' || kind === 'select' ? [0, 2, 4] : [0]) {
        send('pointerdown', stroke);
        for (let i = 1; i <= n % 4; i++) send('pointermove', stroke + i);
        send('pointerup', stroke + n % 4);
      }
      if (n % 5 === 0) canvas.cancel();
      canvas.finish();
    }
  };
}"""

# Takes note of ids and style at each length of the history; after an undo or redo they must be what they were at that length.
RUN = """([steps]) => {
  const states = [];
  const wrong = [];
  const state = () => `${style} ${canvas.ids.join(' ')}`;
  const depth = () => canvas.history.done.length;
  let walking = false;
  states[0] = state();
  const note = () => {
    if (!walking) states[depth()] = state();
    else if (states[depth()] !== state()) wrong.push(depth());
  };
  canvas.history.addEventListener('change', note);
  const walk = (action) => { walking = true; const did = canvas[action](); walking = false; return did; };
  for (const [kind, n] of steps) kind === 'undo' || kind === 'redo' ? walk(kind) : randomStep(kind, n);
  while (walk('redo'));
  const end = state();
  const most = depth();
  while (walk('undo'));
  const back = state() === states[0] && depth() === 0;
  while (walk('redo'));
  canvas.history.removeEventListener('change', note);
  return { wrong, most, back, forward: state() === end && depth() === most, busy: canvas.busy };
}"""
TOOLS = ["brush", "eraser", "line", "rectangle", "ellipse", "lasso", "polygon", "fill", "enclose", "select", "cluster"]


def test_undoing_all_is_the_start_and_redoing_all_the_end(open_page):
    canvas = Canvas(open_page(), historyBytes=2**26)
    canvas.page.evaluate(SETUP)

    kinds = st.sampled_from([*TOOLS, *TOOLS, "setting", "action", "undo", "undo", "redo"])

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(kinds, st.integers(0, 10_000)), min_size=5, max_size=60), st.integers(0, 2**32 - 1))
    def check(steps, seed):
        canvas.get("canvas.history.clear()")
        start = np.random.default_rng(seed).integers(0, 3, (12, 16)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
        canvas.load(start, undoable=False)
        found = canvas.page.evaluate(RUN, [steps])
        assert found == {"wrong": [], "most": found["most"], "back": True, "forward": True, "busy": False}
        canvas.call("fit")

    check()


def test_one_stroke_is_one_step(open_page):
    canvas = Canvas(open_page())
    canvas.use("brush", 1, 3)
    canvas.drag((5, 5), (50, 5), (50, 40), (5, 40))
    canvas.drag((30, 20), (31, 20))
    assert canvas.get("canvas.history.done.length") == 2
    assert canvas.call("undo")
    assert canvas.call("undo")
    assert not canvas.call("undo")
    assert not canvas.ids().any()


def test_a_stroke_that_changes_nothing_is_no_step_and_no_event(open_page):
    canvas = Canvas(open_page())
    canvas.use("brush", 1, 9)
    canvas.drag((20, 20), (40, 20))
    version = canvas.get("canvas.version")
    canvas.events("change")
    canvas.drag((20, 20), (40, 20))
    canvas.frame()
    assert canvas.events("change") == []
    assert canvas.get("canvas.version") == version
    assert canvas.get("canvas.history.done.length") == 1


def test_a_new_step_forgets_what_was_undone(open_page):
    canvas = Canvas(open_page())
    canvas.use("brush", 1, 3)
    canvas.drag((5, 5), (20, 5))
    canvas.call("undo")
    canvas.drag((5, 30), (20, 30))
    assert not canvas.call("redo")
    canvas.call("undo")
    assert not canvas.ids().any()
    assert canvas.get("canvas.history.bytes") == canvas.get("canvas.history.undone.reduce((sum, entry) => sum + entry.bytes, 0)")


def test_memory_stays_under_the_cap_and_the_newest_steps_remain(open_page):
    cap = 40_000
    canvas = Canvas(open_page(), 128, 128, historyBytes=cap)
    canvas.page.evaluate(SETUP)
    sizes = canvas.page.evaluate("""() => Array.from({ length: 120 }, (_, n) => {
      randomStep(['brush', 'rectangle', 'setting', 'lasso'][n % 4], n * 37 + 1);
      const entries = [...canvas.history.done, ...canvas.history.undone];
      return [canvas.history.bytes, entries.reduce((sum, entry) => sum + entry.bytes, 0)];
    })""")
    assert all(counted == held <= cap for counted, held in sizes)
    before = canvas.ids()
    assert 1 < canvas.get("canvas.history.done.length") < 120
    noise = np.random.default_rng(0).integers(0, 255, (128, 128))
    canvas.load(noise)  # 16384 bytes before, as many after: fits; the steps before it go
    assert canvas.call("undo")
    assert (canvas.ids() == before).all()


def test_a_slider_is_one_step(open_page):
    canvas = Canvas(open_page())
    push = """(n) => {
      const old = window.value ?? 0;
      window.value = n;
      canvas.history.push({ undo: () => (window.value = old), redo: () => (window.value = n), merge: 'truncation' });
    }"""
    for n in range(1, 6):
        canvas.page.evaluate(push, n)
    assert canvas.get("canvas.history.done.length") == 1
    canvas.call("undo")
    assert canvas.get("value") == 0
    canvas.call("redo")
    assert canvas.get("value") == 5


def test_two_canvases_share_a_history(open_page):
    page = open_page()
    canvas = Canvas(page)
    page.evaluate("""() => {
      const host = document.createElement('div');
      host.style.cssText = 'width: 200px; height: 200px';
      document.body.append(host);
      window.drawing = new module.LabelCanvas(host, { width: 32, height: 32, mode: 'ink', history: canvas.history });
    }""")
    canvas.use("brush", 1, 3)
    canvas.drag((5, 5), (20, 5))
    page.evaluate("drawing.load(new Uint8Array(1024).fill(255))")
    canvas.drag((5, 30), (20, 30))
    assert page.evaluate("[drawing.counts()[255], canvas.history.done.length]") == [1024, 3]
    for expected in (1024, 0, 0):
        page.evaluate("drawing.undo()")
        assert page.evaluate("drawing.counts()[255]") == expected
    assert not canvas.ids().any()


def test_events_tell_of_history_and_changes(open_page):
    canvas = Canvas(open_page())
    canvas.use("rectangle", 2)
    canvas.events("")
    canvas.drag((10, 10), (20, 15))
    events = canvas.page.evaluate("events.splice(0)")
    final = [event for event in events if event["event"] == "change" and event["final"]]
    assert len(final) == 1
    assert (final[0]["kind"], final[0]["dirty"]) == ("rectangle", {"x0": 10, "y0": 10, "x1": 20, "y1": 15})
    assert [(event["canUndo"], event["canRedo"]) for event in events if event["event"] == "history"] == [(True, False)]
    canvas.call("undo")
    assert [(event["kind"], event["final"]) for event in canvas.events("change")] == [("undo", True)]
