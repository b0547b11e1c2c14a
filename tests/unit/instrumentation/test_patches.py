"""Patches: replaced, put back, and harmless when they fail."""

import types

from otel_usage.instrumentation.patches import Patches


class Owner:
    def verb(self):
        """The original."""
        return "original"


def shout(original):
    def verb(self):
        return original(self).upper()

    return verb


def test_replace_and_undo():
    """The replacement is called, looks like the original, and the very original comes back."""
    original = vars(Owner)["verb"]
    patches = Patches()
    patches.replace(Owner, "verb", shout)
    assert Owner().verb() == "ORIGINAL"
    assert Owner.verb.__doc__ == "The original."
    patches.undo()
    assert vars(Owner)["verb"] is original


def test_somebody_elses_wrap_on_top_stays():
    """A wrap that came after ours is not thrown away with it."""
    original = vars(Owner)["verb"]
    patches = Patches()
    patches.replace(Owner, "verb", shout)
    ours = Owner.verb
    Owner.verb = lambda self: f"<{ours(self)}>"
    patches.undo()
    assert Owner().verb() == "<ORIGINAL>"
    Owner.verb = original


def test_a_failing_patch_is_logged_not_raised(caplog):
    """The import of a framework never fails because of us."""

    def patch(patches, module):
        raise RuntimeError("another version")

    Patches().on_import("json", patch)
    assert "json" in caplog.text


def test_undone_patches_ignore_later_imports():
    """After `undo` nothing is replaced any more."""
    patched = []
    patches = Patches()
    patches.undo()
    patches.on_import("json", lambda _, module: patched.append(module))
    assert patched == []


def test_a_module_that_is_there_is_patched_at_once():
    """`install()` may come after the framework's import."""
    patched = []
    Patches().on_import("json", lambda _, module: patched.append(module))
    assert [type(module) for module in patched] == [types.ModuleType]


def test_one_that_cannot_be_undone_does_not_keep_the_others(caplog):
    """What was replaced before it is put back all the same."""
    original = vars(Owner)["verb"]
    patches = Patches()
    patches.replace(Owner, "verb", shout)
    patches.at_undo(lambda: 1 / 0)
    patches.undo()
    assert vars(Owner)["verb"] is original
    assert "ZeroDivisionError" in caplog.text


def test_replaced_twice():
    """Of two installations the later one's wrap is outermost, and both go."""
    original = vars(Owner)["verb"]
    first, second = Patches(), Patches()
    first.replace(Owner, "verb", shout)
    second.replace(Owner, "verb", lambda inner: lambda self: f"<{inner(self)}>")
    assert Owner().verb() == "<ORIGINAL>"
    second.undo()
    first.undo()
    assert vars(Owner)["verb"] is original


def test_half_a_patch_is_none():
    """What a patch replaced before it failed is put back: facts of half of it would be wrong."""
    original = vars(Owner)["verb"]
    patches = Patches()

    def patch(patches, module):
        patches.replace(Owner, "verb", shout)
        patches.replace(Owner, "gone", shout)

    patches.on_import("types", patch)
    assert vars(Owner)["verb"] is original
