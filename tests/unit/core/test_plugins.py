"""Registries of variants: built-in ones, and those that packages add by entry points."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from spar_core.errors import ConfigError
from spar_core.plugins import Registry

BUILTIN = {"plain": 1, "lazy": "math:tau"}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Install a package with these entry points of the group `spar.testing`."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(package: str, **entries: str) -> None:
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {value}" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[spar.testing]\n{lines}\n")

    return write


def registry() -> Registry[object]:
    return Registry("spar.testing", BUILTIN, kind="strategy")


def test_a_registry_lists_the_built_in_names_first_and_imports_plugins_only_when_they_are_used(install) -> None:  # type: ignore[no-untyped-def]
    install("acme", zeta="no_such_module:thing", alpha="math:pi")
    variants = registry()
    assert list(variants) == ["plain", "lazy", "alpha", "zeta"]
    assert len(variants) == 4
    assert "zeta" in variants
    assert variants.find("plain") == 1
    assert variants.find("lazy") == pytest.approx(6.28318, abs=1e-5)
    assert variants.find("alpha") == pytest.approx(3.14159, abs=1e-5)


def test_an_unknown_name_is_refused_with_the_known_ones(install) -> None:  # type: ignore[no-untyped-def]
    install("acme", alpha="math:pi")
    with pytest.raises(ConfigError, match=r"no strategy 'alhpa'; did you mean 'alpha'\? known: 'plain', .*'alpha'"):
        registry().find("alhpa")
    assert registry().get("beta") is None


def test_a_package_that_is_added_to_the_import_path_later_is_found(tmp_path: Path, install) -> None:  # type: ignore[no-untyped-def]
    variants = registry()
    assert "alpha" not in variants
    install("acme", alpha="math:pi")
    sys.path.insert(0, str(tmp_path / "elsewhere"))
    try:
        assert "alpha" in variants
    finally:
        sys.path.remove(str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("target", ["no_such_module:thing", "math:no_such_name"])
def test_a_plugin_that_cannot_be_imported_names_its_package(install, target: str) -> None:  # type: ignore[no-untyped-def]
    install("acme", alpha=target)
    with pytest.raises(ConfigError, match=r"package 'acme': its strategy 'alpha' cannot be loaded from .*no_such"):
        registry().find("alpha")


def test_two_packages_cannot_share_a_name(install) -> None:  # type: ignore[no-untyped-def]
    install("acme", alpha="math:pi")
    install("other", alpha="math:e")
    with pytest.raises(ConfigError, match=r"'(acme|other)' and .* both register the strategy 'alpha'"):
        list(registry())


def test_a_package_cannot_replace_a_built_in_variant(install) -> None:  # type: ignore[no-untyped-def]
    install("acme", plain="math:pi")
    with pytest.raises(ConfigError, match=r"'acme': its strategy 'plain' has the name of a built-in one"):
        registry().find("plain")
