"""The generated reference of the protocol."""

import runpy
from pathlib import Path

import pytest

from ram9.protocol.codec import CODECS, Codec
from ram9.protocol.reference import reference

DOCUMENT = Path(__file__).parents[3] / "docs" / "wire-format.md"


def test_the_document_is_what_the_declarations_say_now() -> None:
    assert DOCUMENT.read_text() == reference(), (
        "run: python -m ram9.protocol.reference > docs/wire-format.md"
    )


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.message.__name__)
def test_every_message_is_in_the_document(codec: Codec) -> None:
    text = reference()
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("    ")]
    assert [str(codec.number), codec.notation()] in lines
    assert " ".join(codec.summary.split("\n\n")[0].split()) in text


def test_running_the_module_prints_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(DOCUMENT.parents[1] / "protocol" / "reference.py"), run_name="__main__")
    assert capsys.readouterr().out == reference()
