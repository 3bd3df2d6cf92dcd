"""Tables that programs write into the texts, between <!-- name … --> and <!-- end -->."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dlcv.files import write_text


def fill(texts: Iterable[Path], tables: Mapping[str, str]) -> None:
    """Replaces what stands behind each table's name in each text; names that a text does not have are left out."""
    for path in texts:
        text = path.read_text(encoding="utf-8")
        for name, table in tables.items():
            text = re.sub(rf"(?s)(<!-- {re.escape(name)}:[^>]*-->\n).*?(<!-- end -->)", rf"\g<1>{table}\n\g<2>", text)
        write_text(path, text)
