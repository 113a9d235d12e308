"""What modules take that are imported while a program runs: `memflow.analysis.imports`."""

from memflow.analysis.imports import Imports


def values(rises, *, modules_at):
    """Give what is left of a signal that rises so at each sample, with a module more at some of them."""
    imports, value, modules, left = Imports(), 1_000.0, 100, []
    imports.has_imported(modules)
    imports.without("blocks", value, imported=False)
    for at, rise in enumerate(rises):
        value += rise
        modules += at in modules_at
        left.append(imports.without("blocks", value, imported=imports.has_imported(modules)))
    return left


def test_what_came_with_a_module_is_left_out_from_then_on():
    assert values([0, 500, 0, 7, 300, 1], modules_at={1, 4}) == [1_000, 1_000, 1_000, 1_007, 1_007, 1_008]


def test_a_leak_beside_imports_still_shows():
    left = values([10] * 100, modules_at={20, 40, 60})
    assert left[-1] == 1_000 + 10 * 97


def test_what_is_given_back_in_such_a_sample_is_not_added():
    assert values([100, -50, 0], modules_at={1}) == [1_100, 1_050, 1_050]


def test_modules_that_come_without_end_are_a_leak_like_any_other():
    left = values([10] * 200, modules_at=set(range(200)))
    assert left[-1] - left[100] == 10 * 99


def test_each_signal_is_followed_by_itself():
    imports = Imports()
    imports.has_imported(10)
    for name in ("blocks", "native_bytes"):
        imports.without(name, 0.0, imported=False)
    imported = imports.has_imported(11)
    assert imports.without("blocks", 5.0, imported=imported) == 0.0
    assert imports.without("native_bytes", 7.0, imported=imported) == 0.0
    assert imports.without("blocks", 6.0, imported=imports.has_imported(11)) == 1.0
