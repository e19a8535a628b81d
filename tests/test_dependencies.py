"""No dependency has a known vulnerability, as far as the advisories say today."""

from __future__ import annotations

import json
import subprocess
import venv
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
AUDITOR: Final = (
    "pip-audit==2.10.1"  # in an environment of its own: it brings two dozen packages that nobody else needs
)


@pytest.mark.long
def test_no_dependency_has_a_known_vulnerability(tmp_path: Path) -> None:
    """Skipped, with the reason, where the advisories cannot be asked; never passed unasked."""
    venv.create(tmp_path / "auditor", with_pip=True)
    python = tmp_path / "auditor" / "bin" / "python"
    installed = run(python, "pip", "install", "--quiet", "--disable-pip-version-check", AUDITOR)
    if installed.returncode != 0:
        pytest.skip(f"{AUDITOR} cannot be installed: {last_line(installed.stderr)}")
    options = ("--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10")
    audit = run(python, "pip_audit", *options, "-r", str(ROOT / "requirements.txt"))
    if not audit.stdout.strip():
        pytest.skip(f"the advisories cannot be reached: {last_line(audit.stderr)}")
    packages = json.loads(audit.stdout)["dependencies"]
    found = [package for package in packages if package.get("vulns")]
    assert not found, json.dumps(found, indent=1)
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if unknown:
        pytest.skip(f"the advisories that can be reached do not know {len(unknown)} of {len(packages)} packages")
    assert audit.returncode == 0, audit.stderr


def run(python: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m module arguments`, for two minutes at most."""
    return subprocess.run(
        [str(python), "-m", module, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def last_line(text: str) -> str:
    """Of what a program said."""
    return (text.strip().splitlines() or ["it said nothing"])[-1][:300]
