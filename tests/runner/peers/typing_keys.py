"""Ideas about the keyboard and the mouse."""

from __future__ import annotations

from typing import Any

from tests.runner.peers.pair import Side, idea

VALUE = "document.querySelector('textarea').value"
NOTE_KEYS = """() => {
  window.keys = [];
  for (const type of ["keydown", "keypress", "keyup"])
    addEventListener(type, e => keys.push([e.type, e.key, e.code, e.shiftKey, e.ctrlKey, e.metaKey].join(" ")));
}"""


@idea(["", "typed"])
async def control_or_meta_selects_all(side: Side) -> Any:
    async with side.page("/form") as page:
        await page.focus("textarea")
        await page.keyboard.type("some text")
        await page.keyboard.press("ControlOrMeta+a")
        await page.keyboard.press("Backspace")
        seen = [await page.evaluate(VALUE)]
        await page.keyboard.type("typed")
        return [*seen, await page.evaluate(VALUE)]


@idea(["123123", "123", "123123"])
async def text_is_copied_cut_and_pasted(side: Side) -> Any:
    async with side.page("/form") as page:
        await page.focus("textarea")
        await page.keyboard.type("123")
        for key in ("a", "c", "v", "v"):
            await page.keyboard.press(f"ControlOrMeta+{key}")
        seen = [await page.evaluate(VALUE)]
        await page.evaluate("document.querySelector('textarea').value = '123'")
        await page.keyboard.press("ControlOrMeta+a")
        await page.keyboard.press("ControlOrMeta+x")
        await page.keyboard.press("ControlOrMeta+v")
        seen.append(await page.evaluate(VALUE))
        await page.keyboard.press("ControlOrMeta+v")
        return [*seen, await page.evaluate(VALUE)]


@idea(["1", "12"])
async def typing_is_undone_and_redone(side: Side) -> Any:
    async with side.page("/form") as page:
        await page.focus("textarea")
        await page.keyboard.type("1")
        await page.evaluate("document.querySelector('textarea').blur()")
        await page.focus("textarea")
        await page.keyboard.press("End")
        await page.keyboard.type("2")
        await page.keyboard.press("ControlOrMeta+z")
        seen = [await page.evaluate(VALUE)]
        await page.keyboard.press("ControlOrMeta+Shift+z")
        return [*seen, await page.evaluate(VALUE)]


@idea(["Hello !", "👹 hé 嗨"])
async def all_kinds_of_characters_are_typed(side: Side) -> Any:
    async with side.page("/form") as page:
        await page.focus("textarea")
        await page.keyboard.type("Hello World!")
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.down("Shift")
        for _ in "World":
            await page.keyboard.press("ArrowLeft")
        await page.keyboard.up("Shift")
        await page.keyboard.press("Backspace")
        seen = [await page.evaluate(VALUE)]
        await page.fill("textarea", "")
        await page.keyboard.insert_text("👹 ")
        await page.keyboard.type("hé 嗨")
        return [*seen, await page.evaluate(VALUE)]


@idea(
    [
        "keydown Shift ShiftLeft true false false",
        "keydown ! Digit1 true false false",
        "keypress ! Digit1 true false false",
        "keyup ! Digit1 true false false",
        "keyup Shift ShiftLeft false false false",
        "keydown Control ControlLeft false true false",
        "keydown Escape Escape false true false",
        "keyup Escape Escape false true false",
        "keyup Control ControlLeft false false false",
    ]
)
async def key_events_tell_codes_and_modifiers(side: Side) -> Any:
    async with side.page("/form") as page:
        await page.focus("textarea")
        await page.evaluate(NOTE_KEYS)
        await page.keyboard.press("Shift+!")
        await page.keyboard.press("Control+Escape")
        return await page.evaluate("keys")


@idea([["alert", "confirm", "prompt", "beforeunload"], [True, "answer"]])
async def dialogs_are_told_and_answered(side: Side) -> Any:
    kinds: list[str] = []
    async with side.page(own=True) as page:

        async def answer(dialog: Any) -> None:
            kinds.append(dialog.type)
            await dialog.accept("answer" if dialog.type == "prompt" else None)

        page.on("dialog", answer)
        await page.evaluate("alert('x')")
        said = [await page.evaluate("confirm('x')"), await page.evaluate("prompt('x')")]
        await page.evaluate("addEventListener('beforeunload', event => event.preventDefault())")
        await page.click("h1")
        await page.goto(side.site.url("/form"))
        return [kinds, said]


@idea([None, False, None])
async def dialogs_without_a_listener_are_dismissed(side: Side) -> Any:
    async with side.page() as page:
        return [await page.evaluate(f"{kind}('x')") for kind in ("alert", "confirm", "prompt")]
