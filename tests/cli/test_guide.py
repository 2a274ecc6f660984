"""The commands on the page of the guide run as printed."""

import re
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from modalsplit.cli._app import app
from modalsplit.datasets import make_modalities

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "cli.md"


def test_commands_on_the_page_run(monkeypatch):
    text = PAGE.read_text()
    state = {}
    exec(re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)[1], state)
    monkeypatch.chdir(state["folder"])
    data = make_modalities(200, n_shared=3, n_features=(12, 9), random_state=0)
    np.save("image.npy", data.X_img)
    np.save("text.npy", data.X_txt)
    commands = "".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)).splitlines()
    assert len(commands) == 11
    for command in commands:
        program, *arguments = command.split()
        assert program == "modalsplit"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{command}\n{result.output}"
